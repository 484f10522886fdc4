"""What compacting makes of a session: fewer bytes, the same numbers, at every moment."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from exchanged import session_of

from data import arrays
from data.compact import compact
from data.episode import Episode, rewriting
from data.errors import DataError
from data.relabel import relabel
from data.schema import Outcome
from data.session import Session, finished_episodes
from data.stats import document, session_stats
from data.verify import State, verify


def silently(done: int, total: int, words: str) -> None:
    pass


def contents(session: Path) -> list[dict[str, np.ndarray]]:
    episodes = map(Episode.open, Session.open(session).episodes())
    return [{column.name: episode.column(column.name) for column in episode.columns} for episode in episodes]


def same(before: list[dict[str, np.ndarray]], after: list[dict[str, np.ndarray]]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(a[name].tobytes() == b[name].tobytes() for a, b in pairs for name in a)


def test_a_session_shrinks_and_holds_what_it_held(tmp_path: Path) -> None:
    session = session_of(tmp_path / "session")
    before, statistics = contents(session), document([session_stats(session)])
    done = compact(session, silently)
    assert (done.episodes, done.left) == (3, ())
    assert done.bytes_after < done.bytes_before
    assert same(before, contents(session))
    assert document([session_stats(session)]) == statistics
    assert all(finding.state is State.WHOLE for finding in verify(session))
    for path, expected in zip(finished_episodes(session), before, strict=True):
        group = zarr.open_group(path, mode="r")
        np.testing.assert_array_equal(group["action.executed"][:], expected["action.executed"])  # type: ignore[index]


def test_it_can_stop_at_any_file_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(tmp_path / "session")
    before, written = contents(session), 0
    real = arrays.write_file

    def dying(path: Path, content: bytes, scratch: Path) -> None:
        nonlocal written
        written += 1
        if written % 7 == 0:
            raise KeyboardInterrupt
        real(path, content, scratch)

    monkeypatch.setattr(arrays, "write_file", dying)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            compact(session, silently)
        assert same(before, contents(session))
    monkeypatch.undo()
    compact(session, silently)
    assert same(before, contents(session))
    assert compact(session, silently).bytes_after == compact(session, silently).bytes_before


def test_a_damaged_episode_is_left_as_it_is(tmp_path: Path) -> None:
    session = session_of(tmp_path / "session")
    broken = finished_episodes(session)[1] / "observation.images.front" / "c.0.0.0.0"
    content = bytearray(broken.read_bytes())
    content[len(content) // 2] ^= 1
    broken.write_bytes(content)
    done = compact(session, silently)
    assert len(done.left) == 1
    assert str(broken) in done.left[0]
    assert broken.read_bytes() == content
    assert [finding.state for finding in verify(session)] == [State.WHOLE, State.CORRUPT, State.WHOLE]


def test_an_episode_in_which_another_process_writes_is_left_and_told(tmp_path: Path) -> None:
    session = session_of(tmp_path / "session")
    before, first = contents(session), finished_episodes(session)[0]
    with rewriting(first):
        done = compact(session, silently)
        with pytest.raises(DataError, match="is being written by another process"):
            relabel(first, by="me", outcome=Outcome.FAILURE)
    assert done.left == (f"{first} is being written by another process; wait until that has ended.",)
    assert compact(session, silently).left == ()
    assert same(before, contents(session))
