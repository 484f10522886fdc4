"""An episode in the Rerun viewer: pictures, poses in 3-D, joints, gripper, who drove, versions, proposals, alarm.

The only module that imports rerun (https://rerun.io), an extra of the project. Nothing is computed here that is not
recorded.
"""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.colours import OWNER_COLOURS
from data.episode import EPISODES, Episode
from data.errors import DataError
from data.schema import OBJECTS, Array, Owner
from data.session import is_session
from data.stats import turns
from drift_robot.errors import UserError
from hardware.arms import rotations
from hardware.arms.controller import Authority
from hardware.clock import NS_PER_S

try:
    import rerun as rr
    import rerun.blueprint as rrb
except ImportError as error:
    raise UserError("Viewing needs the package rerun-sdk: run  pip install 'drift-robot[review]'") from error

JPEG_QUALITY = 90
POSITION_AND_TURNS = 8
"""Features of a tracked object, of which the first three are its position (`observation.object_features`)."""
GREY, GREEN = "#8c959f", "#2da44e"
JOINTS = {
    "base": "#1f6feb",
    "shoulder": "#2da44e",
    "elbow": "#d4a72c",
    "wrist 1": "#d1570a",
    "wrist 2": "#cf222e",
    "wrist 3": "#8250df",
}
ACTIONS = {"executed": GREY, "learner": OWNER_COLOURS[Owner.LEARNER], "expert": OWNER_COLOURS[Owner.EXPERT]}


def view(path: Path, out: Path | None) -> None:
    """Open an episode in the viewer, or write it to an .rrd file.

    Raises UserError where there is no display for the viewer or the file cannot be written, DataError for a damaged
    episode.
    """
    if is_session(path):
        raise DataError(f"{path} is a session; name one of its episodes, such as {path / EPISODES / '000000.zarr'}.")
    episode = Episode.open(path)
    if not episode.steps:
        raise DataError(f"{path} holds no step, so there is nothing to view.")
    if out is None and sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise UserError("There is no display here: write a file with --out FILE.rrd, and view it where there is one.")
    rr.set_strict_mode(True)  # or the library would only warn of what it cannot log
    recording = rr.RecordingStream("drift-robot")
    if out is None:
        recording.spawn(default_blueprint=_layout(episode))
    else:
        _make_writable(out)
        recording.save(out, default_blueprint=_layout(episode))
    _log(recording, episode)
    recording.flush()
    recording.disconnect()


