"""A session's report: what it says follows from what was recorded, whatever of that is missing."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_comparison import a_step
from tiny_run import TINY

from data.errors import DataError
from data.events import EVENTS_FILE
from data.schema import Outcome, Owner
from data.session import Session
from drift_robot.lockstep import episode_layout
from drift_robot.run_folder import RunFolder
from drift_robot.session_report import read_session, write_session_report

LETTERS = {"L": Owner.LEARNER, "T": Owner.TRANSITION, "E": Owner.EXPERT}
SECOND = 1_000_000_000


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """An online session of a run: five episodes under two versions, its events, and the trainer's figures."""
    run = RunFolder(tmp_path)
    session = Session.create(run.session, "lift", "somebody", {}, "0.1.0")
    for letters, outcome in (
        ("LLTEEE", Outcome.SUCCESS),
        ("LLLLLL", Outcome.FAILURE),
        ("LLLLLL", Outcome.SUCCESS),
        ("LTEELT", Outcome.SUCCESS),
    ):
        writer = session.write_episode(episode_layout(TINY))
        for k, letter in enumerate(letters):
            writer.append(a_step(k, LETTERS[letter]))
        writer.finish(outcome)
    session.drop_last()
    writer = session.write_episode(episode_layout(TINY))
    writer.append(a_step(0, Owner.LEARNER))
    writer.abandon()
    cadence = {"target_hz": 10.0, "lowest_hz": 9.6, "worst_late_s": 0.02}
    write_events(
        session,
        (0.0, {"kind": "begun", "mode": "adapt", "device": "gamepad", "planned": 3, "software": "0.1.0"}),
        (1.0, {"kind": "phase", "phase": "learner"}),
        (4.0, {"kind": "handover", "to": "expert", "after_s": 0.006}),
        (4.0, {"kind": "phase", "phase": "expert"}),
        (6.0, {"kind": "phase", "phase": "saving"}),
        (6.5, {"kind": "episode", "index": 0, "outcome": "success", "save_s": 0.2, "control": cadence, "arm": None}),
        (7.0, {"kind": "swap", "version": 1, "before": 0, "seconds": 0.05}),
        (7.5, {"kind": "fault", "sentence": "The robot made a <protective> stop."}),
        (7.5, {"kind": "refused", "verb": "reset", "sentence": "The fault is still there."}),
        (8.0, {"kind": "restarted", "process": "recorder"}),
        (90.0, {"kind": "begun", "mode": "adapt", "device": "gamepad", "planned": 3, "software": "0.1.0"}),
        (91.0, {"kind": "ended", "sentence": "All 3 episodes are done.", "complete": True}),
    )
    lines = [
        {"utc": "2026-11-24T10:00:04.000+00:00", "version": 1, "offer": "published", "message": ""},
        {"utc": "2026-11-24T10:00:30.000+00:00", "version": 1, "offer": "refused", "message": "Its loss is worse."},
    ]
    figures = {"rounds": 1, "updates": 30, "losses": [0.02], "batch_seconds": 0.04, "training_seconds": 60.0}
    run.trainer_figures.write_text("".join(json.dumps({**figures, **line}) + "\n" for line in lines))
    return session


def write_events(session: Session, *events: tuple[float, dict[str, object]]) -> None:
    with (session.folder / EVENTS_FILE).open("w") as file:
        for seconds, event in events:
            utc = f"2026-11-24T10:{int(seconds) // 60:02}:{seconds % 60:06.3f}+00:00"
            file.write(json.dumps({"time_ns": int(seconds * SECOND), "utc": utc, **event}) + "\n")


def test_the_report_says_what_the_session_gave(session: Session) -> None:
    report = read_session(session.folder)
    assert [row.place for row in report.episodes] == ["session", "session", "session", "bin", "interrupted"]
    assert (report.success.episodes, report.success.rate) == (3, pytest.approx(2 / 3))
    assert report.interventions_s == pytest.approx([0.4])
    assert report.expert_steps == 3
    assert {latency.name: latency.values_ms for latency in report.latencies} == {
        "takeover": [6.0],
        "swap": [50.0],
        "save": [200.0],
    }
    assert [(row.loop, row.lowest_hz) for row in report.cadence] == [("control", 9.6)]
    assert report.phases_s == {"learner": 3.0, "expert": 2.0, "saving": 2.0}
    assert [round_.offer for round_ in report.training] == ["published", "refused"]
    assert report.restarts == {"recorder": 1}


def test_a_call_that_was_killed_has_no_ending(session: Session) -> None:
    killed, ended = read_session(session.folder).sittings
    assert (killed.ending, ended.ending) == ("", "All 3 episodes are done.")


def test_success_is_told_by_version_with_and_without_help(session: Session) -> None:
    rows = read_session(session.folder).versions
    assert sum(row.episodes for row in rows) == 3
    assert sum(row.interventions for row in rows) == 1
    assert sum(round(row.alone.rate * row.episodes) for row in rows) == 1


def test_the_page_stands_by_itself_and_shows_everything(session: Session) -> None:
    page = write_session_report(session.folder).read_text()
    assert page.startswith("<!doctype html>")
    assert not re.search(r'(?:src|href)="(?!#)', page)
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    for words in (
        "Adapting: lift",
        "It was killed: no end was recorded.",
        "1 in the bin, 1 interrupted",
        "The robot made a &lt;protective&gt; stop.",
        "the recorder process",
        "version 1 is swapped in",
        "3.0 s after it was published",
        "Its loss is worse.",
        "95 % interval",
    ):
        assert words in page, words
    document = json.loads((session.folder / "report.json").read_text())
    assert document["success"]["episodes"] == 3
    assert [path.name for path in session.folder.iterdir() if path.name.endswith(".tmp")] == []


def test_a_session_from_before_there_were_events_has_a_report_too(session: Session) -> None:
    (session.folder / EVENTS_FILE).unlink()
    RunFolder(session.folder.parent).trainer_figures.unlink()
    page = write_session_report(session.folder).read_text()
    assert "What happened beside the episodes was not recorded." in page
    assert "67%" in page


def test_an_empty_session_has_a_page_that_says_so(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", "lift")
    assert "There is nothing to draw yet." in write_session_report(session.folder).read_text()


def test_a_damaged_episode_is_named_and_the_rest_is_told(session: Session) -> None:
    (session.episodes()[1] / "zarr.json").write_text("no json")
    report = read_session(session.folder)
    assert len(report.whole) == 2
    assert "000001.zarr" in report.damaged[0]
    assert "000001.zarr" in write_session_report(session.folder).read_text()


def test_the_alarm_is_shown_where_it_was_recorded(session: Session) -> None:
    assert all(row.alarm is None for row in read_session(session.folder).episodes)
    writer = session.write_episode(episode_layout(TINY))
    for k, alarm in enumerate((0.1, float("nan"), 1.4)):
        writer.append(replace(a_step(k, Owner.LEARNER), alarm=alarm))
    writer.finish(Outcome.FAILURE, {"alarms": [2]})
    report = read_session(session.folder)
    assert (report.whole[-1].alarm, report.whole[-1].alarms) == (pytest.approx(1.4), 1)
    assert "<th>alarm level</th>" in write_session_report(session.folder).read_text()


def test_where_there_is_no_session_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"session\.json"):
        write_session_report(tmp_path)
