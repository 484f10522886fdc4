"""Whole sessions with their real processes, a tiny policy made on the spot, and a scripted operator."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from threading import Timer

import pytest
from person import window_that_is_closed
from realtime_bench import PATIENCE_S, configuration, eventually
from tiny_run import ENDINGS, end, group_is_empty, in_shared_memory, left_in_shared_memory, second_version, silently

from data.episode import Episode
from data.events import read_events
from data.files import write_json
from data.session import finished_episodes
from data.verify import State, verify
from drift_robot import trainer
from drift_robot.alarm import HELP, RAISED, AlarmConfig
from drift_robot.bootstrap import bootstrap
from drift_robot.collect import collect
from drift_robot.compare import open_comparison
from drift_robot.comparison_report import report_on
from drift_robot.config import Picture, config_to_dict
from drift_robot.errors import UserError
from drift_robot.realtime import supervisor
from drift_robot.realtime.supervisor import run_session
from drift_robot.run_folder import RunFolder
from drift_robot.status import SessionStatus, status_to_json
from hardware.rings import PREFIX, SHARED_MEMORY
from policies.checkpoint import load_policy, save

pytestmark = pytest.mark.realtime


def send(name: str, what: signal.Signals = signal.SIGKILL) -> None:
    for process in active_children():
        if process.name == name and process.pid is not None:
            os.kill(process.pid, what)


@pytest.mark.parametrize(
    "what", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)], ids=["dead", "hung"]
)
def test_a_session_outlives_each_of_its_processes(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, what: signal.Signals
) -> None:
    if what is signal.SIGSTOP:
        monkeypatch.setattr(trainer, "SILENT_S", 15.0)
    victims = ["teleop", "trainer", "recorder", "control", "arm"]  # the trainer has said its first word by then
    wanted, before, heard = len(victims) + 1, in_shared_memory(), []

    def say(sentence: str) -> None:
        heard.append(sentence)
        if sentence.startswith("Episode") and victims:
            Timer(1.5, send, [victims.pop(0), what]).start()

    figures = run_session(configuration(wanted), run, "adapt", "scripted", False, say)
    assert figures.complete, heard
    assert figures.restarts == {"trainer": 1, "teleop": 1, "recorder": 1, "control": 1, "arm": 1}
    for name in ("trainer", "teleop", "recorder", "control", "arm"):
        assert any(f"{name} " in sentence and "has died" in sentence for sentence in heard)
        hung = any(f"{name} " in sentence and "no sign of life" in sentence for sentence in heard)
        assert hung == (what is signal.SIGSTOP)
    assert [episode.success for episode in figures.episodes] == [True] * wanted
    findings = verify(run.session)
    assert sum(finding.state is State.WHOLE for finding in findings) == wanted
    # A recorder that is killed while it creates an episode leaves a scratch folder, which is named.
    assert {finding.state for finding in findings} <= {State.WHOLE, State.PARTIAL, State.LEFTOVER}
    assert active_children() == []
    assert not left_in_shared_memory(before)


@pytest.mark.parametrize(
    "what", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)], ids=["dead", "hung"]
)
def test_a_camera_process_that_dies_holds_the_arm_until_it_is_back_and_the_operator_resumes(
    tmp_path: Path, what: signal.Signals
) -> None:
    config = configuration(2)
    config = replace(config, cell=replace(config.cell, cameras={"front": Picture(24, 32)}), camera_timeout_s=3.0)
    run, heard = RunFolder(tmp_path), []
    collect(config, run, silently)
    bootstrap(config, run, silently)
    victims = ["camera front"]

    def say(sentence: str) -> None:
        heard.append(sentence)
        if sentence.startswith("Episode") and victims:
            Timer(1.5, send, [victims.pop(0), what]).start()

    figures = run_session(config, run, "adapt", "scripted", False, say)
    assert figures.complete, heard
    assert figures.restarts == {"camera front": 1}
    assert any("camera front " in sentence and "has died" in sentence for sentence in heard)
    assert "fault" in [event["phase"] for event in read_events(run.session) if event["kind"] == "phase"]
    assert "The fault is cleared; resume or reset goes on." in heard
    assert [finding.state for finding in verify(run.session)] == [State.WHOLE] * 2


def test_a_session_outlives_a_trainer_that_died_too_often_and_after_it_its_arm_process(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MAX_RESTARTS", 1)
    victims, heard = ["trainer", "trainer", "arm"], []

    def say(sentence: str) -> None:
        heard.append(sentence)
        if sentence.startswith("Episode") and victims:
            Timer(1.5, send, [victims.pop(0)]).start()

    figures = run_session(configuration(4), run, "adapt", "scripted", False, say)
    assert figures.complete, heard
    assert "The trainer has died too often; the session goes on with the acting policy." in heard
    assert figures.restarts == {"trainer": 1, "arm": 1}


def test_swaps_are_counted_although_the_control_process_dies_in_between(run: RunFolder) -> None:
    heard: list[str] = []

    def say(sentence: str) -> None:
        heard.append(sentence)
        if "acts from here on" in sentence and not any("control process has died" in said for said in heard):
            Timer(0.5, send, ["control"]).start()

    figures = run_session(configuration(5), run, "adapt", "scripted", False, say)
    assert figures.restarts.get("control"), heard
    assert figures.swaps == sum("acts from here on" in sentence for sentence in heard) >= 1
    assert figures.swaps == sum(event["kind"] == "swap" for event in read_events(run.session))


def test_versions_are_swapped_between_episodes_while_the_session_goes_on(run: RunFolder) -> None:
    figures = run_session(configuration(5), run, "adapt", "scripted", False, lambda _: None)
    versions = [episode.version for episode in figures.episodes]
    assert figures.swaps >= 1
    assert versions == sorted(versions)
    assert versions[-1] > versions[0] == 0


def test_a_learner_that_is_unsure_asks_for_help_and_the_operator_takes_over(run: RunFolder) -> None:
    policy, manifest = load_policy(run.versions().path(0))
    assert manifest.alarm is not None
    shutil.rmtree(run.versions().path(0))
    touchy = replace(manifest.alarm, threshold=1e-9)
    save(run.versions().path(0), replace(manifest, alarm=touchy), policy.state_dict())
    config = replace(configuration(1), alarm=AlarmConfig(asks_for_help=True), gating="none")
    heard: list[str] = []
    figures = run_session(config, run, "adapt", "scripted", False, heard.append)
    assert figures.complete, heard
    assert RAISED in heard
    assert HELP in heard
    assert figures.episodes[0].expert_labels > 0
    (path,) = finished_episodes(run.session)
    raised = Episode.open(path).attributes["alarms"]
    assert len(raised) >= 1
    assert all(Episode.open(path).column("alarm")[raised] > 1)


def test_the_death_of_the_cell_ends_the_session(run: RunFolder) -> None:
    def say(sentence: str) -> None:
        if sentence.startswith("Episode 1"):
            Timer(1.5, send, ["cell"]).start()

    figures = run_session(configuration(5), run, "adapt", "scripted", False, say)
    assert not figures.complete
    assert figures.ending == "The simulated cell has died, so the session ends."
    assert active_children() == []


def test_evaluating_records_rollouts_beside_a_window(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    figures = run_session(configuration(1), run, "evaluate", "scripted", True, lambda _: None)
    assert figures.complete
    assert len(figures.episodes) == 1
    assert all(finding.good for finding in verify(run.evaluation(0)))


def test_versions_are_compared_on_the_same_start_and_nothing_tells_which_one_acts(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_version(run)
    comparison = open_comparison(configuration(1), run, ("0", "1"), 1)
    heard: list[str] = []
    shown: list[SessionStatus] = []

    def noted(status: SessionStatus) -> bytes:
        shown.append(status)
        return status_to_json(status)

    monkeypatch.setattr(supervisor, "status_to_json", noted)
    figures = run_session(configuration(1), run, "evaluate", "scripted", False, heard.append, comparison)
    assert figures.complete, heard
    assert not any("version" in sentence.lower() for sentence in heard)
    assert {(status.blind, status.version, status.rank, status.swapped_ns) for status in shown} == {
        (True, -1, -1, None)
    }
    recorded = comparison.recorded()
    assert recorded.keys() == {(0, "A"), (0, "B")}
    assert [int(recorded[0, side].column("policy.version").max()) for side in ("A", "B")] == [0, 1]  # type: ignore[index]
    report = report_on(comparison, "lift")
    assert report.result.counts.pairs == 1
    events = [event["kind"] for event in read_events(comparison.folder)]
    assert events[0] == "begun"
    assert events[-1] == "ended"
    assert {"phase", "episode", "handover"} <= set(events)
    assert "swap" not in events


def test_the_session_outlives_a_window_that_is_killed_and_then_closed(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    monkeypatch.setattr(supervisor, "run_operator_window", window_that_is_closed)
    heard: list[str] = []
    closed = "The operator window was closed; the session goes on without it."

    def say(sentence: str) -> None:
        if sentence.startswith("Episode"):
            if closed in heard:
                os.kill(os.getpid(), signal.SIGTERM)
            elif "Episode" not in " ".join(heard):
                send("window")
        heard.append(sentence)

    figures = run_session(configuration(99), run, "adapt", "scripted", True, say)
    died = [sentence for sentence in heard if "window process has died" in sentence]
    assert died == ["The window process has died; it is started again, and the session goes on."], heard
    assert any(sentence.startswith("Episode") for sentence in heard[heard.index(closed) :]), heard
    assert all(episode.success for episode in figures.episodes)


def test_without_a_display_the_session_ends_at_once_and_says_so(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(variable, raising=False)
    figures = run_session(configuration(1), run, "adapt", "keyboard", True, lambda _: None)
    assert figures.failed
    assert "There is no display for the operator window" in figures.ending
    assert figures.restarts == {}
    assert active_children() == []


def test_a_damaged_policy_ends_the_session_at_once_and_is_named(run: RunFolder) -> None:
    (run.versions().path(0) / "policy.safetensors").write_bytes(b"damaged")
    heard: list[str] = []
    figures = run_session(configuration(1), run, "adapt", "scripted", False, heard.append)
    assert figures.failed
    assert "policy.safetensors" in figures.ending
    assert figures.restarts == {}
    assert heard.count(figures.ending) == 1


def test_the_keyboard_needs_the_window(run: RunFolder) -> None:
    with pytest.raises(UserError, match="window"):
        run_session(configuration(1), run, "adapt", "keyboard", False, lambda _: None)


SESSION = """
import sys
from pathlib import Path
from drift_robot.config import config_from_dict
from drift_robot.realtime.supervisor import run_session
from data.files import read_json
from drift_robot.run_folder import RunFolder
if __name__ == "__main__":
    config = config_from_dict(read_json(Path(sys.argv[1])), "test")
    run_session(config, RunFolder(Path(sys.argv[2])), "adapt", "scripted", False, lambda s: print(s, flush=True))
