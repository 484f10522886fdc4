"""The arm process of a real-time session against the simulated cell's process: what was taught bounds it, and no press
is lost."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from fault_bench import Operator, started
from realtime_bench import PATIENCE_S, life_of, running

from drift_robot.gate import GateConfig, Phase, ResetDone
from drift_robot.realtime import records
from drift_robot.realtime.arm_process import ArmSetup, run_arm
from drift_robot.realtime.cell_process import CellSetup, run_cell
from drift_robot.realtime.child import Child
from drift_robot.realtime.lines import TELEOP_SLOTS, Lines
from drift_robot.realtime.messages import Pressed, Speaker
from hardware.arms.limits import ArmLimits, Limit, TaughtWorkspace
from hardware.clock import NS_PER_S
from hardware.interfaces import Teleop, Verb
from hardware.poses import rotation_matrix
from hardware.rings import RingReader, RingWriter

NORMAL = rotation_matrix(np.array([0.05, -0.04, 0.0]))[:, 2]
OFFSET_M, WALL_M, MARGIN_M = 0.15, 0.20, 0.002
TAUGHT = TaughtWorkspace(
    (float(NORMAL[0]), float(NORMAL[1]), float(NORMAL[2])),
    OFFSET_M,
    box_min_m=(0.2, -0.4, 0.0),
    box_max_m=(0.75, WALL_M, 0.55),
    margin_m=MARGIN_M,
)
LIMITS = ArmLimits(arm_timeout_s=5.0, device_timeout_s=5.0, command_timeout_s=2.0, taught=TAUGHT)
LAG_M = 1e-3
"""By how much the simulated joints may be beyond their command."""


def test_an_expert_who_drives_on_is_held_above_the_taught_table_and_within_the_taught_walls(lines: Lines) -> None:
    cell = CellSetup("lift", physics_step_s=0.005, servo_period_s=0.01, perception_offset_m=(0.0, 0.0, 0.0))
    setup = ArmSetup(GateConfig(mode="collect"), LIMITS, None, 0.01)
    control, arm = life_of("control", lines), RingReader(lines.arm)
    device = RingWriter(lines.teleop)
    tool = np.array([(0.0, 0.0, 0.0), *LIMITS.tool_points_m])
    limited: set[Limit] = set()
    with running(run_cell, cell, "cell", lines), running(run_arm, setup, "arm", lines):
        deadline_s = time.monotonic() + PATIENCE_S
        still_ns, before = 0, None
        while still_ns < NS_PER_S // 2:  # at rest for half a second though she drives on
            assert time.monotonic() < deadline_s, limited
            time.sleep(0.01)
            newest = arm.latest()
            if newest is None:
                continue
            seen = records.arm_snapshot(newest.value, ())
            if seen.phase is Phase.RESETTING:
                control.say(ResetDone())
            elif seen.phase is Phase.IDLE:
                control.say(Pressed(Verb.RESUME))
            for fields in records.teleop_fields(
                Teleop(time.monotonic_ns(), np.array([0.0, 0.15, -0.15, 0.0, 0.0, 0.0]))
            ):
                device.write(fields)
            for pose in (seen.commanded, seen.state.base_from_tcp):
                points = pose.position + tool @ pose.rotation.T
                assert (points @ NORMAL).min() > OFFSET_M + MARGIN_M - LAG_M
                assert points[:, 1].max() < WALL_M - MARGIN_M + LAG_M
            if seen.phase is Phase.EXPERT:
                limited |= seen.limited
                moved = before is None or np.linalg.norm(seen.commanded.position - before[1]) > 1e-4
                if moved or {Limit.TABLE, Limit.WORKSPACE} - seen.limited:
                    before = (seen.time_ns, seen.commanded.position)
                still_ns = 0 if before is None else seen.time_ns - before[0]
        points = seen.commanded.position + tool @ seen.commanded.rotation.T
    assert 0.0 <= (points @ NORMAL).min() - OFFSET_M - MARGIN_M < 2e-3
    assert 0.0 <= WALL_M - MARGIN_M - points[:, 1].max() < 2e-3


@contextmanager
def paused(arm: Child[ArmSetup]) -> Iterator[None]:
    """Let the arm process alone stand still, as one that gets no processor."""
    os.kill(arm.pid, signal.SIGSTOP)
    time.sleep(0.1)
    try:
        yield
    finally:
        os.kill(arm.pid, signal.SIGCONT)


@pytest.mark.realtime
def test_what_is_pressed_while_the_arm_process_pauses_is_followed_or_the_arm_waits_for_her_word(lines: Lines) -> None:
    cell = CellSetup("lift", physics_step_s=0.005, servo_period_s=0.01, perception_offset_m=(0.0, 0.0, 0.0))
    limits = ArmLimits(arm_timeout_s=60.0, device_timeout_s=60.0)
    device = RingWriter(lines.teleop)

    def send(count: int, *verbs: Verb) -> None:
        readings = [Teleop(time.monotonic_ns(), verbs=verbs), *(Teleop(time.monotonic_ns()) for _ in range(count))]
        for fields in (fields for reading in readings for fields in records.teleop_fields(reading)):
            device.write(fields)

    arm = Child("arm", run_arm, lambda: ArmSetup(GateConfig(), limits, None, 0.01), lines)
    with running(run_cell, cell, "cell", lines), started(arm, lines):
        operator = Operator(lines)
        Speaker(lines.words["control"]).say(ResetDone())
        operator.press(Verb.RESUME, Phase.LEARNER)
        with paused(arm):
            send(TELEOP_SLOTS // 2, Verb.TAKEOVER)
        assert operator.sees(Phase.EXPERT), "the press is lost"
        operator.press(Verb.HANDBACK, Phase.LEARNER)
        with paused(arm):
            send(TELEOP_SLOTS, Verb.TAKEOVER)
        assert operator.hears("The arm process paused and may have missed what was pressed, so the arm holds")
        assert operator.stays(Phase.FAULT), "it goes on by itself"
        operator.press(Verb.RESUME, Phase.LEARNER)
