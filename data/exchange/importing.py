"""A stranger's data set as a session: what its columns mean, checked, and written step by step by the usual writer."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation as Turn

from data.errors import DataError
from data.exchange.exporting import Progress
from data.exchange.formats import Rotation
from data.exchange.table import OWN, PICTURES, Names, is_picture
from data.schema import OBJECTS, Array, EpisodeLayout, Outcome, Owner, Step, step_of
from data.session import Session

NS_PER_S = 1_000_000_000
MAX_POSITION_M = 3.0
ROTATION_TOLERANCE = 1e-2
OPENING_TOLERANCE = 0.1


_NUMBERS = {Rotation.COLUMNS: 6, Rotation.QUATERNION: 4, Rotation.VECTOR: 3}


@dataclass(frozen=True)
class Meaning:
    """Which columns make up state and action, put one after the other, and how their rotation is written.

    Empty: those that the format's export here writes. Each is position, rotation and, perhaps, a gripper opening.
    """

    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    rotation: Rotation = Rotation.COLUMNS


@dataclass(frozen=True)
class ForeignEpisode:
    """An episode of a data set: its steps, how it ended, and its rows block by block (n, *shape) by column."""

    steps: int
    outcome: Outcome
    rows: Iterator[dict[str, Array]]


class ForeignSet(Protocol):
    """A data set in another format. `rows` are each column's row shape and type; `period_s` may be unknown."""

    names: Names
    task: str
    period_s: float | None
    rows: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]

    @property
    def steps(self) -> int:
        """How many steps all episodes have."""

    def episodes(self) -> Iterator[ForeignEpisode]:
        """Yield the episodes."""


