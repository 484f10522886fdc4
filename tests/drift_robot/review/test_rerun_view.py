"""Episodes as the Rerun viewer gets them: written to a file, and read back with Rerun's own reader."""

import importlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rerun as rr
from PIL import Image
from rerun.chunk import RrdReader

from data.episode import EpisodeWriter
from data.errors import DataError
from data.relabel import relabel
from data.schema import EpisodeLayout, Outcome, Owner, Step
from drift_robot.errors import UserError
from drift_robot.review.rerun_view import view
from hardware.arms import rotations
from hardware.poses import Pose, pose_vector

LAYOUT = EpisodeLayout(object_dim=16, cameras={"front": (24, 32), "wrist": (16, 16)})
OWNERS = "LLLTTEEEEL"
STEP_NS = 100_000_000


def pose(k: int) -> Pose:
    return Pose(np.array([0.4 + 0.01 * k, 0.1, 0.3]), rotations.exp(np.array([0.0, 0.0, 0.1 * k])))


def step(k: int, alarm: bool) -> Step:
    executed = np.append(pose_vector(pose(k + 1)), 0.5)
    return Step(
        time_ns=k * STEP_NS,
        tcp=pose_vector(pose(k)),
        commanded=pose_vector(pose(k)),
        gripper=np.array([0.9]),
        joints=np.full(6, 0.1 * k),
        joint_velocities=np.zeros(6),
        wrench=np.array([3.0, 4.0, 0, 0, 0, 0]),
        objects=np.arange(16.0),
        arm_capture_ns=k * STEP_NS,
        receipt_ns=k * STEP_NS,
        command_ns=k * STEP_NS,
        action_executed=executed,
        owner={"L": Owner.LEARNER, "T": Owner.TRANSITION, "E": Owner.EXPERT}[OWNERS[k]],
        images={name: np.full((*size, 3), 20 * k, np.uint8) for name, size in LAYOUT.cameras.items()},
        image_capture_ns=dict.fromkeys(LAYOUT.cameras, k * STEP_NS - 30000000),
        action_learner=executed if k != 4 else np.full(10, np.nan),
        action_expert=executed if OWNERS[k] == "E" else np.full(10, np.nan),
        recovered=k >= 7,
        version=3 if k < 6 else 4,
        alarm=0.1 * k if alarm else float("nan"),
    )


def record(session: Path, alarm: bool = True, arm_log: bool = True) -> Path:
    writer = EpisodeWriter.create(session, 7, LAYOUT, {"task": "lift"})
    for k in range(len(OWNERS)):
        writer.append(step(k, alarm))
    if arm_log:
        tcp = np.stack([pose_vector(pose(0))] * 50)
        six = np.zeros((50, 6))
        authority = np.repeat([1, 2, 1], [20, 20, 10]).astype(np.uint8)
        writer.append_arm_log(np.arange(50) * 20_000_000, six, tcp, tcp + 0.001, six, authority)
    return writer.finish(Outcome.SUCCESS)


class Viewed:
    """A written recording, read back."""

    def __init__(self, path: Path) -> None:
        reader = RrdReader(path)
        self.blueprints = len(reader.blueprints())
        self.rows: dict[str, dict[str, list[Any]]] = {}
        for chunk in reader.stream():
            table = chunk.to_record_batch().to_pydict()
            self.rows.setdefault(chunk.entity_path, {}).update(table)

    def of(self, entity: str, component: str) -> list[Any]:
        return self.rows[entity][component]


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Viewed:
    folder = tmp_path_factory.mktemp("view")
    episode = record(folder / "session")
    relabel(episode, "Ada", "clumsy", steps=(8, 8), owner=Owner.TRANSITION)
    view(episode, folder / "new folder" / "episode.rrd")
    return Viewed(folder / "new folder" / "episode.rrd")


def test_poses_are_where_the_arm_was_and_when(viewed: Viewed) -> None:
    positions = np.array(viewed.of("/cell/tcp", "Transform3D:translation"))[:, 0]
    np.testing.assert_allclose(positions, [pose(k).position for k in range(len(OWNERS))], atol=1e-6)
    matrices = np.array(viewed.of("/cell/tcp", "Transform3D:mat3x3"))[:, 0]
    np.testing.assert_allclose(matrices.reshape(-1, 3, 3).transpose(0, 2, 1)[5], pose(5).rotation, atol=1e-6)
    assert viewed.of("/cell/tcp", "step") == list(range(len(OWNERS)))
    seconds = [time.total_seconds() for time in viewed.of("/cell/tcp", "time")]
    np.testing.assert_allclose(seconds, np.arange(len(OWNERS)) / 10, atol=1e-6)


