"""Steps a cell in real time: absolute deadlines, and an honest account of how well they were kept."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hardware.cell.cell import Cell
from hardware.clock import NS_PER_S, Clock

GIVE_UP_PERIODS = 5
"""A loop that is later than this starts a new series of deadlines, so that the cell never races to catch up."""


@dataclass(frozen=True)
class Cadence:
    """How the deadlines were kept: lateness of the steps in seconds, and how often the loop had to start anew."""

    steps: int
    lateness_p50_s: float
    lateness_p99_s: float
    lateness_max_s: float
    restarts: int


def run_realtime(
    cell: Cell, clock: Clock, stop: Callable[[], bool], tick: Callable[[int], None] = lambda now_ns: None
) -> Cadence:
    """Step the cell once per servo period until `stop` says so; `clock` has to be the cell's.

    `tick` is called with the time after each step, to read the devices and command them for the next one.
    """
    period_ns = round(cell.servo_period_s * NS_PER_S)
    lateness_ns: list[int] = []
    restarts = 0
    deadline_ns = clock.now_ns()
    while not stop():
        deadline_ns += period_ns
        clock.sleep_until_ns(deadline_ns)
        late_ns = clock.now_ns() - deadline_ns
        lateness_ns.append(late_ns)
        if late_ns > GIVE_UP_PERIODS * period_ns:
            deadline_ns += late_ns
            restarts += 1
        cell.step()
        tick(cell.capture_ns)
    late_s = np.array(lateness_ns or [0]) / NS_PER_S
    return Cadence(
        steps=len(lateness_ns),
        lateness_p50_s=float(np.quantile(late_s, 0.5)),
        lateness_p99_s=float(np.quantile(late_s, 0.99)),
        lateness_max_s=float(late_s.max()),
        restarts=restarts,
    )
