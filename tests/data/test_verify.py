import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import (
    LOW_DIMENSIONAL,
    PERIOD_NS,
    START_NS,
    WITH_PICTURES,
    arm_log,
    check_steps,
    make_step,
    owners,
    record,
)

from data.episode import Episode, EpisodeWriter
from data.errors import DataError
from data.repair import repair
from data.schema import EpisodeLayout, Outcome
from data.session import Session, finished_episodes
from data.verify import State, verify


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return Session.create(tmp_path / "s", "lift").folder


def states(path: Path) -> list[State]:
    return [finding.state for finding in verify(path)]


def interrupted(session: Path, steps: int, index: int = 0, layout: EpisodeLayout = LOW_DIMENSIONAL) -> Path:
    writer = EpisodeWriter.create(session, index, layout)
    for number in range(steps):
        writer.append(make_step(number, layout=layout))
    return writer.abandon()


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_whole_episodes_are_whole(session: Path) -> None:
    record(session, 300, index=0)
    record(session, 20, index=1, layout=WITH_PICTURES)
    assert [(finding.path.name, finding.state) for finding in verify(session)] == [
        ("000000.zarr", State.WHOLE),
        ("000001.zarr", State.WHOLE),
    ]
    assert repair(session) == []


def test_an_episode_being_written_is_left_alone(session: Path) -> None:
    writer = EpisodeWriter.create(session, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    assert states(session) == [State.WRITING]
    assert repair(session) == []
    writer.finish(Outcome.SUCCESS)
    assert states(session) == [State.WHOLE]


def test_an_interrupted_episode_is_named_and_repaired(session: Path) -> None:
    path = interrupted(session, 40, layout=WITH_PICTURES)
    (finding,) = verify(session)
    assert (finding.path, finding.state) == (path, State.PARTIAL)
    assert "good steps: 40" in finding.text
    assert repair(session) == ["000000.zarr.partial: kept 40 of 40 steps as 000000.zarr."]
    assert states(session) == [State.WHOLE]
    episode = Episode.open(finished_episodes(session)[0])
    assert (episode.steps, episode.outcome) == (40, Outcome.UNKNOWN)
    np.testing.assert_array_equal(episode.column("observation.images.front")[:, 0, 0, 0], np.arange(40))
    assert zarr.open_group(episode.path, mode="r")["observation.tcp"].shape == (40, 9)
    assert (session / "bin" / "000000.zarr.partial").is_dir()


def test_an_episode_interrupted_before_its_first_flush_goes_to_the_bin(session: Path) -> None:
    interrupted(session, 0)
    assert states(session) == [State.PARTIAL]
    assert repair(session) == ["000000.zarr.partial: moved to the bin; no step of it is good."]
    assert verify(session) == []


def test_a_corrupt_chunk_is_named_and_the_steps_before_it_are_kept(session: Path) -> None:
    path = record(session, owners("LE" * 300))
    damage(path / "action.executed" / "c.1.0")
    (finding,) = verify(session)
    assert finding.state is State.CORRUPT
    assert str(path / "action.executed" / "c.1.0") in finding.text
    assert repair(path) == ["000000.zarr: kept 256 of 600 steps as 000000.zarr."]
    episode = Episode.open(path)
    assert (episode.steps, episode.outcome) == (256, Outcome.UNKNOWN)
    assert episode.attributes["repaired"]["lost_steps"] == 344
    assert states(session) == [State.WHOLE]
    assert Episode.open(session / "bin" / "000000.zarr").steps == 600


def test_a_missing_chunk_is_named(session: Path) -> None:
    path = record(session, 40, layout=WITH_PICTURES)
    (path / "observation.images.wrist" / "c.1.0.0.0").unlink()
    (finding,) = verify(path)
    assert finding.state is State.MISSING
    assert "observation.images.wrist/c.1.0.0.0 is missing" in finding.text
    repair(session)
    assert Episode.open(path).steps == 16


def test_a_missing_column_leaves_nothing_good(session: Path) -> None:
    path = record(session, 40)
    shutil.rmtree(path / "owner")
    assert states(path) == [State.MISSING]
    assert "no step of it is good" in repair(session)[0]
    assert finished_episodes(session) == []


def test_a_column_shorter_than_committed_is_named(session: Path) -> None:
    path = record(session, 40)
    metadata = path / "alarm" / "zarr.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"shape": [30]}))
    (finding,) = verify(path)
    assert finding.state is State.MISSING
    assert "holds 30 of 40 committed rows" in finding.text
    repair(path)
    assert Episode.open(path).steps == 30


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("observation.tcp", 270, np.nan),
        ("action.executed", 3, np.inf),
        ("owner", 299, 7),
        ("time.step", 256, 0),
        ("time.step", 10, START_NS + 9 * PERIOD_NS),
        ("time.step", 255, 2**40),
    ],
)
def test_impossible_values_are_named_with_their_row(session: Path, column: str, row: int, value: float) -> None:
    path = record(session, 300)
    zarr.open_group(path, mode="r+")[column][row] = value
    first_bad = row + 1 if (column, row) == ("time.step", 255) else row
    (finding,) = verify(path)
    assert finding.state is State.CORRUPT
    assert f"{column} has an impossible value in row {first_bad}" in finding.text
    repair(path)
    assert Episode.open(path).steps == first_bad


