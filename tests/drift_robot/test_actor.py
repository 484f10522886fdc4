"""The acting policy and its alarm: what an episode's windows say of it, without changing what it does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import TINY

from drift_robot.actor import Actor, Successor
from drift_robot.lockstep import EpisodeLog, LockstepCell, run_episodes
from drift_robot.run_folder import RunFolder
from policies.checkpoint import load_manifest, load_policy, save

SEED = 5


def loaded(version: Path) -> Actor:
    return Actor.load(version, SEED, torch.device("cpu"))


def levels(log: EpisodeLog) -> dict[int, float]:
    return {index: step.alarm for index, step in enumerate(log.steps) if not np.isnan(step.alarm)}


def act(actor: Actor, cells: int = 1) -> list[EpisodeLog]:
    actor.reseed(SEED)
    return list(run_episodes([LockstepCell(TINY, "evaluate") for _ in range(cells)], actor, range(SEED, SEED + cells)))


@pytest.fixture
def version(bootstrapped: RunFolder) -> Path:
    return bootstrapped.versions().path(0)


def test_every_chunk_but_the_first_is_judged_when_the_next_one_is_made(version: Path) -> None:
    (log,) = act(loaded(version))
    assert list(levels(log)) == list(range(4, len(log.steps), 4))
    assert all(level > 0 for level in levels(log).values())


def test_the_alarm_changes_nothing_of_what_the_policy_does(version: Path) -> None:
    watched, alone = loaded(version), loaded(version)
    alone.alarm = None
    (one,), (other,) = act(watched), act(alone)
    assert levels(other) == {}
    assert [s.action_executed.tobytes() for s in one.steps] == [s.action_executed.tobytes() for s in other.steps]


def test_cells_side_by_side_are_judged_each_by_its_own(version: Path) -> None:
    actor = loaded(version)
    assert all(list(levels(log)) == list(range(4, len(log.steps), 4)) for log in act(actor, 3))


def test_an_untrained_policy_under_a_shift_raises_its_alarm_and_a_wide_threshold_keeps_it_silent(
    version: Path, tmp_path: Path
) -> None:
    policy, manifest = load_policy(version)
    assert manifest.alarm is not None
    alarms = {}
    for factor in (0.01, 1e6):
        changed = replace(manifest.alarm, threshold=factor * manifest.alarm.threshold)
        save(tmp_path / str(factor), replace(manifest, alarm=changed), policy.state_dict())
        alarms[factor] = act(loaded(tmp_path / str(factor)))[0].alarms
    assert alarms == {0.01: [8], 1e6: []}


def test_a_swap_takes_the_new_versions_threshold_and_forgets_what_waits_to_be_judged(
    version: Path, tmp_path: Path
) -> None:
    policy, manifest = load_policy(version)
    save(tmp_path / "old", replace(manifest, alarm=None), policy.state_dict())
    actor = loaded(version)
    cell = LockstepCell(TINY, "evaluate")
    cell.start(SEED)
    for _ in range(5):
        cell.observe()
        cell.control.decide()
        actor.serve([cell.control])
        cell.advance()
    assert actor.unjudged
    actor.swap(Successor.load(tmp_path / "old", actor.device))
    assert not actor.unjudged
    assert actor.alarm is None
    actor.swap(Successor.load(version, actor.device))
    assert actor.alarm == load_manifest(version).alarm


@pytest.mark.slow
def test_a_compiled_version_begins_as_the_plain_one_and_its_successor_compiles_nothing(
    version: Path,
) -> None:
    from torch._dynamo.utils import counters

    compiled = Actor.load(version, SEED, torch.device("cpu"), compiled=True)
    compilations = counters["stats"]["unique_graphs"]
    (same,), (plain,) = act(compiled), act(loaded(version))
    firsts = [[step.action_executed for step in log.steps[:4]] for log in (same, plain)]
    np.testing.assert_allclose(*firsts, atol=1e-4)
    compiled.swap(Successor.load(version, compiled.device, compiled=True))
    act(compiled)
    assert counters["stats"]["unique_graphs"] == compilations
