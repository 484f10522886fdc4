"""Sessions to the formats of others and back, compared step by step; and data sets that strangers made."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from exchanged import EPISODES, picture, pose, session_of
from numcodecs import Blosc
from PIL import Image
from scipy.spatial.transform import Rotation as Turn

from data.episode import Episode
from data.errors import DataError
from data.exchange.exporting import export
from data.exchange.formats import Format, Rotation, exporter, open_set
from data.exchange.importing import Meaning, import_set
from data.exchange.table import PICTURES
from data.relabel import relabel
from data.schema import EpisodeLayout, Outcome, Owner
from data.session import Session
from data.verify import verify

FORMATS = pytest.mark.parametrize("kind", list(Format), ids=lambda kind: kind.value)
LOSSY = 4.0
"""What H.264 may change a picture by, on average over its pixels, of 255."""


def silently(done: int, total: int, words: str) -> None:
    pass


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = session_of(tmp_path_factory.mktemp("recorded") / "session")
    clumsy = Session.open(folder).episodes()[0]
    relabel(clumsy, "a test", steps=(3, 5), owner=Owner.TRANSITION)
    return folder


def place(kind: Format, folder: Path) -> Path:
    return folder / ("set.hdf5" if kind is Format.ROBOMIMIC else "set")


def bring_in(kind: Format, path: Path, out: Path, meaning: Meaning = Meaning(), period_s: float = 0.1) -> list[Episode]:
    session = import_set(open_set(kind, path), out, str(path), meaning, "", period_s, silently)
    return [Episode.open(episode) for episode in session.episodes()]


@FORMATS
def test_what_goes_out_comes_back_step_by_step(kind: Format, recorded: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    export(recorded, exporter(kind), place(kind, tmp_path), lambda done, total, words: told.append((done, total)))
    back = bring_in(kind, place(kind, tmp_path), tmp_path / "back")
    originals = [Episode.open(path) for path in Session.open(recorded).episodes()]
    assert told[-1] == (56, 56)
    assert [episode.outcome for episode in back] == [outcome for _, outcome in EPISODES]
    assert all(finding.good for finding in verify(tmp_path / "back"))
    for before, after in zip(originals, back, strict=True):
        assert (after.steps, after.layout) == (before.steps, before.layout)
        for column in before.layout.columns():
            was, now = before.column(column.name), after.column(column.name)
            if kind is Format.LEROBOT and column.name.startswith(PICTURES):
                each = np.abs(was[:, None].astype(np.float32) - now[None]).mean(axis=(2, 3, 4))
                assert each.diagonal().max() < LOSSY
                np.testing.assert_array_equal(each.argmin(1), np.arange(before.steps))
            else:
                np.testing.assert_array_equal(now, was, err_msg=column.name)
    assert back[0].column("owner")[3:6].tolist() == [Owner.TRANSITION] * 3


@FORMATS
def test_a_larger_session_needs_no_more_memory(kind: Format, tmp_path: Path) -> None:
    layout = EpisodeLayout(object_dim=0, cameras={"front": (96, 128)})
    peaks = []
    for steps in (64, 256):
        session = session_of(tmp_path / f"session{steps}", (("E" * steps, Outcome.SUCCESS),), layout)
        (folder := tmp_path / str(steps)).mkdir()
        tracemalloc.start()
        export(session, exporter(kind), place(kind, folder), silently)
        bring_in(kind, place(kind, folder), folder / "back")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < (256 - 64) * 96 * 128 * 3 / 4


@FORMATS
def test_an_export_never_overwrites_and_leaves_nothing_half_done(kind: Format, recorded: Path, tmp_path: Path) -> None:
    path = place(kind, tmp_path)
    path.mkdir()
    with pytest.raises(DataError, match="exists already"):
        export(recorded, exporter(kind), path, silently)
    path.rmdir()

    def interrupt(done: int, total: int, words: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(recorded, exporter(kind), path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_format_without_its_library_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['h5py'] = None\n"
        "from data.exchange.formats import Format, exporter\n"
        "exporter(Format.ROBOMIMIC)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert "pip install 'drift-robot[exchange]'" in told


def test_lerobot_gets_statistics_of_what_a_policy_sees(recorded: Path, tmp_path: Path) -> None:
    export(recorded, exporter(Format.LEROBOT), tmp_path / "set", silently)
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    episodes = [Episode.open(path) for path in Session.open(recorded).episodes()]
    actions = np.concatenate([episode.column("action.executed") for episode in episodes]).astype(np.float64)
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0), atol=1e-7)
    np.testing.assert_allclose(stats["action"]["std"], actions.std(0), atol=1e-6)
    front = np.concatenate([episode.column(f"{PICTURES}front") for episode in episodes]) / 255
    np.testing.assert_allclose(np.ravel(stats["observation.images.front"]["mean"]), front.mean((0, 1, 2)), atol=1e-7)
    assert stats["action"]["count"] == [56]


def poses(count: int) -> np.ndarray:
    return np.stack([pose(number) for number in range(count)])


def turns(count: int) -> Turn:
    columns = poses(count)[:, 3:].reshape(-1, 2, 3)
    third = np.cross(columns[:, 0], columns[:, 1])
    return Turn.from_matrix(np.stack([columns[:, 0], columns[:, 1], third], axis=2))


def test_a_recording_of_diffusion_policy_on_a_ur5_is_read(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "set", mode="w", zarr_format=2)
    data, meta = root.create_group("data"), root.create_group("meta")
    vectors = np.concatenate([poses(12)[:, :3], turns(12).as_rotvec()], axis=1)
    images = np.stack([picture(number, (32, 40)) for number in range(12)])
    for name, values in {"robot_eef_pose": vectors, "action": vectors, "camera_0": images}.items():
        chunks = (5, *values.shape[1:]) if name != "camera_0" else (1, 16, 40, 3)
        array = data.create_array(name, shape=values.shape, chunks=chunks, dtype=values.dtype, compressors=Blosc("lz4"))
        array[:] = values
    meta.create_array("episode_ends", shape=(2,), dtype="int64")[:] = [7, 12]
    meaning = Meaning(("robot_eef_pose",), ("action",), Rotation.VECTOR)
    first, second = bring_in(Format.DIFFUSION_POLICY, tmp_path / "set", tmp_path / "back", meaning, period_s=0.05)
    assert (first.steps, second.steps) == (7, 5)
    np.testing.assert_allclose(second.column("observation.tcp"), poses(12)[7:], atol=1e-6)
    np.testing.assert_array_equal(first.column(f"{PICTURES}camera_0"), images[:7])
    assert np.diff(first.column("time.step")).tolist() == [50_000_000] * 6
    assert set(first.column("owner")) == {Owner.EXPERT}
    np.testing.assert_allclose(first.column("observation.commanded")[1:], poses(12)[:6], atol=1e-6)
    assert first.outcome is Outcome.UNKNOWN


def test_a_robomimic_file_with_quaternions_in_a_column_of_their_own_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "set.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["obs/robot0_eef_pos"] = poses(9)[:, :3].astype(np.float64)
        demo["obs/robot0_eef_quat"] = turns(9).as_quat()
        demo["actions"] = np.concatenate([poses(9)[:, :3], turns(9).as_quat()], axis=1)
        demo["states"] = np.zeros((9, 40))
    meaning = Meaning(("obs/robot0_eef_pos", "obs/robot0_eef_quat"), ("actions",), Rotation.QUATERNION)
    (episode,) = bring_in(Format.ROBOMIMIC, tmp_path / "set.hdf5", tmp_path / "back", meaning)
    np.testing.assert_allclose(episode.column("action.executed")[:, :9], poses(9), atol=1e-6)


def lerobot_set(folder: Path, **changes: object) -> Path:
    """Write by hand what LeRobot writes with pictures in the table, an episode of 4 steps; some of it changed."""
    content = []
    for number in range(4):
        Image.fromarray(picture(number, (20, 24))).save(folder / "p.png")
        content.append({"bytes": (folder / "p.png").read_bytes(), "path": "../../etc/passwd"})
    numbers = pa.array([float(x) for x in np.append(poses(4), np.ones((4, 1)), axis=1).ravel()], pa.float32())
    columns = {
        "observation.state": pa.FixedSizeListArray.from_arrays(numbers, 10),
        "action": pa.FixedSizeListArray.from_arrays(numbers, 10),
        "observation.images.top": pa.array(content),
        "intervention": pa.array([False, True, True, False]),
        "episode_index": pa.array([0] * 4),
    }
    features = {
        "observation.state": {"dtype": "float32", "shape": [10]},
        "action": {"dtype": "float32", "shape": [10]},
        "observation.images.top": {"dtype": "image", "shape": [20, 24, 3], "names": ["height", "width", "channel"]},
        "intervention": {"dtype": "bool", "shape": [1]},
        "episode_index": {"dtype": "int64", "shape": [1]},
    }
    info = {
        "codebase_version": "v3.0",
        "fps": 20,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features | changes.pop("features", {}),  # type: ignore[operator]
    } | changes.pop("info", {})  # type: ignore[operator]
    row = {"episode_index": 0, "length": 4, "tasks": ["stack"], "data/chunk_index": 0, "data/file_index": 0} | changes
    for name in ("data/chunk-000", "meta/episodes/chunk-000"):
        (folder / "set" / name).mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "set/data/chunk-000/file-000.parquet")
    pq.write_table(pa.Table.from_pylist([row]), folder / "set/meta/episodes/chunk-000/file-000.parquet")
    (folder / "set/meta/info.json").write_text(json.dumps(info))
    return folder / "set"


def test_a_lerobot_set_with_pictures_in_its_tables_is_read(tmp_path: Path) -> None:
    (episode,) = bring_in(Format.LEROBOT, lerobot_set(tmp_path), tmp_path / "back")
    np.testing.assert_array_equal(episode.column(f"{PICTURES}top")[3], picture(3, (20, 24)))
    assert episode.column("owner").tolist() == [Owner.LEARNER, Owner.EXPERT, Owner.EXPERT, Owner.LEARNER]
    assert np.isnan(episode.column("action.expert")[0]).all()
    assert Session.open(tmp_path / "back").info.task == "stack"


STRANGE_LEROBOT = {
    "another version": ({"info": {"codebase_version": "v2.1"}}, "convert_dataset_v21_to_v30"),
    "paths that lead away": ({"info": {"data_path": "../../{chunk_index}{file_index}"}}, "elsewhere"),
    "a format string": ({"info": {"data_path": "{chunk_index.__class__}"}}, "elsewhere"),
    "a camera outside": (
        {"features": {"../../../x": {"dtype": "video", "shape": [4, 4, 3]}}, "videos/../../../x/chunk_index": 0,
         "videos/../../../x/file_index": 0, "videos/../../../x/from_timestamp": 0.0},
        "no name that a file",
    ),
    "objects": ({"features": {"x": {"dtype": "object", "shape": [1]}}}, "only numbers and pictures"),
    "absurd pictures": ({"features": {"x": {"dtype": "video", "shape": [10**6, 10**6, 3]}}}, "MiB each"),
    "an absurd length": ({"length": 10**12}, "impossible length"),
    "a missing file": ({"data/file_index": 7}, "is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), STRANGE_LEROBOT.values(), ids=STRANGE_LEROBOT.keys())
def test_of_a_strange_lerobot_set_nothing_is_read(changes: dict[str, object], told: str, tmp_path: Path) -> None:
    path = lerobot_set(tmp_path, **changes)
    with pytest.raises(DataError, match=told):
        bring_in(Format.LEROBOT, path, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def zarr_set(recorded: Path, folder: Path) -> Path:
    export(recorded, exporter(Format.DIFFUSION_POLICY), folder / "set", silently)
    return folder / "set"


STRANGE_ZARR = {
    "objects, which run code": ({"dtype": "|O", "filters": [{"id": "pickle"}]}, "only plain numbers"),
    "a filter": ({"filters": [{"id": "pickle"}]}, "filters"),
    "a codec that runs code": ({"compressor": {"id": "pickle"}}, "only blosc, zstd, lz4"),
    "absurd rows": ({"shape": [56, 10**15]}, "MiB each"),
    "absurd chunks": ({"chunks": [10**12, 10]}, "chunks of shape"),
    "more than its files": ({"shape": [99_000_000, 10]}, "claims to hold"),
}


@pytest.mark.parametrize(("changes", "told"), STRANGE_ZARR.values(), ids=STRANGE_ZARR.keys())
def test_of_a_strange_replay_buffer_nothing_is_read(
    changes: dict[str, object], told: str, recorded: Path, tmp_path: Path
) -> None:
    array = zarr_set(recorded, tmp_path) / "data/action/.zarray"
    array.write_text(json.dumps(json.loads(array.read_text()) | changes))
    with pytest.raises(DataError, match=told):
        bring_in(Format.DIFFUSION_POLICY, tmp_path / "set", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["data/action", "data/action/.zarray", "data/action/0.0", "meta/episode_ends"])
def test_a_replay_buffer_with_a_link_in_it_is_refused(name: str, recorded: Path, tmp_path: Path) -> None:
    linked = zarr_set(recorded, tmp_path) / name
    linked.rename(tmp_path / "outside")
    linked.symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match="link"):
        bring_in(Format.DIFFUSION_POLICY, tmp_path / "set", tmp_path / "back")


def hdf5(path: Path) -> h5py.File:
    file = h5py.File(path, "w")
    file["data/demo_0/obs/state"] = np.append(poses(4), np.ones((4, 1)), axis=1)
    return file


def external(file: h5py.File) -> None:
    file["data/demo_0/actions"] = h5py.ExternalLink("/etc/passwd", "/")


def soft(file: h5py.File) -> None:
    file["data/demo_0/actions"] = h5py.SoftLink("/data/demo_0/obs/state")


def stored_elsewhere(file: h5py.File) -> None:
    file.create_dataset("data/demo_0/actions", (4, 10), "u1", external=[("/etc/passwd", 0, 40)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 10), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 10))
    file.create_virtual_dataset("data/demo_0/actions", layout)


def words(file: h5py.File) -> None:
    file["data/demo_0/actions"] = ["a", "b", "c", "d"]


def absurd(file: h5py.File) -> None:
    file.create_dataset("data/demo_0/actions", (4, 10**12), "f4", chunks=(1, 10))


def endless(file: h5py.File) -> None:
    del file["data/demo_0/obs/state"]
    for name in ("actions", "obs/state"):
        file.create_dataset(f"data/demo_0/{name}", (90_000_000, 10), "f4", chunks=(10, 10))


STRANGE_HDF5 = {
    external: "link", soft: "link", stored_elsewhere: "another file", virtual: "another file",
    words: "only plain numbers", absurd: "MiB each", endless: "claims to hold",
}  # fmt: skip


@pytest.mark.parametrize("change", STRANGE_HDF5, ids=lambda change: change.__name__)
def test_of_a_strange_hdf5_file_nothing_is_read(change: object, tmp_path: Path) -> None:
    with hdf5(tmp_path / "set.hdf5") as file:
        change(file)  # type: ignore[operator]
    with pytest.raises(DataError, match=STRANGE_HDF5[change]):  # type: ignore[index]
        bring_in(Format.ROBOMIMIC, tmp_path / "set.hdf5", tmp_path / "back")


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (np.zeros((4, 10)), "orthonormal"),
        (np.append(1000 * poses(4), np.ones((4, 1)), axis=1), "metres"),
        (np.append(poses(4), -np.ones((4, 1)), axis=1), "opening"),
        (np.zeros((4, 7)), "has 7 numbers"),
    ],
    ids=["no rotation", "millimetres", "another gripper", "another length"],
)
def test_numbers_that_cannot_be_poses_are_refused(state: np.ndarray, told: str, tmp_path: Path) -> None:
    with hdf5(tmp_path / "set.hdf5") as file:
        file["data/demo_0/actions"] = state
    with pytest.raises(DataError, match=told):
        bring_in(Format.ROBOMIMIC, tmp_path / "set.hdf5", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_set_with_other_names_is_told_which_it_has(tmp_path: Path) -> None:
    with hdf5(tmp_path / "set.hdf5"):
        pass
    with pytest.raises(DataError, match=r"no column actions; it has obs/state\. Say which .* --state and --action"):
        bring_in(Format.ROBOMIMIC, tmp_path / "set.hdf5", tmp_path / "back")
