import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from recording import LOW_DIMENSIONAL, START_NS, WITH_PICTURES, arm_log, make_step, numbers, owners, picture, record

import data.episode
from data.episode import Episode, EpisodeWriter, is_being_written
from data.errors import DataError
from data.schema import ARM_COLUMNS, EpisodeLayout, Outcome, Owner


def check_all_columns(episode: Episode, steps: int) -> None:
    for number in (0, steps // 2, steps - 1):
        step = make_step(number, layout=episode.layout)
        for name, value in step.row().items():
            if name != "owner":
                np.testing.assert_array_equal(episode.column(name, number, number + 1)[0], value, err_msg=name)


@pytest.mark.parametrize("steps", [1, 15, 16, 17, 300])
def test_every_column_reads_back(tmp_path: Path, steps: int) -> None:
    path = record(tmp_path, steps, layout=WITH_PICTURES)
    episode = Episode.open(path)
    assert path == tmp_path / "episodes" / "000000.zarr"
    assert episode.steps == steps
    assert {column.name for column in episode.columns if column not in ARM_COLUMNS} == make_step(
        0, layout=WITH_PICTURES
    ).row().keys()
    check_all_columns(episode, steps)


def test_plain_zarr_reads_a_whole_episode(tmp_path: Path) -> None:
    path = record(tmp_path, 40, layout=WITH_PICTURES)
    group = zarr.open_group(path, mode="r")
    assert group.attrs["committed_steps"] == 40
    np.testing.assert_array_equal(group["observation.tcp"][7], numbers(7, 9))
    np.testing.assert_array_equal(group["observation.images.front"][33], picture(33, (6, 8)))
    assert group["time.step"][2] == START_NS + 200_000_000
    assert len(dict(group.members())) == len(Episode.open(path).columns)


def test_pictures_are_read_in_part(tmp_path: Path) -> None:
    path = record(tmp_path, 40, layout=WITH_PICTURES)
    (path / "observation.images.front" / "c.0.0.0.0").unlink()
    frames = Episode.open(path).column("observation.images.front", 16, 20)
    np.testing.assert_array_equal(frames[:, 0, 0, 0], [16, 17, 18, 19])


def test_outcome_and_attributes_are_kept(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 7, LOW_DIMENSIONAL, {"task": "lift", "seed": 3})
    writer.append(make_step(0))
    episode = Episode.open(writer.finish(Outcome.FAILURE, {"reason": "dropped it"}))
    assert (episode.index, episode.outcome) == (7, Outcome.FAILURE)
    assert episode.finished
    assert episode.layout == LOW_DIMENSIONAL
    assert {"task": "lift", "seed": 3, "reason": "dropped it"}.items() <= episode.attributes.items()


def test_the_arm_log_is_kept_at_its_own_rate(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    writer.append_arm_log(*arm_log(0, 3000))
    writer.append_arm_log(*arm_log(3000, 3000))
    episode = Episode.open(writer.finish(Outcome.SUCCESS))
    assert (episode.steps, episode.arm_samples) == (1, 6000)
    np.testing.assert_array_equal(episode.column("arm.time"), np.arange(6000))
    np.testing.assert_array_equal(episode.column("arm.tcp")[5000], np.full(9, 5000.0))


def test_an_arm_log_of_unequal_lengths_is_refused(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    blocks = arm_log(0, 5)
    with pytest.raises(DataError, match="different lengths"):
        writer.append_arm_log(blocks[0][:4], *blocks[1:])


def test_nothing_counts_before_it_is_committed(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    assert Episode.open(writer.folder).steps == 0
    writer.flush()
    writer.append(make_step(1))
    episode = Episode.open(writer.folder)
    assert episode.steps == 1
    assert not episode.finished
    assert episode.column("observation.tcp").shape == (1, 9)


def test_a_second_without_a_flush_makes_the_next_step_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.episode, "FLUSH_PERIOD_S", 0.05)
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    time.sleep(0.06)
    writer.append(make_step(1))
    assert Episode.open(writer.folder).steps == 2
    writer.append_arm_log(*arm_log(0, 4))
    time.sleep(0.06)
    writer.flush_if_due()
    assert Episode.open(writer.folder).arm_samples == 4


def test_an_episode_is_never_overwritten(tmp_path: Path) -> None:
    record(tmp_path, 3)
    with pytest.raises(DataError, match=r"Episode 0 of .* exists already"):
        EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    EpisodeWriter.create(tmp_path, 1, LOW_DIMENSIONAL)
    with pytest.raises(DataError, match=r"Episode 1 of .* exists already"):
        EpisodeWriter.create(tmp_path, 1, LOW_DIMENSIONAL)


def test_a_step_without_its_picture_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, WITH_PICTURES)
    with pytest.raises(DataError, match=r"lacks .*observation\.images\.front"):
        writer.append(make_step(0, layout=LOW_DIMENSIONAL))
    writer.append(make_step(0, layout=WITH_PICTURES))
    assert Episode.open(writer.finish(Outcome.SUCCESS)).steps == 1


def test_a_step_of_wrong_shape_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    with pytest.raises(DataError, match=r"observation\.objects"):
        writer.append(make_step(0, layout=EpisodeLayout(object_dim=7)))
    writer.append(make_step(5))
    episode = Episode.open(writer.finish(Outcome.SUCCESS))
    assert episode.column("observation.tcp").tolist() == [numbers(5, 9).tolist()]


def test_own_attributes_cannot_be_overridden(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="committed_steps"):
        EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL, {"committed_steps": 5})
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    with pytest.raises(DataError, match="outcome"):
        writer.finish(Outcome.SUCCESS, {"outcome": "failure"})


def test_attributes_that_are_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="JSON"):
        EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL, {"score": float("nan")})
    assert list((tmp_path / "episodes").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "episodes").touch()
    with pytest.raises(DataError, match=r"000000\.zarr\.partial cannot be created: Not a directory"):
        EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)