def _make_writable(out: Path) -> None:
    """Find out what stands against a file before the library meets it. Raises UserError."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(b"")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}.") from error


class _Timed:
    """Sends columns to a recording against two time lines: the step, and the seconds since the first one."""

    def __init__(self, recording: rr.RecordingStream, time_ns: NDArray[np.int64]) -> None:
        self._recording = recording
        self._step_ns = time_ns

    def send(self, entity: str, columns: rr.ComponentColumnList, time_ns: Array | None = None) -> None:
        """Send one row a step, or one for each of `time_ns` (n,)."""
        times = self._step_ns if time_ns is None else time_ns
        step = np.searchsorted(self._step_ns, times, side="right") - 1 if time_ns is not None else np.arange(len(times))
        seconds = rr.TimeColumn("time", duration=(times - self._step_ns[0]) / NS_PER_S)
        self._recording.send_columns(entity, [rr.TimeColumn("step", sequence=step), seconds], [*columns])

    def scalars(self, entity: str, values: Array, time_ns: Array | None = None) -> None:
        """Send curves (n,) or (n, k)."""
        self.send(entity, rr.Scalars.columns(scalars=values.astype(np.float64)), time_ns)

    def states(self, entity: str, words: list[str], time_ns: Array | None = None) -> None:
        """Send a lane of states, a row where it changes."""
        changed = [k for k in range(len(words)) if k == 0 or words[k] != words[k - 1]]
        times = (self._step_ns if time_ns is None else time_ns)[changed]
        self.send(entity, rr.StateChange.columns(state=[words[k] for k in changed]), times)


def _log(recording: rr.RecordingStream, episode: Episode) -> None:
    column = episode.column
    time_ns, owner = column("time.step"), column("owner")
    timed = _Timed(recording, time_ns)
    recording.send_recording_name(f"episode {episode.index:06d}, {episode.outcome.value}")
    recording.log("episode", rr.TextDocument(_description(episode), media_type=rr.MediaType.MARKDOWN), static=True)

    _log_cell(recording, timed, episode)
    for name in episode.layout.cameras:
        pictures = [_jpeg(column(f"observation.images.{name}", k, k + 1)[0]) for k in range(episode.steps)]
        images = rr.EncodedImage.columns(blob=pictures, media_type=["image/jpeg"] * len(pictures))
        timed.send(f"cameras/{name}", images, column(f"time.camera.{name}"))

    recording.log("joints", rr.SeriesLines(names=[*JOINTS], colors=_rgba(*JOINTS.values())), static=True)
    timed.scalars("joints", column("observation.joints"), column("time.arm"))
    timed.scalars("gripper/measured", column("observation.gripper")[:, 0], column("time.arm"))
    recording.log("gripper/measured", rr.SeriesLines(names="measured", colors=_rgba(GREEN)), static=True)
    for kind, colour in ACTIONS.items():
        recording.log(f"gripper/{kind}", rr.SeriesLines(names=kind, colors=_rgba(colour)), static=True)
        timed.scalars(f"gripper/{kind}", column(f"action.{kind}")[:, 9])
    timed.scalars("force", np.linalg.norm(column("observation.wrench")[:, :3], axis=1), column("time.arm"))
    alarm = column("alarm")
    if np.isfinite(alarm).any():
        timed.scalars("alarm", alarm)

    lanes = rr.StateConfiguration(
        values=[kind.name.lower() for kind in OWNER_COLOURS], colors=_rgba(*OWNER_COLOURS.values())
    )
    recording.log("gate/owner", lanes, static=True)
    timed.states("gate/owner", [Owner(kind).name.lower() for kind in owner])
    timed.states("gate/recovered", ["recovered" if mark else "" for mark in column("recovered")])
    versions = column("policy.version").tolist()
    timed.states("gate/version", [f"version {number}" if number >= 0 else "" for number in versions])
    if episode.arm_samples:
        arm_ns = column("arm.time")
        recording.log("gate/authority", lanes, static=True)
        timed.states("gate/authority", [Authority(kind).name.lower() for kind in column("arm.authority")], arm_ns)
        lag_m = np.linalg.norm(column("arm.tcp")[:, :3] - column("arm.commanded")[:, :3], axis=1)
        timed.scalars("lag", 1e3 * lag_m, arm_ns)
    events = list(_events(episode))
    told_ns = time_ns[[step for step, _ in events]]
    timed.send("events", rr.TextLog.columns(text=[text for _, text in events]), told_ns)


def _log_cell(recording: rr.RecordingStream, timed: _Timed, episode: Episode) -> None:
    """Log everything that has a place: measured and commanded poses, the paths, proposals, tracked objects."""
    measured, commanded = episode.column("observation.tcp"), episode.column("observation.commanded")
    executed, owner = episode.column("action.executed"), episode.column("owner")
    recording.log("cell", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    for entity, length in (("cell/base", 0.1), ("cell/tcp", 0.06), ("cell/commanded", 0.04)):
        recording.log(entity, rr.TransformAxes3D(length), static=True)
    recording.log("cell/base", rr.Transform3D(translation=(0.0, 0.0, 0.0)), static=True)
    timed.send("cell/tcp", _transforms(measured), episode.column("time.arm"))
    timed.send("cell/commanded", _transforms(commanded))

    drives = list(turns(owner))
    strips = [measured[max(start - 1, 0) : stop, :3] for start, stop, _ in drives]
    colours = _rgba(*(OWNER_COLOURS[kind] for _, _, kind in drives))
    recording.log("cell/path/measured", rr.LineStrips3D(strips, colors=colours, radii=0.002), static=True)
    command = rr.LineStrips3D([executed[:, :3]], colors=_rgba(GREY), radii=0.0008)
    recording.log("cell/path/executed", command, static=True)
    for name, colour in ACTIONS.items():
        actions = episode.column(f"action.{name}")
        told = np.isfinite(actions).all(axis=1)
        arrows = rr.Arrows3D.columns(origins=commanded[told, :3], vectors=actions[told, :3] - commanded[told, :3])
        recording.log(f"cell/{name}", rr.Arrows3D.from_fields(colors=_rgba(colour), radii=0.0015), static=True)
        timed.send(f"cell/{name}", arrows.partition(told.astype(int)))
    if episode.layout.object_dim:
        features = episode.column(OBJECTS).reshape(episode.steps, -1, POSITION_AND_TURNS)
        points = rr.Points3D.columns(positions=features[:, :, :3].reshape(-1, 3))
        recording.log("cell/objects", rr.Points3D.from_fields(colors=_rgba(GREEN), radii=0.01), static=True)
        timed.send("cell/objects", points.partition([features.shape[1]] * episode.steps))


def _events(episode: Episode) -> Iterator[tuple[int, str]]:
    """Yield (step, words) of everything that happened."""
    owner, recovered = episode.column("owner"), episode.column("recovered")
    versions = episode.column("policy.version")
    yield 0, f"{Owner(owner[0]).name.lower()} drives"
    for k in range(1, episode.steps):
        before, now = Owner(owner[k - 1]), Owner(owner[k])
        if before is Owner.LEARNER and now is not Owner.LEARNER:
            yield k, "takeover"
        elif before is not Owner.LEARNER and now is Owner.LEARNER:
            yield k, "hand-back"
        if now is Owner.EXPERT and before is not Owner.EXPERT:
            yield k, "the expert's labels begin"
        if recovered[k] and not recovered[k - 1]:
            yield k, "marked as recovered"
        if versions[k] != versions[k - 1]:
            yield k, f"version {versions[k]} acts"
    yield episode.steps - 1, f"the episode ends: {episode.outcome.value}"


def _description(episode: Episode) -> str:
    """Return an episode's attributes, and what was relabelled, as Markdown."""
    lines = [f"# Episode {episode.index:06d}: {episode.outcome.value}", f"`{episode.path}`", ""]
    lines += [f"- relabelled {change}" for change in episode.relabellings]
    lines += [f"- {key}: {value}" for key, value in episode.attributes.items() if key not in ("relabelled", "layout")]
    return "\n".join(lines)


