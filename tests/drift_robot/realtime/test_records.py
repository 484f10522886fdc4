from dataclasses import fields, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from realtime_bench import LAYOUT, a_step

from data.schema import Owner, step_of
from drift_robot.arm_loop import ArmSnapshot
from drift_robot.gate import Notice, Phase
from drift_robot.realtime import records
from drift_robot.realtime.lines import Lines
from drift_robot.status import Cadence
from hardware.arms.controller import Authority
from hardware.arms.limits import Limit
from hardware.interfaces import ArmState, Safety, Teleop, Verb
from hardware.poses import Pose, rotation_matrix
from hardware.rings import RingReader, RingWriter


def pose(number: float) -> Pose:
    return Pose(np.array([number, 0.2, 0.3]), rotation_matrix(np.array([number, 0.1, -0.2])))


SNAPSHOT = ArmSnapshot(
    time_ns=10**15,
    state=ArmState(10**15 - 5, np.arange(6.0), -np.arange(6.0), pose(0.1), np.ones(6), Safety.PROTECTIVE_STOP),
    gripper=0.4,
    commanded=pose(0.2),
    commanded_gripper=0.5,
    proposed=pose(0.3),
    authority=Authority.EXPERT,
    phase=Phase.EXPERT,
    owner=Owner.EXPERT,
    owner_since_ns=77,
    recovered=True,
    watermark_ns=66,
    limited=frozenset({Limit.SPEED, Limit.STARVED}),
    stopped="The arm reports: protective stop.",
    refusal=None,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, np.asarray(b), equal_nan=True)
    if isinstance(a, Pose | ArmState | ArmSnapshot):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


@given(st.sampled_from(Phase), st.sets(st.sampled_from(Limit)), st.sets(st.sampled_from(Verb)))
def test_the_arms_snapshot_arrives_unchanged(phase: Phase, limited: set[Limit], offered: set[Verb]) -> None:
    sent = replace(SNAPSHOT, phase=phase, limited=frozenset(limited))
    record = np.zeros(1, records.ARM)
    for name, value in records.arm_fields(sent, 3, tuple(offered), Cadence(100.0, 99.0, 0.001)).items():
        record[0][name] = value
    events = (Notice("hello"),)
    assert same(records.arm_snapshot(record[0], events), replace(sent, events=events))
    assert records.phase_of(record[0]) is phase
    assert set(records.offered_of(record[0])) == offered


def test_a_step_with_pictures_arrives_unchanged(lines: Lines) -> None:
    step = a_step(5, Owner.EXPERT)
    RingWriter(lines.recording).write({"order": records.STEP, **step.row()})
    newest = RingReader(lines.recording).latest()
    assert newest is not None
    arrived = step_of(newest.value, LAYOUT).row()
    assert arrived.keys() == step.row().keys()
    assert all(np.array_equal(arrived[name], value, equal_nan=True) for name, value in step.row().items())


@given(st.lists(st.sampled_from(Verb), max_size=11))
def test_no_verb_of_a_reading_is_lost(verbs: list[Verb]) -> None:
    sent = Teleop(5, np.arange(6.0), 0.3, tuple(verbs), True)
    arrived = []
    for row in records.teleop_fields(sent):
        record = np.zeros(1, records.TELEOP)
        for name, value in row.items():
            record[0][name] = value
        arrived.append(records.teleop_of(record[0]))
    assert [verb for reading in arrived for verb in reading.verbs] == verbs
    assert all(np.array_equal(reading.twist, sent.twist) and reading.deadman for reading in arrived)


def test_a_stop_is_not_a_target() -> None:
    record = np.zeros(1, records.SERVO)
    record[0]["target"] = (pose(0.1).position, pose(0.1).rotation)
    for name, value in records.servo_fields(None, 0.5).items():
        record[0][name] = value
    assert records.servo_target(record[0]) is None