def test_a_disk_that_fails_is_said_and_costs_no_committed_step(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    writer.flush()
    (writer.folder / "alarm").rename(tmp_path / "elsewhere")
    writer.append(make_step(1))
    with pytest.raises(DataError, match=r"cannot be written \(No such file or directory\); 1 of 2 steps are safe"):
        writer.flush()
    (tmp_path / "elsewhere").rename(writer.folder / "alarm")
    with pytest.raises(DataError, match="could not be written before"):
        writer.append(make_step(2))
    with pytest.raises(DataError, match="could not be written before"):
        writer.finish(Outcome.SUCCESS)
    with pytest.raises(DataError, match="could not be written before"):
        writer.abandon()
    assert not is_being_written(writer.folder)
    check_all_columns(Episode.open(writer.folder), 1)


def test_an_abandoned_episode_stays_partial_with_all_its_steps(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    path = writer.abandon()
    assert path.name == "000000.zarr.partial"
    assert Episode.open(path).steps == 1
    assert not is_being_written(path)


def test_a_camera_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Camera name"):
        EpisodeLayout(8, {"../front": (4, 4)})
    path = record(tmp_path, 1)
    attributes = zarr.open_group(path, mode="r+").attrs
    attributes["layout"] = {"object_dim": 8, "cameras": {"../front": [4, 4]}}
    with pytest.raises(DataError, match="Camera name"):
        Episode.open(path)


def test_discarding_moves_to_the_bin(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 3, LOW_DIMENSIONAL)
    writer.append(make_step(0))
    path = writer.discard()
    assert path == tmp_path / "bin" / "000003.zarr"
    assert (Episode.open(path).outcome, Episode.open(path).steps) == (Outcome.DISCARDED, 1)
    assert list((tmp_path / "episodes").iterdir()) == []


def test_a_living_writer_is_told_from_a_dead_one(tmp_path: Path) -> None:
    writer = EpisodeWriter.create(tmp_path, 0, LOW_DIMENSIONAL)
    assert is_being_written(writer.folder)
    assert not is_being_written(writer.finish(Outcome.SUCCESS))


def test_an_unknown_column_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'observation.pose'.*observation\.tcp"):
        Episode.open(record(tmp_path, 1)).column("observation.pose")


def test_what_is_no_episode_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"zarr\.json is missing"):
        Episode.open(tmp_path)
    zarr.open_group(tmp_path / "other.zarr", mode="w", zarr_format=3)
    with pytest.raises(DataError, match="expected 'drift-robot episode' version 1"):
        Episode.open(tmp_path / "other.zarr")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("index", "?"), ("layout", "?"), ("layout", {"object_dim": 8, "cameras": {"front": 4}})),
        *(("committed_steps", "?"), ("committed_steps", -1), ("committed_arm_samples", None), ("outcome", "good")),
    ],
)
def test_damaged_attributes_are_refused_in_a_sentence(tmp_path: Path, key: str, value: object) -> None:
    path = record(tmp_path, 1)
    zarr.open_group(path, mode="r+").attrs[key] = value
    with pytest.raises(DataError, match="damaged attributes"):
        Episode.open(path)


def test_labels_read_back(tmp_path: Path) -> None:
    episode = Episode.open(record(tmp_path, owners("LLTEEL")))
    assert episode.column("owner").tolist() == [0, 0, 1, 2, 2, 0]
    assert episode.column("owner").dtype == np.uint8
    assert Owner(episode.column("owner")[2]) is Owner.TRANSITION


def test_a_short_episode_is_written_and_read_quickly(tmp_path: Path) -> None:
    steps = [make_step(number) for number in range(100)]
    write_s, read_s = [], []
    for index in range(5):
        began = time.process_time()
        writer = EpisodeWriter.create(tmp_path, index, LOW_DIMENSIONAL)
        for step in steps:
            writer.append(step)
        path = writer.finish(Outcome.SUCCESS)
        written = time.process_time()
        episode = Episode.open(path)
        for column in episode.columns:
            episode.column(column.name)
        write_s.append(written - began)
        read_s.append(time.process_time() - written)
    assert min(write_s) < 0.15
    assert min(read_s) < 0.03