def _layout(episode: Episode) -> rrb.Blueprint:
    """Return how the viewer is laid out: the cell and who drove, the cameras, the curves."""
    curves = [
        rrb.TimeSeriesView(origin="joints", name="joints, rad"),
        rrb.TimeSeriesView(origin="gripper", name="gripper opening"),
        rrb.TimeSeriesView(origin="force", name="force, N"),
    ]
    if episode.arm_samples:
        curves.append(rrb.TimeSeriesView(origin="lag", name="command ahead of arm, mm"))
    if np.isfinite(episode.column("alarm")).any():
        curves.append(rrb.TimeSeriesView(origin="alarm", name="alarm"))
    cell = rrb.Vertical(
        rrb.Spatial3DView(origin="cell", name="cell"),
        rrb.StateTimelineView(origin="gate", name="who drove"),
        rrb.Tabs(rrb.TextLogView(origin="events", name="events"), rrb.TextDocumentView(origin="episode")),
        row_shares=[4, 2, 2],
    )
    cameras = [rrb.Spatial2DView(origin=f"cameras/{name}", name=name) for name in episode.layout.cameras]
    middle = [rrb.Vertical(*cameras, name="cameras")] if cameras else []
    return rrb.Blueprint(
        rrb.Horizontal(cell, *middle, rrb.Vertical(*curves)),
        rrb.TimePanel(timeline="time", state="collapsed"),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
    )


def _transforms(poses: Array) -> rr.ComponentColumnList:
    """Return poses (n, 9) as columns."""
    matrices = rotations.from_6d(poses[:, 3:9].astype(np.float64))
    return rr.Transform3D.columns(translation=poses[:, :3], mat3x3=matrices)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _rgba(*colours: str) -> NDArray[np.uint32]:
    return np.array([int(colour[1:] + "ff", 16) for colour in colours], np.uint32)