def import_set(
    foreign: ForeignSet,
    out: Path,
    origin: str,
    meaning: Meaning,
    task: str,
    period_s: float,
    progress: Progress,
) -> Session:
    """Write a data set as a new session; `period_s` is for sets that do not say, `task` replaces what they say.

    Where a set has no owners, a person drove if it says `intervention`, else in every step; where it has no commanded
    poses, a step's is the action before it. Raises DataError, and leaves nothing half done, if the columns are not
    there or cannot mean what is asked of them.
    """
    translation = _translation(foreign, meaning, foreign.period_s or period_s)
    if out.exists():
        raise DataError(f"{out} exists already; choose another folder for the session.")
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        configuration = {"policy_period_s": translation.period_s}
        session = Session.create(staging, task or foreign.task, configuration=configuration)
        done = 0
        for number, episode in enumerate(foreign.episodes()):
            writer = session.write_episode(translation.layout, {"imported": {"from": origin, "episode": number}})
            with contextlib.ExitStack() as broken_off:
                broken_off.callback(writer.abandon)
                commanded = None
                for block in episode.rows:
                    columns = translation.columns(block, writer.steps, commanded)
                    for step in _steps(columns, translation.layout):
                        writer.append(step)
                    commanded = columns["action.executed"][-1]
                    done += len(columns["owner"])
                    progress(done, foreign.steps, f"episode {number}")
                if writer.steps != episode.steps:
                    raise DataError(f"{origin}: episode {number} has {writer.steps} of its {episode.steps} steps.")
                broken_off.pop_all()
            writer.finish(episode.outcome)
        if not done:
            raise DataError(f"{origin} holds no step.")
        staging.rename(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Session.open(out)


@dataclass(frozen=True)
class _Translation:
    """From a set's columns to ours."""

    names: Names
    layout: EpisodeLayout
    pictures: Mapping[str, str]
    state: tuple[str, ...]
    action: tuple[str, ...]
    rotation: Rotation
    period_s: float

    def columns(self, block: Mapping[str, Array], first: int, commanded: Array | None) -> dict[str, Array]:
        """Return our columns of a block whose first step has this number; `commanded` is the action before it."""
        count = len(block[self.action[0]])
        state = _poses(block, self.state, self.rotation)
        action = _poses(block, self.action, self.rotation)
        own = {name.removeprefix(OWN): rows for name, rows in block.items() if name.startswith(OWN)}
        time_ns = own.get("time.step", np.rint((first + np.arange(count)) * self.period_s * NS_PER_S))
        drove = np.asarray(block.get(self.names.intervention, np.ones(count)), np.bool_).reshape(count)
        before = action[:1] if commanded is None else commanded[None]
        guessed: dict[str, Array] = {
            **dict.fromkeys(("time.step", "time.arm", "time.receipt", "time.command"), time_ns),
            **{f"time.camera.{camera}": time_ns for camera in self.layout.cameras},
            "observation.commanded": np.concatenate([before, action[:-1]])[:, :9],
            "action.expert": np.where(drove[:, None], action, np.nan),
            "action.learner": np.where(drove[:, None], np.nan, action),
            "owner": np.where(drove, Owner.EXPERT, Owner.LEARNER),
            "policy.version": np.full(count, -1),
            "policy.rank": np.full(count, -1),
            "alarm": np.full(count, np.nan),
        }
        known: dict[str, Array] = {
            "observation.tcp": state[:, :9],
            "observation.gripper": state[:, 9:],
            "action.executed": action,
            **{f"{PICTURES}{camera}": block[name] for camera, name in self.pictures.items()},
        }
        if self.layout.object_dim:
            known[OBJECTS] = block[self.names.objects]
        columns = {}
        for column in self.layout.columns():
            rows = known.get(column.name, own.get(column.name, guessed.get(column.name)))
            rows = np.zeros((count, *column.shape)) if rows is None else np.asarray(rows)
            columns[column.name] = rows.reshape(count, *column.shape).astype(column.dtype)
        return columns


def _translation(foreign: ForeignSet, meaning: Meaning, period_s: float) -> _Translation:
    """Decide what a set's columns become. Raises DataError if some are missing or have another shape."""
    names, rows = foreign.names, foreign.rows
    state, action = meaning.state or (names.state,), meaning.action or (names.action,)
    has = ", ".join(sorted(rows)) or "none"
    if missing := [name for name in (*state, *action) if name not in rows]:
        raise DataError(
            f"The data set has no column {', '.join(missing)}; it has {has}. Say which of them hold state and action "
            "with --state and --action, and how they write rotations with --rotation."
        )
    pictures = {}
    for name, (shape, dtype) in rows.items():
        if is_picture(shape, dtype):
            camera = re.sub(r"\W", "_", names.camera_of(name))
            pictures[camera if camera.isidentifier() else f"camera_{camera}"] = name
    cameras = {camera: rows[name][0][:2] for camera, name in pictures.items()}
    object_shape = rows[names.objects][0] if names.objects in rows else (0,)
    if len(object_shape) != 1:
        raise DataError(f"Column {names.objects} has rows of {object_shape}, but should have one axis.")
    layout = EpisodeLayout(object_shape[0], {camera: (size[0], size[1]) for camera, size in cameras.items()})
    for column in layout.columns():
        if OWN + column.name in rows and (shape := rows[OWN + column.name][0]) not in (
            column.shape,
            (*column.shape, 1),
        ):
            raise DataError(f"Column {OWN}{column.name} has rows of shape {list(shape)}, not {list(column.shape)}.")
    return _Translation(names, layout, pictures, state, action, meaning.rotation, period_s)


def _poses(block: Mapping[str, Array], names: Sequence[str], rotation: Rotation) -> Array:
    """Return poses and openings (n, 10) of columns put together. Raises DataError if they are none."""
    what = " + ".join(names)
    parts = [np.asarray(block[name], np.float64) for name in names]
    values = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    numbers = 3 + _NUMBERS[rotation]
    if values.shape[1] not in (numbers, numbers + 1):
        raise DataError(
            f"{what} has {values.shape[1]} numbers; a pose with its rotation as {rotation.value} has {numbers}, and a "
            "gripper opening may follow. Choose the columns with --state, --action and --rotation."
        )
    opening = values[:, numbers:] if values.shape[1] > numbers else np.ones((len(values), 1))
    if not np.isfinite(values).all() or np.abs(values[:, :3]).max(initial=0) > MAX_POSITION_M:
        raise DataError(f"{what} is not a pose in metres within {MAX_POSITION_M:g} m of the base.")
    if np.abs(opening - 0.5).max(initial=0) > 0.5 + OPENING_TOLERANCE:
        raise DataError(f"{what} ends with a gripper opening outside 0 (closed) to 1 (open).")
    return np.concatenate([values[:, :3], _columns_of(values[:, 3:numbers], rotation, what), opening], axis=1)


def _columns_of(values: Array, rotation: Rotation, what: str) -> Array:
    """Return rotations as the first two columns of their matrices (n, 6)."""
    if rotation is Rotation.COLUMNS:
        pairs = values.reshape(-1, 2, 3)
        if np.abs(pairs @ pairs.swapaxes(1, 2) - np.eye(2)).max(initial=0) > ROTATION_TOLERANCE:
            raise DataError(f"{what} should hold two orthonormal columns of a rotation matrix after the position.")
        return values
    if rotation is Rotation.QUATERNION and np.any(np.abs(np.linalg.norm(values, axis=1) - 1) > ROTATION_TOLERANCE):
        raise DataError(f"{what} should hold a unit quaternion x, y, z, w after the position.")
    made = Turn.from_quat(values) if rotation is Rotation.QUATERNION else Turn.from_rotvec(values)
    matrix: Array = made.as_matrix()
    return np.concatenate([matrix[:, :, 0], matrix[:, :, 1]], axis=1)


def _steps(columns: Mapping[str, Array], layout: EpisodeLayout) -> Iterator[Step]:
    for row in range(len(columns["owner"])):
        at = {name: rows[row] for name, rows in columns.items()}
        if at["owner"] > max(Owner):
            raise DataError(f"There is no owner {at['owner']}; they are {', '.join(f'{o:d} {o.name}' for o in Owner)}.")
        yield step_of(at, layout)
