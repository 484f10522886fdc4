"""Cells in lock-step: reproducible, independent of each other, and never stuck."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_run import TINY

from data.schema import Outcome, Owner, Step
from drift_robot.actor import Actor
from drift_robot.gate import Fault, Phase
from drift_robot.lockstep import EpisodeLog, LockstepCell, run_episodes
from drift_robot.run_folder import RunFolder
from hardware.cell.tasks import TASKS
from hardware.errors import DeviceError
from hardware.interfaces import Safety


def numbers(step: Step) -> tuple[bytes, ...]:
    """Return all that a step says, without absolute times, bit for bit."""
    fields = (step.tcp, step.commanded, step.gripper, step.joints, step.wrench, step.objects)
    actions = (step.action_executed, step.action_learner, step.action_expert)
    return (*(np.asarray(value).tobytes() for value in (*fields, *actions)), bytes([step.owner]))


def same(one: EpisodeLog, other: EpisodeLog) -> bool:
    return (one.outcome, [numbers(s) for s in one.steps]) == (other.outcome, [numbers(s) for s in other.steps])


def test_the_same_seed_gives_the_same_episodes_bit_for_bit(bootstrapped: RunFolder) -> None:
    logs = []
    for _ in range(2):
        actor = Actor.load(bootstrapped.versions().path(0), seed=3, device=torch.device("cpu"))
        logs.append(list(run_episodes([LockstepCell(TINY, "adapt")], actor, [5, 6])))
    assert all(same(*pair) for pair in zip(*logs, strict=True))
    assert not same(logs[0][0], logs[0][1])


def test_cells_side_by_side_give_what_each_gives_alone() -> None:
    seeds = [11, 12, 13]
    alone = {seed: next(run_episodes([LockstepCell(TINY, "collect")], None, [seed])) for seed in seeds}
    together = list(run_episodes([LockstepCell(TINY, "collect") for _ in range(2)], None, seeds))
    assert sorted(log.seed for log in together) == seeds
    assert all(same(log, alone[log.seed]) for log in together)


def test_an_episode_does_not_depend_on_those_before_it_in_its_cell() -> None:
    cell = LockstepCell(TINY, "collect")
    first, again = run_episodes([cell], None, [11, 11])
    assert same(first, again)


def test_the_deployment_offset_shifts_what_is_observed_but_not_what_the_expert_does() -> None:
    plain = replace(TINY, cell=replace(TINY.cell, deployment_offset_m=(0.0, 0.0, 0.0)))
    steps = {}
    for name, config, mode in (
        ("plain", plain, "adapt"),
        ("shifted", TINY, "adapt"),
        ("collected", TINY, "collect"),
    ):
        cell = LockstepCell(config, mode)  # type: ignore[arg-type]
        cell.start(4)
        for _ in range(3):
            cell.observe()
            cell.control.decide()
            cell.advance()
        steps[name] = cell._log.steps[0]
    difference = steps["shifted"].objects - steps["plain"].objects
    np.testing.assert_allclose(difference, [0.03, 0, 0, 0.03, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(steps["shifted"].action_expert, steps["plain"].action_expert)
    np.testing.assert_array_equal(steps["collected"].objects, steps["plain"].objects)


def test_an_episode_that_runs_out_of_time_has_failed() -> None:
    (log,) = run_episodes([LockstepCell(TINY, "evaluate")], None, [1])
    assert log.outcome is Outcome.FAILURE
    assert len(log.steps) == round(TASKS["lift"].time_limit_s / TINY.policy_period_s) + 1
    assert {step.owner for step in log.steps} == {Owner.LEARNER}


def test_an_expert_who_speaks_once_in_a_long_policy_period_is_not_silent() -> None:
    cell = LockstepCell(replace(TINY, policy_period_s=0.5), "adapt")
    cell.start(4)
    for _ in range(3):
        assert cell.observe() is None
        cell.advance()
        assert cell.snapshot().phase is Phase.LEARNER


def test_a_demonstration_succeeds_and_is_the_experts_throughout() -> None:
    (log,) = run_episodes([LockstepCell(TINY, "collect")], None, [1])
    assert log.outcome is Outcome.SUCCESS
    assert log.expert_labels == len(log.steps)
    assert log.intervened
    assert len(log.states) >= len(log.steps)


class Trouble:
    """Reports something at the arm for so many policy periods of the first episode."""

    def __init__(self, cell: LockstepCell, after: int) -> None:
        self._cell, self._after, self._steps = cell, after, 0

    def __call__(self, step: Step) -> None:
        self._steps += 1
        if self._steps == self._after:
            self.strike()

    def strike(self) -> None:
        arm = self._cell._cell.arm
        original = arm.read
        arm.read = lambda: replace(original(), wrench=np.array([500.0, 0, 0, 0, 0, 0]))  # type: ignore[method-assign]
        reset = self._cell._cell.reset

        def clear(seed: int) -> None:
            arm.read = original  # type: ignore[method-assign]
            reset(seed)

        self._cell._cell.reset = clear  # type: ignore[method-assign]


def test_after_a_fault_that_goes_with_the_scene_the_next_episode_is_as_if_nothing_had_been() -> None:
    cell = LockstepCell(TINY, "collect")
    cell._on_step = Trouble(cell, after=5)
    broken, next_one = run_episodes([cell], None, [21, 22])
    assert broken.outcome is Outcome.FAILURE
    assert len(broken.steps) < 10
    (alone,) = run_episodes([LockstepCell(TINY, "collect")], None, [22])
    assert same(next_one, alone)


def test_a_fault_that_stays_ends_in_one_sentence() -> None:
    cell = LockstepCell(TINY, "collect")
    cell.start(1)
    cell.observe()
    original = cell._cell.arm.read
    cell._cell.arm.read = lambda: replace(original(), safety=Safety.PROTECTIVE_STOP)  # type: ignore[method-assign]
    cell.advance()
    assert cell.snapshot().phase is Phase.FAULT
    with pytest.raises(DeviceError, match=r"cannot start an episode\. The .*protective stop"):
        cell.start(2)


def test_a_fault_of_another_source_does_not_hang_the_episodes_behind_it() -> None:
    cell = LockstepCell(TINY, "collect")
    cell._on_step = lambda step: cell.post(Fault("The camera front is silent.", "front"))
    with pytest.raises(DeviceError, match="camera front"):
        list(run_episodes([cell], None, [1, 2]))
