"""The control loop on the real arm loop and the simulated cell, in lock-step, with a policy that is a function."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import TINY

from data.schema import Owner, Step
from drift_robot.arm_loop import ArmSnapshot
from drift_robot.control import step_owner
from drift_robot.gate import Phase
from drift_robot.lockstep import LockstepCell, control_config
from hardware.arms import rotations
from hardware.interfaces import Verb
from hardware.poses import Pose, action_vector, pose_vector

PERIOD_NS = 100_000_000
DOWN = rotations.exp(np.array([np.pi, 0.0, 0.0]))
VERSION, RANK = 7, 3
HORIZON = TINY.policy.pred_horizon


class Bench:
    """One cell whose learner moves by a constant step, and whose gate is pressed by the test."""

    def __init__(
        self,
        inference_steps: int = 1,
        move: tuple[float, float, float] = (0.0, 0.006, 0.0),
        asks_for_help: bool = False,
        has_alarm: bool = True,
    ) -> None:
        alarm = replace(TINY.alarm, enabled=has_alarm, asks_for_help=asks_for_help)
        config = replace(TINY, gating="none", inference_steps=inference_steps, alarm=alarm)
        self.cell = LockstepCell(config, "adapt")
        self.move = np.array(move)
        self.chunks: list[np.ndarray] = []  # type: ignore[type-arg]
        self.prefixes: list[np.ndarray | None] = []  # type: ignore[type-arg]
        self.asked_at: list[int] = []
        self.steps: list[Step] = []
        self.cell.start(1)
        self.steps = self.cell._log.steps
        self.snapshots: list[ArmSnapshot] = []
        self.time_steps = 0
        self.level: float | None = None
        self.rests: list[int] = []

    @property
    def now_ns(self) -> int:
        return self.cell.control.history.newest.time_ns

    @property
    def alarms(self) -> list[int]:
        return self.cell._log.alarms

    def run(self, periods: int, verbs: dict[int, Verb] | None = None) -> None:
        """Run so many policy periods, pressing verbs at the beginning of some, counted from here.

        With a `level`, every window is judged at once.
        """
        for k in range(periods):
            assert self.cell.observe() is None
            self.cell.control.decide()
            if verbs and k in verbs:
                self.cell.post(verbs[k])
                self.cell.control.decide()
            if self.cell.control.due():
                self.asked_at.append(self.time_steps)
                prefix = self.cell.control.prefix()
                self.prefixes.append(prefix)
                self.rests.append(len(self.cell.control.rest()))
                self.cell.control.deliver(self.chunk(prefix), VERSION, RANK)
                if self.rests[-1] and self.level is not None:
                    self.cell.control.judge(self.now_ns, self.level)
            self.cell.advance()
            self.time_steps += 1

    def chunk(self, prefix: np.ndarray | None) -> np.ndarray:  # type: ignore[type-arg]
        """Go on in a straight line, after the committed actions."""
        newest = self.cell.control.history.newest
        done = 0 if prefix is None else len(prefix)
        from_here = newest.arm.commanded.position if prefix is None else prefix[-1, :3].astype(np.float64)
        rest = [
            action_vector(Pose(from_here + (k + 1) * self.move, newest.arm.commanded.rotation), 0.9)
            for k in range(HORIZON - done)
        ]
        chunk = np.stack(rest).astype(np.float32)
        chunk = chunk if prefix is None else np.concatenate([prefix, chunk])
        self.chunks.append(chunk)
        return chunk

    def owners(self) -> list[Owner]:
        return [step.owner for step in self.steps]


def test_what_was_executed_is_what_is_commanded_at_the_next_step() -> None:
    bench = Bench()
    bench.run(30, {9: Verb.TAKEOVER, 20: Verb.HANDBACK})
    assert len(bench.steps) == 29
    for step, following in zip(bench.steps, bench.steps[1:], strict=False):
        np.testing.assert_array_equal(np.float32(step.action_executed[:9]), following.commanded)
        assert following.time_ns - step.time_ns == PERIOD_NS


def test_the_arm_follows_the_chunk_where_no_limit_acts() -> None:
    bench = Bench(inference_steps=0)
    bench.run(6)
    for k, step in enumerate(bench.steps[:4]):
        np.testing.assert_allclose(step.action_executed[:3], bench.chunks[0][k, :3], atol=2e-3)
        assert step.action_executed[9] == pytest.approx(0.9)


def test_the_committed_actions_are_executed_as_the_last_chunk_had_them() -> None:
    bench = Bench(inference_steps=2)
    bench.run(14)
    assert bench.prefixes[0] is None
    for chunk, prefix, before, asked, earlier in zip(
        bench.chunks[1:], bench.prefixes[1:], bench.chunks, bench.asked_at[1:], bench.asked_at, strict=False
    ):
        assert prefix is not None
        np.testing.assert_array_equal(prefix, before[asked - earlier : asked - earlier + 2])
        for k in range(2):
            if asked + k < len(bench.steps):
                np.testing.assert_array_equal(chunk[k], prefix[k])
                np.testing.assert_allclose(bench.steps[asked + k].action_executed[:3], prefix[k, :3], atol=2e-3)


def test_a_chunk_is_asked_for_every_action_horizon() -> None:
    bench = Bench()
    bench.run(13)
    assert bench.asked_at == [0, 4, 8, 12]


def test_a_hand_back_drops_the_plan_and_asks_for_a_new_chunk_without_committed_actions() -> None:
    bench = Bench()
    bench.run(22, {9: Verb.TAKEOVER, 19: Verb.HANDBACK})
    assert 19 in bench.asked_at
    assert bench.prefixes[bench.asked_at.index(19)] is None
    assert bench.owners()[19:] == [Owner.LEARNER] * len(bench.owners()[19:])


def test_the_learners_proposals_are_recorded_while_the_expert_drives_and_are_not_what_is_executed() -> None:
    bench = Bench()
    bench.run(24, {5: Verb.TAKEOVER})
    corrected = [step for step in bench.steps if step.owner is Owner.EXPERT]
    assert len(corrected) >= 14
    for step in corrected:
        assert np.isfinite(step.action_learner).all()
        assert np.isfinite(step.action_expert).all()
        assert (step.version, step.rank) == (VERSION, RANK)
    apart = [np.linalg.norm(step.action_executed[:3] - step.action_learner[:3]) for step in corrected]
    assert min(apart) > 1e-3


def test_a_learner_action_never_counts_as_the_experts() -> None:
    bench = Bench()
    bench.run(30, {9: Verb.TAKEOVER, 20: Verb.HANDBACK})
    expected = [Owner.LEARNER] * 9 + [Owner.TRANSITION] * 3 + [Owner.EXPERT] * 8 + [Owner.LEARNER] * 9
    assert bench.owners() == expected


def test_nobody_learns_from_a_correction_that_was_called_too_short() -> None:
    config = replace(TINY, gating="none", gate=replace(TINY.gate, transition_s=0.1, min_correction_s=1.0))
    cell = LockstepCell(config, "adapt")
    cell.start(1)
    owners = []
    for corrected in (range(2, 9), range(12, 26)):
        for k in range(30):
            cell.observe()
            cell.control.decide()
            if k in (corrected[0], corrected[-1]):
                cell.post(Verb.TAKEOVER if k == corrected[0] else Verb.HANDBACK)
            cell.advance()
        owners.append([step.owner for step in cell._log.steps])
    assert Owner.EXPERT not in owners[0]
    assert owners[0].count(Owner.TRANSITION) == 6
    assert owners[1][30:].count(Owner.EXPERT) == 12
    assert len(owners[1]) == 59, "every step is recorded, in order"
    assert [step.time_ns for step in cell._log.steps] == sorted(step.time_ns for step in cell._log.steps)


def test_a_takeover_in_the_middle_of_a_step_does_not_make_it_the_experts() -> None:
    config = replace(TINY, gating="none", gate=replace(TINY.gate, transition_s=0.0))
    cell = LockstepCell(config, "adapt")
    cell.start(1)
    for pressed in (False, True, *[False] * 7):
        cell.observe()
        cell.control.decide()
        for tick in range(10):
            if pressed and tick == 5:
                cell.post(Verb.TAKEOVER)
            cell._arm.tick()
            cell._clock.advance_s(TINY.cell.servo_period_s)
            cell._cell.step()
    assert [step.owner for step in cell._log.steps[:3]] == [Owner.LEARNER, Owner.LEARNER, Owner.EXPERT]


def test_hold_pauses_the_recording() -> None:
    bench = Bench()
    bench.run(8, {4: Verb.HOLD})
    steps_at_hold = len(bench.steps)
    bench.run(10)
    assert len(bench.steps) == steps_at_hold == 5
    at_rest = bench.cell.snapshot().commanded.position
    bench.run(6, {0: Verb.RESUME})
    assert len(bench.steps) > steps_at_hold
    np.testing.assert_allclose(bench.steps[steps_at_hold].commanded[:3], at_rest, atol=1e-6)
    assert bench.steps[steps_at_hold].time_ns - bench.steps[steps_at_hold - 1].time_ns > 10 * PERIOD_NS


def snapshot(bench: ArmSnapshot, owner: Owner, since_ns: int) -> ArmSnapshot:
    phase = {Owner.LEARNER: Phase.LEARNER, Owner.TRANSITION: Phase.TRANSITION, Owner.EXPERT: Phase.EXPERT}[owner]
    return replace(bench, phase=phase, owner=owner, owner_since_ns=since_ns)


@pytest.fixture(scope="module")
def any_snapshot() -> ArmSnapshot:
    return Bench().cell.snapshot()


changes = st.lists(st.tuples(st.integers(1, PERIOD_NS), st.sampled_from(Owner)), max_size=4).map(sorted)


@given(first=st.sampled_from(Owner), changes=changes)
def test_a_step_is_the_experts_only_if_she_drove_at_least_four_fifths_of_it(
    any_snapshot: ArmSnapshot, first: Owner, changes: list[tuple[int, Owner]]
) -> None:
    timeline, since_ns = [(0, first)], 0
    for at_ns, owner in changes:
        if owner is not timeline[-1][1]:
            timeline.append((at_ns, owner))
            since_ns = at_ns
    at_start = snapshot(any_snapshot, first, -PERIOD_NS)
    at_end = snapshot(any_snapshot, timeline[-1][1], since_ns if len(timeline) > 1 else -PERIOD_NS)
    ends = [at_ns for at_ns, _ in timeline[1:]] + [PERIOD_NS]
    driven_ns = sum(end - at_ns for (at_ns, owner), end in zip(timeline, ends, strict=True) if owner is Owner.EXPERT)
    if step_owner(at_start, at_end, 0, PERIOD_NS) is Owner.EXPERT:
        assert driven_ns >= 0.8 * PERIOD_NS


def test_history_starts_anew_with_each_episode() -> None:
    bench = Bench()
    bench.run(6)
    bench.cell.post(Verb.FAIL)
    finished: Callable[[], object] = bench.cell.observe
    assert finished() is not None
    bench.cell.start(2)
    assert bench.cell.observe() is None
    samples = bench.cell.control.history.samples()
    assert len({sample.time_ns for sample in samples}) == 1
    np.testing.assert_array_equal(samples[0].commanded, np.float32(pose_vector(bench.cell.snapshot().commanded)))
    assert bench.cell.control.due()
    assert bench.cell.control.prefix() is None


def levels(bench: Bench) -> dict[int, float]:
    """The recorded levels by step."""
    return {index: step.alarm for index, step in enumerate(bench.steps) if not np.isnan(step.alarm)}


def test_what_is_left_of_an_executed_chunk_is_known_when_the_next_one_is_due_and_only_then() -> None:
    bench = Bench()
    bench.run(22, {9: Verb.TAKEOVER, 19: Verb.HANDBACK})
    left = dict(zip(bench.asked_at, bench.rests, strict=True))
    assert (left[0], left[4], left[8]) == (0, HORIZON - 4, HORIZON - 4)
    assert {count for asked, count in left.items() if asked > 9} == {0}, "nothing is executed, or it has just begun"


def test_a_level_is_recorded_in_the_step_in_which_its_window_was_judged_and_nowhere_else() -> None:
    bench = Bench()
    bench.level = 0.5
    bench.run(14)
    assert levels(bench) == {4: 0.5, 8: 0.5, 12: 0.5}
    assert (bench.cell.control.alarm.level, bench.alarms) == (0.5, [])


def test_two_unusual_windows_raise_the_alarm_and_its_onset_is_noted_once() -> None:
    bench = Bench()
    bench.level = 1.5
    bench.run(8)
    assert not bench.cell.control.alarm.raised
    bench.run(12)
    assert bench.cell.control.alarm.raised
    assert bench.alarms == [8]


def test_there_is_no_alarm_while_the_expert_drives_and_a_new_turn_of_the_learner_begins_calmly() -> None:
    bench = Bench()
    bench.level = 1.5
    bench.run(11, {10: Verb.TAKEOVER})
    assert bench.alarms == [8]
    bench.run(10)
    assert not bench.cell.control.alarm.raised
    bench.run(6, {0: Verb.HANDBACK})
    assert (bench.cell.control.alarm.contrary, bench.cell.control.alarm.raised) == (1, False)
    assert set(levels(bench)) == {4, 8, 25}


def test_a_window_is_not_judged_once_its_chunk_is_no_longer_executed() -> None:
    bench = Bench()
    bench.run(5)
    old_ns = bench.now_ns
    bench.run(4)
    control = bench.cell.control
    control.judge(old_ns, 2.0)
    assert control.alarm.level is None
    control.judge(bench.now_ns, 2.0)
    assert control.alarm.level == 2.0
    bench.cell.post(Verb.TAKEOVER)
    control.decide()
    control.judge(bench.now_ns, 3.0)
    assert control.alarm.level == 2.0


def test_a_window_that_had_to_wait_for_a_later_step_counts_in_that_step() -> None:
    bench = Bench()
    bench.run(5)
    due_ns = bench.now_ns
    bench.run(2)
    bench.cell.control.judge(due_ns, 0.7)
    bench.run(3)
    assert levels(bench) == {6: 0.7}


def test_an_alarm_only_advises_unless_help_is_to_be_asked_for() -> None:
    bench = Bench()
    bench.level = 1.5
    bench.run(20)
    assert set(bench.owners()) == {Owner.LEARNER}


def test_a_learner_that_asks_for_help_is_held_at_once_and_the_scripted_expert_answers() -> None:
    bench = Bench(asks_for_help=True)
    bench.level = 1.5
    bench.run(14)
    assert bench.alarms == [8]
    assert bench.owners()[:8] == [Owner.LEARNER] * 8
    assert Owner.LEARNER not in bench.owners()[8:]


def test_without_the_alarm_no_window_is_judged() -> None:
    bench = Bench(has_alarm=False, asks_for_help=True)
    bench.level = 1.5
    bench.run(14)
    assert bench.alarms == []
    assert levels(bench) == {}
    assert set(bench.owners()) == {Owner.LEARNER}


def test_help_is_asked_for_only_while_adapting() -> None:
    config = replace(TINY, alarm=replace(TINY.alarm, asks_for_help=True))
    asks = {mode: control_config(config, mode).alarm.asks_for_help for mode in ("collect", "adapt", "evaluate")}  # type: ignore[arg-type]
    assert asks == {"collect": False, "adapt": True, "evaluate": False}


def test_an_alarm_stays_raised_while_the_arm_holds_and_ends_with_the_next_turn() -> None:
    bench = Bench()
    bench.level = 1.5
    bench.run(10)
    bench.run(3, {0: Verb.HOLD})
    assert bench.cell.snapshot().phase is Phase.HOLD
    assert bench.cell.control.alarm.raised
    bench.run(3, {0: Verb.RESUME})
    assert not bench.cell.control.alarm.raised
