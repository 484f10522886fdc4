"""The lines of a session's list, and when they are read again."""

from pathlib import Path

from recording import owners, record

from data.listing import LISTING, lines
from data.relabel import relabel
from data.schema import Outcome, Owner
from data.session import Session


def test_a_line_is_kept_until_its_episode_changes(tmp_path: Path) -> None:
    Session.create(tmp_path, "lift")
    session = Session.open(tmp_path)
    path = record(tmp_path, owners("LLLLTTEEEE"), index=0)
    (first,) = lines(session).values()
    assert (first.state, first.expert_steps, first.takeovers, first.bar) == ("success", 4, 1, "0000112222")
    (path / "owner" / "c.0").rename(tmp_path / "away")
    assert list(lines(session).values()) == [first], "a column was read although nothing had changed"
    (tmp_path / "away").rename(path / "owner" / "c.0")
    relabel(path, "a test", outcome=Outcome.FAILURE)
    relabel(path, "a test", steps=(6, 7), owner=Owner.TRANSITION)
    (changed,) = lines(session).values()
    assert (changed.state, changed.expert_steps, changed.bar) == ("failure", 2, "0000111122")
    session.discard(0)
    assert list(lines(session)) == ["bin/000000.zarr"]


def test_kept_lines_that_are_damaged_or_cannot_be_written_do_no_harm(tmp_path: Path) -> None:
    Session.create(tmp_path, "lift")
    record(tmp_path, 5, index=0)
    expected = lines(Session.open(tmp_path))
    (tmp_path / LISTING).write_text('{"episodes/000000.zarr": {"stamp": 3}}')
    assert lines(Session.open(tmp_path)) == expected
    (tmp_path / LISTING).unlink()
    (tmp_path / LISTING).mkdir()
    assert lines(Session.open(tmp_path)) == expected