"""


def start_session(run: RunFolder, folder: Path) -> subprocess.Popen[str]:
    """Start a session of its own process group, and let an episode begin."""
    write_json(folder / "config.json", config_to_dict(configuration(9)))
    (folder / "session.py").write_text(SESSION)
    arguments = [sys.executable, str(folder / "session.py"), str(folder / "config.json"), str(run.path)]
    process = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.PIPE, text=True)
    assert eventually(lambda: any((run.session / "episodes").glob("*.partial")))
    time.sleep(1.5)
    return process


@ENDINGS
def test_ending_or_killing_the_supervisor_leaves_nothing_behind(
    run: RunFolder, tmp_path: Path, order: signal.Signals
) -> None:
    before = in_shared_memory()
    process = start_session(run, tmp_path)
    end(process, order)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert eventually(lambda: group_is_empty(process.pid))
    assert not left_in_shared_memory(before)
    assert any(finding.state is State.PARTIAL and "was interrupted" in finding.text for finding in verify(run.session))
    if order is not signal.SIGKILL:
        assert f"The session was ended by {order.name}." in said
        assert "was interrupted and is not used" in said


def test_after_all_its_processes_were_killed_at_once_the_next_session_goes_on(run: RunFolder, tmp_path: Path) -> None:
    heard: list[str] = []
    process = start_session(run, tmp_path)
    rings = set(re.findall(rf"{SHARED_MEMORY}/({PREFIX}\S+)", Path(f"/proc/{process.pid}/maps").read_text()))
    assert rings
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert eventually(lambda: group_is_empty(process.pid))
    assert any(finding.state is State.PARTIAL and "was interrupted" in finding.text for finding in verify(run.session))
    done = len(finished_episodes(run.session))
    figures = run_session(configuration(done + 1), run, "adapt", "scripted", False, heard.append)
    assert figures.complete, heard
    assert any("was interrupted and is not used" in sentence for sentence in heard)
    assert not rings & in_shared_memory()
