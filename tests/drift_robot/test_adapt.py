"""The online phase: reproducible with two processes, resumable, and independent of the trainer's health."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import (
    ENDINGS,
    TINY,
    TINY_YAML,
    cli,
    columns,
    end,
    finished,
    group_is_empty,
    in_shared_memory,
    left_in_shared_memory,
    same_episodes,
    silently,
    wait_for,
)

from data.session import finished_episodes
from data.verify import verify
from drift_robot import adapt as module
from drift_robot import trainer
from drift_robot.adapt import AdaptFigures, adapt, swap_target
from drift_robot.errors import UserError
from drift_robot.run_folder import RunFolder
from drift_robot.trainer import TrainerProcess
from policies.checkpoint import load_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def adapted(bootstrapped: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, AdaptFigures]:
    """A run after an undisturbed online phase; leave it as it is."""
    run = RunFolder(tmp_path_factory.mktemp("adapted") / "run")
    shutil.copytree(bootstrapped.path, run.path)
    return run, adapt(TINY, run, silently, print)


def test_the_same_seed_gives_the_same_episodes_and_swaps_although_two_processes_run(
    adapted: tuple[RunFolder, AdaptFigures], run: RunFolder
) -> None:
    figures = adapt(TINY, run, silently, print)
    assert (figures.swaps, figures.episodes) == (adapted[1].swaps, adapted[1].episodes)
    assert same_episodes(run, adapted[0])


def test_versions_are_swapped_between_episodes_only_and_one_episode_behind(
    adapted: tuple[RunFolder, AdaptFigures],
) -> None:
    run, figures = adapted
    acting = []
    for index, path in enumerate(finished_episodes(run.session)):
        versions = set(columns(path)["policy.version"].tolist())
        assert len(versions) == 1
        acting.append(versions.pop())
        online = load_manifest(run.versions().path(acting[-1])).figures.get("online", {"episodes": 0})
        assert online["episodes"] <= max(index - 1, 0)
    assert acting == sorted(acting)
    assert acting[0] == 0 < figures.final_version
    assert figures.swaps == len({*acting, figures.final_version}) - 1


def test_a_finished_online_phase_ends_at_once_with_the_same_figures(
    adapted: tuple[RunFolder, AdaptFigures], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "again")
    shutil.copytree(adapted[0].path, run.path)
    again = adapt(TINY, run, silently, print)
    assert again.episodes == adapted[1].episodes
    assert again.final_version == adapted[1].final_version


def test_a_trainer_that_always_dies_does_not_stop_the_session(run: RunFolder) -> None:
    (run.training / "000000" / "training.safetensors").write_bytes(b"damaged")
    said: list[str] = []
    figures = adapt(TINY, run, silently, said.append)
    assert len(figures.episodes) == TINY.adapt.episodes
    assert (figures.swaps, figures.final_version) == (0, 0)
    reasons, stops = said[::2], [sentence.split("; ")[0] for sentence in said[1::2]]
    assert stops == ["The trainer has stopped"] * 3 + ["The trainer has stopped too often"]
    assert len(reasons) == len(stops)
    assert all("training.safetensors does not match its hash" in reason for reason in reasons)


def test_a_trainer_that_hangs_is_replaced_and_the_session_goes_on(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    started: list[TrainerProcess] = []

    class Watched(TrainerProcess):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            started.append(self)

    def freeze(log: object) -> None:
        if not said and started[0].pid is not None:
            os.kill(started[0].pid, signal.SIGSTOP)
            monkeypatch.setattr(trainer, "SILENT_S", 1.0)
            monkeypatch.setattr(trainer, "START_S", 1.0)

    def say(sentence: str) -> None:
        said.append(sentence)
        monkeypatch.undo()  # its successor has all the time it needs

    monkeypatch.setattr(module, "start_trainer", Watched)
    short = replace(TINY, adapt=replace(TINY.adapt, episodes=1))
    figures = adapt(short, run, silently, say, freeze)
    assert said == ["The trainer has stopped; it is started again, and the session goes on."]
    assert figures.final_version == 1


def test_without_a_policy_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run 'drift-robot bootstrap' first"):
        adapt(TINY, RunFolder(tmp_path), silently, print)


def test_when_every_version_is_quarantined_none_may_act(run: RunFolder) -> None:
    run.versions().quarantine(0)
    with pytest.raises(UserError, match="holds no policy that may act"):
        swap_target(run.versions(), 10)


@ENDINGS
def test_ended_in_any_way_it_leaves_no_process_and_only_whole_data_and_the_same_command_goes_on(
    run: RunFolder, tmp_path: Path, order: signal.Signals
) -> None:
    config, before = tmp_path / "tiny.yaml", in_shared_memory()
    config.write_text(TINY_YAML)
    process = cli("adapt", config, "--out", run.path)
    wait_for(lambda: len(finished_episodes(run.session)) >= 1)
    end(process, order)
    code, _, errors = finished(process)
    assert code == (-signal.SIGKILL if order is signal.SIGKILL else 130)
    if code == 130:
        assert errors == "Interrupted. Nothing is lost: the same command goes on from here.\n"
    wait_for(lambda: group_is_empty(process.pid))
    assert not left_in_shared_memory(before)
    assert list((run.session / "episodes").glob("*.partial")) == [
        finding.path for finding in verify(run.session) if finding.path.name.endswith(".partial")
    ]
    code, output, errors = finished(cli("adapt", config, "--out", run.path))
    assert (code, errors) == (0, "")
    assert f"{TINY.adapt.episodes} episodes" in output
    assert len(finished_episodes(run.session)) == TINY.adapt.episodes
