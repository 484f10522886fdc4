"""The offline phase: the rank follows the schedule, and an interruption changes nothing."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_run import TINY, silently

from data.buffer import Batch, ReplayBuffer
from data.windows import Source
from drift_robot.bootstrap import bootstrap, bootstrap_figures, load_demonstrations, train_longer
from drift_robot.collect import collect
from drift_robot.config import Picture
from drift_robot.errors import UserError
from drift_robot.run_folder import RunFolder, occupied
from drift_robot.training import ALARM_WINDOWS
from policies.checkpoint import load_manifest, load_policy, load_training
from policies.schedules import RankSchedule
from policies.vision import ResNet18


class StopError(Exception):
    """The operator interrupts."""


def stop_in(epoch: int):  # type: ignore[no-untyped-def]
    """Return a progress report that interrupts in an epoch, counted from 1."""

    def progress(done: int, total: int, words: str) -> None:
        if words.startswith(f"epoch {epoch}/"):
            raise StopError

    return progress


@pytest.fixture
def fresh(demonstrated: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(demonstrated.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def weights(run: RunFolder, version: int = 0) -> dict[str, torch.Tensor]:
    return load_policy(run.versions().path(version))[0].state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_rank_follows_the_schedule_and_ends_at_r_min(bootstrapped: RunFolder) -> None:
    figures = bootstrap_figures(bootstrapped.versions().path(0))
    schedule, epochs = RankSchedule(TINY.rank), TINY.bootstrap.epochs
    assert figures.ranks == [schedule.rank(epoch, epochs) for epoch in range(1, epochs + 1)]
    assert figures.ranks[-1] == TINY.rank.r_min < figures.ranks[0]
    assert figures.updates == epochs * TINY.bootstrap.batches_per_epoch
    assert figures.demonstrations == TINY.collect.episodes


def test_version_0_can_act_and_its_training_state_can_go_on(bootstrapped: RunFolder) -> None:
    manifest = load_manifest(bootstrapped.versions().path(0))
    assert (manifest.version, manifest.parent, manifest.rank) == (0, None, TINY.rank.r_min)
    assert manifest.training is None
    state, _ = load_training(bootstrapped.training / "000000")
    assert same(state.acting_weights(), weights(bootstrapped))


def test_version_0_has_an_alarm_of_its_own_found_at_the_demonstrations(bootstrapped: RunFolder) -> None:
    alarm = load_manifest(bootstrapped.versions().path(0)).alarm
    assert alarm is not None
    buffer = load_demonstrations(TINY, bootstrapped.demonstrations)
    pairs = len(buffer.pairs(Source.DEMONSTRATION, TINY.policy.action_horizon))
    assert (alarm.quantile, alarm.windows) == (TINY.alarm.quantile, min(pairs, ALARM_WINDOWS))
    assert alarm.threshold > 0


def test_without_the_alarm_a_version_has_no_threshold_and_its_weights_are_the_same(
    fresh: RunFolder, bootstrapped: RunFolder
) -> None:
    bootstrap(replace(TINY, alarm=replace(TINY.alarm, enabled=False)), fresh, silently)
    assert load_manifest(fresh.versions().path(0)).alarm is None
    assert same(weights(fresh), weights(bootstrapped))


def test_an_interrupted_bootstrap_gives_the_weights_of_an_uninterrupted_one(
    fresh: RunFolder, bootstrapped: RunFolder
) -> None:
    for epoch in (2, 4):
        with pytest.raises(StopError):
            bootstrap(TINY, fresh, stop_in(epoch))
    assert fresh.versions().published() == []
    figures = bootstrap(TINY, fresh, silently)
    assert same(weights(fresh), weights(bootstrapped))
    assert figures.ranks == bootstrap_figures(bootstrapped.versions().path(0)).ranks
    assert list(fresh.bootstrap.glob("[0-9]*")) == []


def test_a_bootstrap_killed_just_before_it_publishes_goes_on(fresh: RunFolder, bootstrapped: RunFolder) -> None:
    shutil.copytree(bootstrapped.training, fresh.training)
    bootstrap(TINY, fresh, silently)
    assert same(weights(fresh), weights(bootstrapped))


def test_a_finished_bootstrap_is_not_repeated(bootstrapped: RunFolder) -> None:
    def progress(done: int, total: int, words: str) -> None:
        raise AssertionError("it trains again")

    before = weights(bootstrapped)
    bootstrap(TINY, bootstrapped, progress)
    assert same(weights(bootstrapped), before)


def test_a_bootstrap_that_diverges_ends_in_one_sentence(fresh: RunFolder) -> None:
    steep = replace(TINY, bootstrap=replace(TINY.bootstrap, learning_rate=1e30, warmup_batches=0))
    with pytest.raises(UserError, match=r"^The loss of a training batch is .*; a lower 'learning_rate'.* helps\.$"):
        bootstrap(steep, fresh, silently)
    assert not fresh.versions().published()


def test_encoders_begin_with_given_weights_and_frozen_they_keep_them(tmp_path: Path) -> None:
    given = {name: torch.rand_like(value) for name, value in ResNet18().state_dict().items()}
    save_file(given, tmp_path / "resnet18.safetensors")
    config = replace(
        TINY,
        cell=replace(TINY.cell, cameras={"front": Picture(32, 32)}),
        policy=replace(TINY.policy, freeze_vision=True),
        collect=replace(TINY.collect, episodes=1),
        bootstrap=replace(
            TINY.bootstrap, epochs=1, batches_per_epoch=1, vision_weights=tmp_path / "resnet18.safetensors"
        ),
    )
    run = RunFolder(tmp_path / "run")
    collect(config, run, silently)
    bootstrap(config, run, silently)
    kept = {n.removeprefix("encoders.front.trunk."): v for n, v in weights(run).items() if ".trunk." in n}
    assert same(kept, given)
    wrong = tmp_path / "wrong.safetensors"
    for content in (b"no tensors", None):
        wrong.write_bytes(content) if content else save_file({"fc.weight": torch.zeros(3)}, wrong)
        settings = replace(config, bootstrap=replace(config.bootstrap, vision_weights=wrong))
        shutil.rmtree(run.path)
        collect(settings, run, silently)
        with pytest.raises(UserError, match=r"^'bootstrap\.vision_weights': .*wrong\.safetensors is no safetensors"):
            bootstrap(settings, run, silently)


def test_without_demonstrations_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run 'drift-robot collect' first"):
        bootstrap(TINY, RunFolder(tmp_path), silently)


def test_autonomous_windows_are_there_only_if_they_are_asked_for(demonstrated: RunFolder) -> None:
    asked = replace(TINY, adapt=replace(TINY.adapt, autonomous_share=0.2))
    rules = [load_demonstrations(config, demonstrated.demonstrations)._rules.autonomous for config in (TINY, asked)]
    assert rules == [False, True]


def test_the_control_trains_on_from_version_0_and_publishes_nothing(run: RunFolder) -> None:
    folder = train_longer(TINY, run, 5, silently)
    longer, manifest = load_policy(folder)
    assert manifest.rank == TINY.rank.r_min
    assert not same(longer.state_dict(), weights(run))
    assert run.versions().published() == [0]


def test_demonstrations_of_another_task_or_pace_are_refused(fresh: RunFolder) -> None:
    stacking = replace(TINY, cell=replace(TINY.cell, task="stacking"))
    with pytest.raises(UserError, match="holds episodes of task 'lift', but the configuration says 'stacking'"):
        bootstrap(stacking, fresh, silently)
    with pytest.raises(UserError, match=r"a step every 0.1 s, but the configuration says 'policy_period_s: 0.05'"):
        bootstrap(replace(TINY, policy_period_s=0.05), fresh, silently)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"track_objects": False}, "holds 8 numbers of tracked objects a step, not 0"),
        ({"cameras": {"wrist": Picture(24, 32)}}, r"holds no pictures of camera 'wrist', not \(24, 32\)"),
    ],
)
def test_demonstrations_that_lack_what_the_policy_observes_are_refused(
    fresh: RunFolder, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        bootstrap(replace(TINY, cell=replace(TINY.cell, **changed)), fresh, silently)


def test_an_interrupted_bootstrap_is_not_gone_on_with_otherwise(fresh: RunFolder) -> None:
    with pytest.raises(StopError):
        bootstrap(TINY, fresh, stop_in(3))
    for other in (
        replace(TINY, bootstrap=replace(TINY.bootstrap, epochs=2)),
        replace(TINY, policy=replace(TINY.policy, pred_horizon=8)),
        replace(TINY, method="HG"),
    ):
        with pytest.raises(UserError, match="was begun with another method, policy or number of epochs; remove it"):
            bootstrap(other, fresh, silently)
    bootstrap(TINY, fresh, silently)


def test_what_is_bootstrapped_already_has_to_fit_too(bootstrapped: RunFolder) -> None:
    with pytest.raises(UserError, match=r"version 0 in .* does not fit the configuration: its object_dim is 8, not 16"):
        bootstrap(replace(TINY, cell=replace(TINY.cell, task="stacking")), bootstrapped, silently)


def test_only_one_process_at_a_time_collects_or_bootstraps_in_a_run(fresh: RunFolder) -> None:
    with occupied(fresh):
        for job in (collect, bootstrap):
            with pytest.raises(UserError, match="Another drift-robot works in"):
                job(TINY, fresh, silently)


def test_the_normalisers_are_fitted_without_looking_at_pictures(
    fresh: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered = list[bool]()
    gather = ReplayBuffer.gather

    def noting(buffer: ReplayBuffer, windows: np.ndarray, pictures: bool = True) -> Batch:  # type: ignore[type-arg]
        gathered.append(pictures)
        return gather(buffer, windows, pictures)

    monkeypatch.setattr(ReplayBuffer, "gather", noting)
    bootstrap(TINY, fresh, silently)
    assert gathered[0] is False
