"""The trainer as the process that it is: it learns, publishes only what is whole and checked, and survives kills."""

import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import TINY, add_corrected_episode, wait_for

from data.session import Session
from data.windows import Source
from drift_robot import trainer as trainer_module
from drift_robot.bootstrap import load_demonstrations
from drift_robot.candidate import candidate_fault
from drift_robot.config import AdaptConfig, Config
from drift_robot.run_folder import RunFolder
from drift_robot.trainer import Forecast, Trainer, TrainerProcess, TrainerWord, forecast, read_word
from policies.checkpoint import load_manifest, load_policy, load_training

pytestmark = pytest.mark.slow


@pytest.fixture
def process(eager: Config, run: RunFolder) -> Iterator[TrainerProcess]:
    started = TrainerProcess(eager, run)
    yield started
    started.stop()


def learned(process: TrainerProcess, episodes: int) -> bool:
    word = process.word()
    return word is not None and word.episodes >= episodes and word.state == "waiting"


def run_until_idle(trainer: Trainer, run: RunFolder, episodes: int) -> None:
    """Run a trainer in this process until it has learned from so many episodes."""

    def stop() -> bool:
        word = read_word(run.trainer_status)
        return word is not None and word.episodes >= episodes and word.state == "waiting"

    trainer.run(stop)


def test_it_learns_from_a_finished_episode_and_publishes(process: TrainerProcess, run: RunFolder) -> None:
    add_corrected_episode(run, TINY, 0)
    wait_for(lambda: learned(process, 1))
    assert run.versions().published() == [0, 1]
    policy, manifest = load_policy(run.versions().path(1))
    assert (manifest.version, manifest.parent, manifest.rank) == (1, 0, TINY.rank.r_min)
    assert manifest.figures["online"]["episodes"] == 1
    first = load_manifest(run.versions().path(0)).alarm
    assert manifest.alarm is not None
    assert first is not None
    assert manifest.alarm.threshold != first.threshold, "every version has its own"
    before = load_policy(run.versions().path(0))[0].state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert json.loads(run.trainer_figures.read_text().splitlines()[-1])["version"] == 1


def test_one_that_is_started_again_knows_what_it_had_learned_from(process: TrainerProcess, run: RunFolder) -> None:
    add_corrected_episode(run, TINY, 0)
    wait_for(lambda: learned(process, 1))
    process.start()
    wait_for(lambda: learned(process, 1))
    assert run.versions().published() == [0, 1]


def test_killed_at_any_moment_it_goes_on_and_never_publishes_a_broken_version(
    process: TrainerProcess, run: RunFolder
) -> None:
    rng = random.Random(0)
    for index in range(3):
        add_corrected_episode(run, TINY, index)
        wait_for(lambda: process.word() is not None)
        time.sleep(rng.uniform(0.0, 0.6))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not process.alive())
        process.start()
    wait_for(lambda: learned(process, 3))
    versions = run.versions()
    assert versions.published() == list(range(len(versions.published())))
    assert len(versions.published()) >= 2
    for version in versions.published():
        assert load_policy(versions.path(version))[1].version == version


@pytest.mark.long
def test_one_that_runs_out_of_memory_says_so_and_the_next_goes_on(eager: Config, run: RunFolder) -> None:
    greedy = TrainerProcess(replace(eager, adapt=replace(eager.adapt, batch_size=100_000_000)), run)
    wait_for(lambda: (word := greedy.word()) is not None and word.state == "waiting")
    assert greedy.pid is not None
    pages = int(Path(f"/proc/{greedy.pid}/statm").read_text().split()[0])
    enough = pages * resource.getpagesize() + 2**28
    resource.prlimit(greedy.pid, resource.RLIMIT_AS, (enough, enough))
    add_corrected_episode(run, TINY, 0)
    wait_for(lambda: not greedy.alive())
    assert greedy.last_words() == "The trainer has run out of memory."
    modest = TrainerProcess(eager, run)
    try:
        wait_for(lambda: learned(modest, 1))
    finally:
        modest.stop()
    assert run.versions().published() == [0, 1]