def test_a_damaged_arm_log_costs_no_step(session: Path) -> None:
    writer = EpisodeWriter.create(session, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    writer.append_arm_log(*arm_log(0, 5000))
    path = writer.finish(Outcome.SUCCESS)
    damage(path / "arm.wrench" / "c.1.0")
    assert states(path) == [State.CORRUPT]
    repair(path)
    episode = Episode.open(path)
    assert (episode.steps, episode.arm_samples, episode.outcome) == (1, 4096, Outcome.SUCCESS)
    np.testing.assert_array_equal(episode.column("arm.time"), np.arange(4096))


def test_unreadable_attributes_send_an_episode_to_the_bin(session: Path) -> None:
    path = record(session, 5)
    (path / "zarr.json").write_bytes(b"\x00" * 30)
    assert states(session) == [State.CORRUPT]
    assert "moved to the bin" in repair(session)[0]
    assert (session / "bin" / "000000.zarr" / "owner").is_dir()


def test_leftovers_of_killed_processes_are_named_and_removed(session: Path) -> None:
    episodes = session / "episodes"
    (episodes / ".000004.new").mkdir()
    (episodes / ".000003.zarr.partial.tmp").touch()
    writer = EpisodeWriter.create(session, 5, LOW_DIMENSIONAL)
    (episodes / ".000005.zarr.partial.tmp").touch()
    assert states(session) == [State.LEFTOVER, State.LEFTOVER, State.WRITING]
    assert len(repair(session)) == 2
    assert {entry.name for entry in episodes.iterdir()} == {".000005.zarr.partial.tmp", writer.folder.name}


def test_a_session_without_its_file_is_said(session: Path) -> None:
    (session / "session.json").unlink()
    record(session, 1)
    assert states(session) == [State.MISSING, State.WHOLE]


def test_a_path_without_anything_is_said(tmp_path: Path) -> None:
    assert states(tmp_path / "nowhere") == [State.MISSING]
    assert states(tmp_path) == [State.MISSING]


def test_a_run_is_all_of_its_sessions(session: Path) -> None:
    record(session, 0)
    interrupted(session, 30, index=1)
    assert states(session.parent) == [State.WHOLE, State.PARTIAL]
    assert len(repair(session.parent)) == 1
    assert states(session.parent) == [State.WHOLE, State.WHOLE]


@pytest.mark.parametrize("name", ["something", "000001.zarr"])
def test_what_is_no_recording_is_never_moved_by_a_repair(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "precious").touch()
    with pytest.raises(DataError, match="holds no session; name a session's folder or a run's"):
        repair(folder)
    assert (folder / "precious").exists()


def test_a_repair_interrupted_before_its_end_is_finished_by_the_next(session: Path) -> None:
    path = interrupted(session, 30)
    half_done = session / "episodes" / ".000000.new"
    half_done.mkdir()
    (half_done / "owner").mkdir()
    repair(path)
    assert states(session) == [State.WHOLE]
    assert Episode.open(finished_episodes(session)[0]).steps == 30


def test_an_interrupted_episode_beside_a_whole_one_of_its_number_goes_to_the_bin(session: Path) -> None:
    record(session, 5, index=0)
    interrupted(session, 30, index=1).rename(session / "episodes" / "000000.zarr.partial")
    assert repair(session) == ["000000.zarr.partial: moved to the bin; 000000.zarr exists beside it."]
    assert states(session) == [State.WHOLE]
    assert Episode.open(finished_episodes(session)[0]).steps == 5


@settings(max_examples=60)
@given(
    damages=st.lists(
        st.tuples(st.integers(0, 10**6), st.sampled_from(["flip", "cut", "remove", "empty"]), st.integers(0, 10**6)),
        min_size=1,
        max_size=3,
    )
)
def test_whatever_is_damaged_repair_leaves_only_good_steps(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[int, str, int]]
) -> None:
    session = Session.create(tmp_path_factory.mktemp("s") / "s", "lift").folder
    path = record(session, 20, layout=EpisodeLayout(8, {"front": (2, 2)}))
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for which, how, where in damages:
        file = files[which % len(files)]
        if not file.exists() or not (content := bytearray(file.read_bytes())):
            continue
        if how == "flip":
            content[where % len(content)] ^= 1 << where % 8
            file.write_bytes(content)
        elif how == "remove":
            file.unlink()
        else:
            file.write_bytes(content[: where % len(content) if how == "cut" else 0])

    repair(session)
    assert all(finding.good for finding in verify(session))
    for path in finished_episodes(session):
        episode = Episode.open(path)
        assert episode.steps <= 20
        check_steps(episode, episode.steps)
