"""Every method goes through the same procedure: bootstrap, trainer, versions. The forms themselves: tests/policies."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, add_corrected_episode, silently

from drift_robot.adapt import adapt
from drift_robot.benchmark.methods import OPTIONS, method_rows
from drift_robot.bootstrap import bootstrap
from drift_robot.config import Config, config_from_dict
from drift_robot.errors import UserError
from drift_robot.run_folder import RunFolder
from drift_robot.trainer import Trainer, read_word
from policies.checkpoint import load_policy, load_training
from policies.methods import METHODS, MethodName


def config_of(name: MethodName) -> Config:
    return replace(TINY, method=name, bootstrap=replace(TINY.bootstrap, epochs=3, batches_per_epoch=4))


@pytest.fixture
def fresh(demonstrated: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(demonstrated.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def learn(config: Config, run: RunFolder, episodes: int) -> Trainer:
    """Run a trainer in this process until it has learned from so many episodes."""

    def stop() -> bool:
        word = read_word(run.trainer_status)
        return word is not None and word.episodes >= episodes and word.state == "waiting"

    trainer = Trainer(config, run)
    trainer.run(stop)
    return trainer


@pytest.mark.parametrize("name", ["HG", "D(LR)", "MPLO", "QR", "QLoRA"])  # among them every form and change of form
def test_a_method_bootstraps_publishes_and_goes_on_with_a_new_trainer(name: MethodName, fresh: RunFolder) -> None:
    config, method = config_of(name), METHODS[name]
    assert method.online is not None
    bootstrap(config, fresh, silently)
    assert load_training(fresh.training / "000000")[0].phase.form == method.offline.form
    for episodes in (1, 2):
        add_corrected_episode(fresh, config, episodes - 1)
        learn(config, fresh, episodes)
    assert fresh.versions().published() == [0, 1, 2]
    state, manifest = load_training(fresh.training / "000002")
    assert state.phase.form == method.online.form
    assert manifest.method == name
    weights = [load_policy(fresh.versions().path(version))[0].state_dict() for version in (0, 1, 2)]
    assert weights[0].keys() == weights[1].keys() == weights[2].keys()
    assert any(not torch.equal(value, weights[1][key]) for key, value in weights[2].items())


@pytest.mark.parametrize("option", OPTIONS)
def test_what_goes_beyond_the_paper_goes_through_the_same_procedure(option: str, fresh: RunFolder) -> None:
    (row,) = method_rows(config_of("D(RR)"), [], options=[option])
    assert (row.name, row.method) == (f"D(RR) {option}", "D(RR)")
    config = replace(config_of("D(RR)"), rank=row.rank)
    bootstrap(config, fresh, silently)
    add_corrected_episode(fresh, config, 0)
    learn(config, fresh, 1)
    state, _ = load_training(fresh.training / "000001")
    assert (state.scope, state.allocation) == (row.rank.scope, row.rank.allocation)
    one, two = (load_policy(fresh.versions().path(version))[0].state_dict() for version in (0, 1))
    assert any(not torch.equal(value, two[key]) for key, value in one.items())


def test_an_option_that_there_is_not_is_one_sentence() -> None:
    with pytest.raises(UserError, match="--options: 'all' should be one of spectrum, policy, rising"):
        method_rows(TINY, [], options=["all"])


class StopError(Exception):
    """The operator interrupts."""


def test_adapters_drawn_anew_after_an_interruption_are_those_of_an_uninterrupted_run(
    fresh: RunFolder, tmp_path: Path
) -> None:
    def stop_in_the_second_epoch(done: int, total: int, words: str) -> None:
        if words.startswith("epoch 2/"):
            raise StopError

    config, other = config_of("D(LR)"), RunFolder(tmp_path / "other")
    shutil.copytree(fresh.path, other.path)
    with pytest.raises(StopError):
        bootstrap(config, fresh, stop_in_the_second_epoch)
    torch.rand(3)
    for run in (fresh, other):
        bootstrap(config, run, silently)
    one, two = (load_policy(run.versions().path(0))[0].state_dict() for run in (fresh, other))
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=0, atol=1e-6)


def test_a_method_that_does_not_learn_online_says_so(run: RunFolder) -> None:
    with pytest.raises(UserError, match="BC learns from demonstrations alone; set 'method'"):
        adapt(replace(TINY, method="BC"), run, silently, lambda sentence: None)


def test_a_method_that_there_is_not_is_one_sentence_that_names_all() -> None:
    with pytest.raises(UserError, match=r"file: key 'method' should be 'BC', 'HG', .* or 'QLoRA', but is 'DRIFT'"):
        config_from_dict({"method": "DRIFT"}, "file")