def test_what_a_kill_left_half_done_is_cleared_away(eager: Config, run: RunFolder) -> None:
    shutil.copytree(run.training / "000000", run.training / "000001")
    (run.versions().folder / ".000001.scratch").mkdir()
    add_corrected_episode(run, TINY, 0)
    run_until_idle(Trainer(eager, run), run, 1)
    assert run.versions().published() == [0, 1]
    assert load_training(run.training / "000001")[1].version == 1
    assert list(run.versions().folder.glob(".*")) == []


def test_a_quarantined_version_is_left_for_its_good_parent_and_its_number_is_not_used_again(
    eager: Config, run: RunFolder
) -> None:
    add_corrected_episode(run, TINY, 0)
    trainer = Trainer(eager, run)
    run_until_idle(trainer, run, 1)
    run.versions().quarantine(1)
    add_corrected_episode(run, TINY, 1)
    run_until_idle(trainer, run, 2)
    assert run.versions().good() == [0, 2]
    assert load_manifest(run.versions().path(2)).parent == 0


def test_even_if_all_newer_versions_are_quarantined_it_goes_back_to_the_bootstrapped_one(
    eager: Config, run: RunFolder
) -> None:
    for index in range(5):
        add_corrected_episode(run, TINY, index)
    run_until_idle(Trainer(eager, run), run, 5)
    for version in run.versions().published()[1:]:
        run.versions().quarantine(version)
    add_corrected_episode(run, TINY, 5)
    run_until_idle(Trainer(eager, run), run, 6)
    assert load_manifest(run.versions().path(run.versions().good()[1])).parent == 0


def test_an_episode_that_is_dropped_is_not_drawn_from_any_more(eager: Config, run: RunFolder) -> None:
    add_corrected_episode(run, TINY, 0)
    trainer = Trainer(eager, run)
    run_until_idle(trainer, run, 1)
    assert len(trainer._buffer.select(Source.INTERVENTION)) > 0
    Session.open(run.session).drop_last()
    polls = iter([False, True])
    trainer.run(lambda: next(polls))
    assert len(trainer._buffer.select(Source.INTERVENTION)) == 0


def test_a_candidate_with_weights_that_are_not_finite_is_refused_and_training_goes_on(
    eager: Config, run: RunFolder
) -> None:
    add_corrected_episode(run, TINY, 0)
    trainer = Trainer(eager, run)
    spoil = iter([True])

    def stop() -> bool:
        word = read_word(run.trainer_status)
        if word is not None and word.state == "training" and next(spoil, False):
            next(iter(trainer._state.average.parameters().values())).fill_(float("nan"))
        return word is not None and word.episodes >= 1 and word.state == "waiting"

    trainer.run(stop)
    assert run.versions().published() == [0]
    assert trainer._word.rejected == 1
    assert "not finite" in trainer._word.message


def test_training_that_diverges_goes_back_to_the_last_version(eager: Config, run: RunFolder) -> None:
    add_corrected_episode(run, TINY, 0)
    trainer = Trainer(eager, run)
    with torch.no_grad():
        next(trainer._state.policy.condition_encoder.parameters()).fill_(float("nan"))
    run_until_idle(trainer, run, 1)
    assert "went back to version 0" in trainer._word.message
    assert all(torch.isfinite(p).all() for p in trainer._state.policy.parameters())


def test_a_candidate_is_refused_for_each_of_its_faults_and_only_for_them(eager: Config, run: RunFolder) -> None:
    acting, _ = load_policy(run.versions().path(0))
    buffer = load_demonstrations(eager, run.demonstrations)
    batch = buffer.sample(32, np.random.default_rng(0))
    episodes = [buffer.sample(16, np.random.default_rng(seed)) for seed in range(1, 5)]
    limits = eager.limits

    def fault(spoil: float = 0.0, held_out: bool = True, canned_shift_m: float = 0.0) -> str | None:
        candidate, _ = load_policy(run.versions().path(0))
        with torch.no_grad():
            for parameter in candidate.backbone.parameters():
                parameter += spoil * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
        canned = replace(batch, commanded=batch.commanded + np.float32(canned_shift_m))
        return candidate_fault(candidate, acting, canned, episodes if held_out else [], limits)

    assert fault() is None
    assert "not finite" in str(fault(spoil=float("nan")))
    assert "leave the workspace box" in str(fault(canned_shift_m=1.0))
    assert "held-out episodes" in str(fault(spoil=0.1))
    assert fault(spoil=0.1, held_out=False) is None


