"""A real-time session whose trainer is elsewhere, and whose shared folder goes and comes back."""

import signal
from pathlib import Path

import pytest
from realtime_bench import configuration
from tiny_run import cli, ended_trainer, meeting

from drift_robot.realtime import supervisor
from drift_robot.realtime.supervisor import run_session
from drift_robot.remote.exchange import ROBOT_HEAD, TRAINER_HEAD
from drift_robot.remote.items import read_head
from drift_robot.remote.store import Store
from drift_robot.run_folder import RunFolder
from drift_robot.status import SessionStatus, TrainerState, status_to_json

pytestmark = [pytest.mark.realtime, pytest.mark.long]


def test_a_session_goes_on_while_the_store_is_gone_and_learns_when_it_is_back(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, away = tmp_path / "store", tmp_path / "away"
    config = meeting(configuration(40), str(store))
    store.mkdir()
    heard: list[str] = []
    shown: list[SessionStatus] = []
    told: list[str] = []

    def say(sentence: str) -> None:
        heard.append(sentence)
        if sentence.startswith("Episode 1 "):
            store.rename(away)
        elif "is no folder" in sentence:
            told.append(sentence)
            away.rename(store)

    def noted(status: SessionStatus) -> bytes:
        shown.append(status)
        if status.version >= 1:
            signal.raise_signal(signal.SIGTERM)
        return status_to_json(status)

    monkeypatch.setattr(supervisor, "status_to_json", noted)
    trainer = cli("train", "--store", store, "--out", tmp_path / "machine")
    try:
        figures = run_session(config, run, "adapt", "scripted", False, say)
    finally:
        ended_trainer(trainer)
    assert told == [f"The store {store} is no folder: make it, or mount what it is on. " + supervisor.GOES_ON]
    gone = [status for status in shown if status.trainer.state is TrainerState.AWAY]
    assert gone
    assert any("is no folder" in alarm for alarm in gone[-1].alarms)
    assert "The exchange with the trainer elsewhere works again." in heard
    assert figures.swaps >= 1, heard
    assert "trainer" not in figures.restarts, heard
    robot, machine = read_head(Store(str(store)), ROBOT_HEAD), read_head(Store(str(store)), TRAINER_HEAD)
    assert robot is not None
    assert machine is not None
    assert len(figures.episodes) >= 2
    assert {f"session/episodes/{episode.index:06d}.zarr" for episode in figures.episodes} <= robot.items.keys()
