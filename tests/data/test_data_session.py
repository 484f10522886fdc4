import json
from pathlib import Path

import pytest
from recording import LOW_DIMENSIONAL, make_step, record

from data.episode import Episode
from data.errors import DataError
from data.schema import Outcome
from data.session import Session, finished_episodes


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session.create(tmp_path / "s", "lift", "Ada", {"policy": {"rank": 64}}, "0.1.0")


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_session_opens_as_it_was_created(session: Session) -> None:
    info = Session.open(session.folder).info
    assert info == session.info
    assert (info.task, info.operator, info.configuration) == ("lift", "Ada", {"policy": {"rank": 64}})


def test_a_session_is_never_overwritten(session: Session) -> None:
    with pytest.raises(DataError, match="holds a session already"):
        Session.create(session.folder, "lift")


def test_a_folder_without_a_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"session\.json is missing"):
        Session.open(tmp_path)


@pytest.mark.parametrize("change", [{"format": "other"}, {"format_version": 2}, {"surprise": 1}])
def test_a_foreign_session_file_is_refused(session: Session, change: dict[str, object]) -> None:
    path = session.folder / "session.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"session\.json"):
        Session.open(session.folder)


def test_a_configuration_that_is_no_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="JSON"):
        Session.create(tmp_path / "s", "lift", configuration={"x": object()})
    assert not (tmp_path / "s").exists()


def test_finished_episodes_are_listed_and_partial_ones_are_not(session: Session) -> None:
    record(session.folder, 2, index=10)
    record(session.folder, 2, index=9)
    writer = session.write_episode(LOW_DIMENSIONAL)
    writer.append(make_step(0))
    (session.folder / "episodes" / ".000012.new").mkdir()
    (session.folder / "episodes" / "notes.txt").touch()
    assert names(finished_episodes(session.folder)) == ["000009.zarr", "000010.zarr"]
    assert names(session.partial_episodes()) == ["000011.zarr.partial"]
    writer.finish(Outcome.SUCCESS)
    assert names(session.episodes()) == ["000009.zarr", "000010.zarr", "000011.zarr"]


def test_a_folder_that_does_not_exist_yet_has_no_episodes(tmp_path: Path) -> None:
    assert finished_episodes(tmp_path / "later") == []


def test_no_number_is_ever_used_again(session: Session) -> None:
    assert session.next_index() == 0
    record(session.folder, 1, index=0)
    record(session.folder, 1, index=1)
    session.drop_last()
    assert session.next_index() == 2
    session.write_episode(LOW_DIMENSIONAL).discard()
    assert session.next_index() == 3
    (session.folder / "episodes" / ".000005.new").mkdir()
    assert session.next_index() == 6


def test_the_last_episode_can_be_dropped_and_restored(session: Session) -> None:
    for index in range(3):
        record(session.folder, 2, index=index)
    assert session.drop_last() == session.folder / "bin" / "000002.zarr"
    assert names(session.episodes()) == ["000000.zarr", "000001.zarr"]
    assert names(session.binned_episodes()) == ["000002.zarr"]
    restored = session.restore(2)
    assert Episode.open(restored).outcome is Outcome.SUCCESS
    assert names(session.episodes()) == ["000000.zarr", "000001.zarr", "000002.zarr"]
    assert session.binned_episodes() == []


def test_an_episode_discarded_while_recorded_comes_back_with_unknown_outcome(session: Session) -> None:
    writer = session.write_episode(LOW_DIMENSIONAL)
    writer.append(make_step(0))
    writer.discard()
    episode = Episode.open(session.restore(0))
    assert (episode.outcome, episode.steps) == (Outcome.UNKNOWN, 1)


def test_any_episode_can_be_discarded_but_not_one_being_written(session: Session) -> None:
    record(session.folder, 1, index=0)
    record(session.folder, 1, index=1)
    assert session.discard(0) == session.folder / "bin" / "000000.zarr"
    writer = session.write_episode(LOW_DIMENSIONAL)
    with pytest.raises(DataError, match="is being written"):
        session.discard(2)
    writer.finish(Outcome.SUCCESS)
    assert names(session.episodes()) == ["000001.zarr", "000002.zarr"]


def test_a_restored_episode_never_meets_another_of_its_number(session: Session) -> None:
    session.write_episode(LOW_DIMENSIONAL).abandon()
    session.discard(0)
    record(session.folder, 1, index=0)
    with pytest.raises(DataError, match=r"000000\.zarr exists; discard it before"):
        session.restore(0)


def test_what_is_not_there_is_said_in_a_sentence(session: Session) -> None:
    with pytest.raises(DataError, match="no finished episode to drop"):
        session.drop_last()
    with pytest.raises(DataError, match="no episode 4"):
        session.discard(4)
    with pytest.raises(DataError, match=r"bin of session .* has no episode 4"):
        session.restore(4)
