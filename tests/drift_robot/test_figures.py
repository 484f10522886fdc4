"""Training's figures reach JSON lines and sinks, and a sink that fails or is slow changes nothing."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_run import TINY, silently

from drift_robot import figures
from drift_robot.bootstrap import bootstrap
from drift_robot.errors import UserError
from drift_robot.figures import LoggingConfig, TrainingFigures, require_sinks
from drift_robot.run_folder import RunFolder


def test_a_bootstrap_tells_tensorboard_what_it_writes_as_json_lines(demonstrated: RunFolder, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = RunFolder(tmp_path)
    run.demonstrations.symlink_to(demonstrated.demonstrations)
    config = replace(TINY, bootstrap=replace(TINY.bootstrap, epochs=2), logging=LoggingConfig(tensorboard=True))
    bootstrap(config, run, silently)
    lines = [json.loads(line) for line in run.bootstrap_figures.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    board = events.EventAccumulator(str(tmp_path / "tensorboard/bootstrap"))
    board.Reload()
    assert [event.step for event in board.Scalars("bootstrap/loss")] == [1, 2]
    assert [event.value for event in board.Scalars("bootstrap/loss")] == pytest.approx([x["loss"] for x in lines])


def test_weights_and_biases_is_told_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    lines = TrainingFigures(tmp_path / "trainer.jsonl", "adapt", LoggingConfig(wandb_project="drift"))
    lines.note(1, {"loss": 0.5})
    lines.close()
    assert lines.fault is None
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_a_sink_that_fails_is_told_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(figures, "_sinks", broken)
    lines = TrainingFigures(tmp_path / "trainer.jsonl", "adapt", LoggingConfig(tensorboard=True))
    for step in range(3):
        lines.note(step, {"step": step})
    lines.close()
    assert "no route" in (lines.fault or "")
    assert len((tmp_path / "trainer.jsonl").read_text().splitlines()) == 3


def test_a_sink_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    monkeypatch.setattr(figures, "_sinks", lambda *_: ([lambda step, numbers: hung.wait()], []))
    monkeypatch.setattr(figures, "WAITING", 5)
    lines = TrainingFigures(tmp_path / "trainer.jsonl", "adapt", LoggingConfig(tensorboard=True))
    for step in range(20):
        lines.note(step, {"step": step})
    lines.close()
    hung.set()
    assert "wait for the sinks" in (lines.fault or "")
    assert len((tmp_path / "trainer.jsonl").read_text().splitlines()) == 20


def test_a_sink_that_is_not_installed_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package wandb.*drift-robot\[logging\]"):
        require_sinks(LoggingConfig(wandb_project="drift"))
    require_sinks(LoggingConfig())
