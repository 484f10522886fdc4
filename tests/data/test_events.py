"""The events of a session: on disk line by line, whatever is killed when."""

from pathlib import Path

import pytest

from data.events import EVENTS_FILE, EventLog, read_events


def kinds(folder: Path) -> list[str]:
    return [event["kind"] for event in read_events(folder)]


def test_events_are_read_back_in_order_with_their_time(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.note("begun", mode="adapt")
        log.note("said", sentence="Grüße")
    begun, said = read_events(tmp_path)
    assert (begun["kind"], begun["mode"], said["sentence"]) == ("begun", "adapt", "Grüße")
    assert begun["time_ns"] <= said["time_ns"]
    assert begun["utc"].endswith("+00:00")


def test_a_session_without_events_has_none(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []


def test_a_line_that_a_kill_has_cut_off_is_left_out_and_the_next_one_stands_by_itself(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.note("begun")
    with (tmp_path / EVENTS_FILE).open("a") as file:
        file.write('{"kind": "sai')
    with EventLog(tmp_path) as log:
        log.note("ended")
    assert kinds(tmp_path) == ["begun", "ended"]


def test_a_log_that_cannot_be_written_never_stops_who_writes_it(tmp_path: Path) -> None:
    with EventLog(tmp_path / "no such folder") as log:
        log.note("begun")
    assert read_events(tmp_path / "no such folder") == []


def test_an_event_that_is_no_plain_json_is_refused_at_once(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        with pytest.raises(ValueError, match="not JSON compliant"):
            log.note("cadence", hz=float("nan"))
        with pytest.raises(TypeError):
            log.note("said", where=tmp_path)
