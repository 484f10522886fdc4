"""The cell in real time: one step per period at absolute deadlines, without racing after a stall."""

import numpy as np
import pytest

from hardware.cell.cell import Cell
from hardware.cell.realtime import Cadence, run_realtime
from hardware.cell.tasks import TASKS
from hardware.clock import NS_PER_S, Clock, ManualClock, MonotonicClock
from hardware.poses import integrate_twist

PERIOD_NS = 10_000_000


def run(clock: Clock, steps: int, stall_ns: dict[int, int] | None = None) -> tuple[Cadence, list[int]]:
    """Run for a number of steps; after some of them the tick takes `stall_ns`."""
    cell = Cell(TASKS["lift"], physics_step_s=0.005, servo_period_s=0.01, clock=clock)
    times: list[int] = []

    def tick(now_ns: int) -> None:
        times.append(now_ns)
        clock.sleep_until_ns(now_ns + (stall_ns or {}).get(len(times), 0))

    return run_realtime(cell, clock, lambda: len(times) >= steps, tick), times


def test_steps_fall_on_absolute_deadlines() -> None:
    cadence, times = run(ManualClock(5), 50)
    assert times == [5 + PERIOD_NS * step for step in range(1, 51)]
    assert cadence == Cadence(50, 0.0, 0.0, 0.0, 0)


def test_a_short_stall_is_caught_up_so_that_no_simulated_time_is_lost() -> None:
    cadence, times = run(ManualClock(), 20, {5: 25_000_000})
    assert times[-1] == 20 * PERIOD_NS
    assert cadence.restarts == 0
    assert cadence.lateness_max_s == pytest.approx(0.015)


def test_after_a_long_stall_the_deadlines_start_anew_instead_of_racing() -> None:
    cadence, times = run(ManualClock(), 20, {5: NS_PER_S})
    assert cadence.restarts == 1
    assert np.diff(times)[5:].tolist() == [PERIOD_NS] * 14
    assert cadence.lateness_max_s == pytest.approx(0.99)


def test_the_cell_keeps_pace_with_the_real_clock() -> None:
    cadence, times = run(MonotonicClock(), 100)
    assert cadence.steps == 100
    assert (times[-1] - times[0]) / NS_PER_S >= 0.99 - 0.05
    assert cadence.lateness_p50_s < 0.01


def test_commands_given_in_the_tick_move_the_arm() -> None:
    clock = ManualClock()
    cell = Cell(TASKS["lift"], physics_step_s=0.005, servo_period_s=0.01, clock=clock)
    start = commanded = cell.arm.pose()

    def tick(now_ns: int) -> None:
        nonlocal commanded
        commanded = integrate_twist(commanded, np.array([0, 0.1, 0, 0, 0, 0]), 0.01)
        cell.arm.servo(commanded)

    run_realtime(cell, clock, lambda: clock.now_ns() >= NS_PER_S, tick)
    np.testing.assert_allclose(cell.arm.pose().position - start.position, [0, 0.097, 0], atol=2e-3)