def test_what_was_proposed_is_an_arrow_and_where_nothing_was_there_is_none(viewed: Viewed) -> None:
    learner = viewed.of("/cell/learner", "Arrows3D:vectors")
    assert [len(row) for row in learner] == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(learner[0], [[0.01, 0.0, 0.0]], atol=1e-6)
    assert [len(row) for row in viewed.of("/cell/expert", "Arrows3D:vectors")] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    assert [len(row) for row in viewed.of("/cell/executed", "Arrows3D:vectors")] == [1] * len(OWNERS)


def test_pictures_are_shown_at_their_capture(viewed: Viewed) -> None:
    for name, (height, width) in LAYOUT.cameras.items():
        blobs = viewed.of(f"/cameras/{name}", "EncodedImage:blob")
        pictures = [np.asarray(Image.open(io.BytesIO(bytes(blob[0])))) for blob in blobs]
        assert pictures[0].shape == (height, width, 3)
        np.testing.assert_allclose([picture.mean() for picture in pictures], 20 * np.arange(10), atol=2)
        assert viewed.of(f"/cameras/{name}", "time")[1].total_seconds() == pytest.approx(0.07)


def test_curves_hold_what_was_recorded(viewed: Viewed) -> None:
    np.testing.assert_allclose(np.array(viewed.of("/joints", "Scalars:scalars"))[:, 2], 0.1 * np.arange(10), atol=1e-6)
    np.testing.assert_allclose(viewed.of("/force", "Scalars:scalars"), [[5.0]] * 10)
    np.testing.assert_allclose(viewed.of("/alarm", "Scalars:scalars"), 0.1 * np.arange(10)[:, None], atol=1e-6)
    np.testing.assert_allclose(viewed.of("/gripper/executed", "Scalars:scalars"), [[0.5]] * 10)
    np.testing.assert_allclose(viewed.of("/lag", "Scalars:scalars"), [[1.7320508]] * 50, rtol=1e-3)


def test_who_drove_is_told_as_it_is_labelled_now(viewed: Viewed) -> None:
    owner = [state[0] for state in viewed.of("/gate/owner", "StateChange:state")]
    assert owner == ["learner", "transition", "expert", "transition", "learner"]
    assert viewed.of("/gate/owner", "step") == [0, 3, 5, 8, 9]
    authority = [state[0] for state in viewed.of("/gate/authority", "StateChange:state")]
    assert authority == ["learner", "expert", "learner"]
    assert [state[0] for state in viewed.of("/gate/version", "StateChange:state")] == ["version 3", "version 4"]


def test_events_are_told_in_words(viewed: Viewed) -> None:
    told = [text[0] for text in viewed.of("/events", "TextLog:text")]
    assert told == [
        "learner drives",
        "takeover",
        "the expert's labels begin",
        "version 4 acts",
        "marked as recovered",
        "hand-back",
        "the episode ends: success",
    ]


def test_attributes_and_corrections_are_beside_it(viewed: Viewed) -> None:
    text = viewed.of("/episode", "TextDocument:text")[0][0]
    assert "Episode 000007: success" in text
    assert "task: lift" in text
    assert "steps 8 to 8 transition, by Ada" in text
    assert viewed.blueprints == 1


def test_without_alarm_values_and_arm_log_there_are_no_empty_panels(tmp_path: Path) -> None:
    view(record(tmp_path / "session", alarm=False, arm_log=False), tmp_path / "a.rrd")
    shown = Viewed(tmp_path / "a.rrd").rows
    assert not {"/alarm", "/lag", "/gate/authority"} & shown.keys()


def test_reruns_own_check_finds_the_file_in_order(tmp_path: Path) -> None:
    view(record(tmp_path / "session"), tmp_path / "a.rrd")
    command = [sys.executable, "-m", "rerun", "rrd", "verify", str(tmp_path / "a.rrd")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0
    assert "1 file verified without error" in checked.stdout + checked.stderr


def test_what_cannot_be_viewed_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = record(tmp_path / "session")
    with pytest.raises(DataError, match="name one of its episodes"):
        view(tmp_path / "session", tmp_path / "a.rrd")
    with pytest.raises(DataError, match="no step"):
        view(EpisodeWriter.create(tmp_path / "session", 8, LAYOUT).folder, tmp_path / "a.rrd")
    with pytest.raises(UserError, match=r"a\.rrd cannot be written"):
        view(episode, episode / "zarr.json" / "a.rrd")
    monkeypatch.setattr(sys, "platform", "linux")
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match=r"no display here: write a file with --out FILE\.rrd"):
        view(episode, None)


def test_with_a_display_the_viewer_is_opened_and_gets_the_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[dict[str, Any]] = []
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr(rr.RecordingStream, "spawn", lambda self, **options: opened.append(options))
    view(record(tmp_path / "session"), None)
    assert opened[0]["default_blueprint"] is not None


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.delitem(sys.modules, "drift_robot.review.rerun_view")
    with pytest.raises(UserError, match=r"pip install 'drift-robot\[review\]'"):
        importlib.import_module("drift_robot.review.rerun_view")