@pytest.mark.parametrize(
    ("word", "asked", "expected"),
    [
        ({"labels_since": 60, "episodes_since": 1}, False, Forecast(None, 40, 2)),
        ({"labels_since": 120, "episodes_since": 1}, False, Forecast(None, 0, 2)),
        ({"labels_since": 120, "episodes_since": 3}, False, Forecast(7.0)),
        ({"labels_since": 0, "episodes_since": 0}, True, Forecast(7.0)),
        ({"labels_since": 120, "episodes_since": 3, "state": "checking"}, False, Forecast(2.0)),
        ({"labels_since": 120, "episodes_since": 3, "state": "waiting"}, False, Forecast()),
        ({"labels_since": 120, "episodes_since": 3, "rounds": 0}, False, Forecast()),
    ],
)
def test_when_the_next_version_comes_follows_from_labels_and_the_length_of_a_round(
    word: dict[str, object], asked: bool, expected: Forecast
) -> None:
    now = TrainerWord(1, "training", rounds=4, training_seconds=40.0, progress=0.5, checking_seconds=2.0)
    settings = AdaptConfig(candidate_labels=100, candidate_episodes=3)
    assert forecast(replace(now, **word), settings, asked) == expected  # type: ignore[arg-type]


def test_the_online_rank_rises_while_new_interventions_demand_it_and_falls_back(eager: Config, run: RunFolder) -> None:
    assert (TINY.rank.r_min, TINY.rank.r_max) == (4, 16)
    for index, (rises_at, rank) in enumerate([(1e-9, 8), (1e-9, 16), (1e-9, 16), (1e9, 8), (1e9, 4), (1e9, 4)]):
        add_corrected_episode(run, TINY, index)
        run_until_idle(Trainer(replace(eager, rank=replace(eager.rank, rises_at=rises_at)), run), run, index + 1)
        assert json.loads(run.trainer_figures.read_text().splitlines()[-1])["rank"] == rank
        assert load_manifest(run.versions().path(index + 1)).rank == rank


def test_what_somebody_has_put_beside_the_versions_stays(eager: Config, run: RunFolder) -> None:
    copies = [folder / "000000.keep" for folder in (run.versions().folder, run.training)]
    for copy in copies:
        shutil.copytree(copy.with_suffix(""), copy)
    Trainer(eager, run)
    assert all(copy.is_dir() for copy in copies)
    assert run.versions().published() == [0]


def test_what_has_learned_on_from_a_version_that_is_rolled_back_meanwhile_is_not_published(
    eager: Config, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_corrected_episode(run, TINY, 0)
    trainer = Trainer(eager, run)
    run_until_idle(trainer, run, 1)
    check = trainer_module.candidate_fault

    def checked_while_the_operator_rolls_back(*arguments: Any) -> str | None:
        run.versions().quarantine(1)
        return check(*arguments)

    monkeypatch.setattr(trainer_module, "candidate_fault", checked_while_the_operator_rolls_back)
    add_corrected_episode(run, TINY, 1)
    run_until_idle(trainer, run, 2)
    assert run.versions().good() == [0]
    word = read_word(run.trainer_status)
    assert word is not None
    assert "Version 1 was rolled back" in word.message


def test_one_that_is_started_again_knows_by_name_what_it_had_learned_from(eager: Config, run: RunFolder) -> None:
    first, second, third = (add_corrected_episode(run, TINY, index) for index in range(3))
    run_until_idle(Trainer(eager, run), run, 3)
    Session.open(run.session).discard(0)
    fourth = add_corrected_episode(run, TINY, 3)
    again = Trainer(eager, run)
    assert again._learned == [second, third]
    run_until_idle(again, run, 3)
    assert again._learned == [second, third, fourth]
    assert not first.exists()


def test_in_lock_step_what_was_learned_last_is_offered_although_few_labels_have_come(
    eager: Config, run: RunFolder
) -> None:
    adapt = replace(eager.adapt, pace="episode", candidate_labels=10_000, episodes=2)
    trainer = Trainer(replace(eager, adapt=adapt), run)
    for index, expected in enumerate(([0], [0, 1])):
        add_corrected_episode(run, TINY, index)
        run_until_idle(trainer, run, index + 1)
        assert run.versions().published() == expected
