"""What an episode holds: the columns on disk, and one step as the recorder hands it over.

Times are int nanoseconds of `time.monotonic_ns`. Poses are nine numbers (position in metres, then the first two columns
of the rotation matrix), actions ten (a target pose and a gripper opening, 0 closed and 1 open), both `base_from_tcp`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError

Array = NDArray[Any]

MAX_OBJECT_DIM, MAX_PICTURE = 8192, 4096
STEP_CHUNK = 256
ARM_LOG_CHUNK = 4096
IMAGE_CHUNK = 16
"""Frames in a chunk: written 4 times faster than one frame each, in far fewer files, and still only 1.6 s at 10 Hz."""


OBJECTS = "observation.objects"
"""The column that a cell without tracked objects does not have."""


class Owner(IntEnum):
    """Who drove the arm in a step; `TRANSITION` is the start of an intervention, which may be reflex."""

    LEARNER = 0
    TRANSITION = 1
    EXPERT = 2


class Outcome(StrEnum):
    """How an episode ended; `UNKNOWN` when nobody said, as after a crash."""

    SUCCESS = "success"
    FAILURE = "failure"
    DISCARDED = "discarded"
    UNKNOWN = "unknown"


JUDGEMENTS = (Outcome.SUCCESS, Outcome.FAILURE)
"""The outcomes of which a success rate is made."""


@dataclass(frozen=True)
class Column:
    """One array of an episode: rows of `shape` and `dtype`, stored `chunk` rows to a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str
    meaning: str
    chunk: int = STEP_CHUNK


@dataclass(frozen=True)
class EpisodeLayout:
    """What differs from cell to cell: the size of the object features, and each camera's (height, width) in pixels."""

    object_dim: int
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.object_dim <= MAX_OBJECT_DIM:
            raise DataError(f"An episode has 0 to {MAX_OBJECT_DIM} numbers of tracked objects, not {self.object_dim}.")
        for name, size in self.cameras.items():
            if not name.isidentifier():
                raise DataError(f"Camera name {name!r} has to consist of letters, digits and underscores.")
            if not all(0 < length <= MAX_PICTURE for length in size):
                raise DataError(f"Pictures of {name} are {size}, but should have 1 to {MAX_PICTURE} pixels a side.")

    def columns(self) -> tuple[Column, ...]:
        """Return the per-step columns."""
        images = tuple(
            Column(f"observation.images.{name}", (height, width, 3), "uint8", "", "RGB picture", IMAGE_CHUNK)
            for name, (height, width) in self.cameras.items()
        )
        image_times = tuple(
            Column(f"time.camera.{name}", (), "int64", "ns", "capture of the picture") for name in self.cameras
        )
        tracked = Column(OBJECTS, (self.object_dim,), "float32", "m, 1", "features of the tracked objects")
        objects = (tracked,) if self.object_dim else ()
        return (*STEP_COLUMNS, *objects, *image_times, *images)


STEP_COLUMNS = (
    Column("time.step", (), "int64", "ns", "time t_k that the step stands for"),
    Column("time.arm", (), "int64", "ns", "capture of the arm's state"),
    Column("time.receipt", (), "int64", "ns", "the observation was complete in the control process"),
    Column("time.command", (), "int64", "ns", "the action was handed to the arm process"),
    Column("observation.tcp", (9,), "float32", "m, 1", "measured base_from_tcp"),
    Column("observation.commanded", (9,), "float32", "m, 1", "commanded base_from_tcp at t_k"),
    Column("observation.gripper", (1,), "float32", "1", "measured opening, 0 closed, 1 open"),
    Column("observation.joints", (6,), "float32", "rad", "measured joint angles"),
    Column("observation.joint_velocities", (6,), "float32", "rad/s", "measured joint velocities"),
    Column("observation.wrench", (6,), "float32", "N, Nm", "wrench at the TCP in base"),
    Column("action.executed", (10,), "float32", "m, 1", "command after every limit, for t_{k+1}"),
    Column("action.learner", (10,), "float32", "m, 1", "the learner's proposal; NaN where none"),
    Column("action.expert", (10,), "float32", "m, 1", "the expert's proposal; NaN where none"),
    Column("owner", (), "uint8", "", "who drove: 0 learner, 1 transition, 2 expert"),
    Column("recovered", (), "bool", "", "the operator has marked the recovery as done"),
    Column("policy.version", (), "int64", "", "version of the acting policy"),
    Column("policy.rank", (), "int64", "", "trainable rank at which it was trained"),
    Column("alarm", (), "float32", "1", "alarm level of the window judged in this step: above 1 unusual, NaN none"),
)

ARM_COLUMNS = (
    Column("arm.time", (), "int64", "ns", "capture of the sample", ARM_LOG_CHUNK),
    Column("arm.joints", (6,), "float32", "rad", "measured joint angles", ARM_LOG_CHUNK),
    Column("arm.tcp", (9,), "float32", "m, 1", "measured base_from_tcp", ARM_LOG_CHUNK),
    Column("arm.commanded", (9,), "float32", "m, 1", "commanded base_from_tcp", ARM_LOG_CHUNK),
    Column("arm.wrench", (6,), "float32", "N, Nm", "wrench at the TCP in base", ARM_LOG_CHUNK),
    Column("arm.authority", (), "uint8", "", "who might move the arm, as the arm process numbers it", ARM_LOG_CHUNK),
)


def _no_action() -> Array:
    return np.full(10, np.nan, dtype=np.float32)


@dataclass(frozen=True)
class Step:
    """One record at the policy rate; every array has the shape that its column has (`schema.STEP_COLUMNS`)."""

    time_ns: int
    tcp: Array
    commanded: Array
    gripper: Array
    joints: Array
    joint_velocities: Array
    wrench: Array
    objects: Array
    arm_capture_ns: int
    receipt_ns: int
    command_ns: int
    action_executed: Array
    owner: Owner
    images: Mapping[str, Array] = field(default_factory=dict)
    image_capture_ns: Mapping[str, int] = field(default_factory=dict)
    action_learner: Array = field(default_factory=_no_action)
    action_expert: Array = field(default_factory=_no_action)
    recovered: bool = False
    version: int = 0
    rank: int = 0
    alarm: float = float("nan")

    def row(self) -> dict[str, Any]:
        """Return the value of each column."""
        return {
            "time.step": self.time_ns,
            "time.arm": self.arm_capture_ns,
            "time.receipt": self.receipt_ns,
            "time.command": self.command_ns,
            "observation.tcp": self.tcp,
            "observation.commanded": self.commanded,
            "observation.gripper": self.gripper,
            "observation.joints": self.joints,
            "observation.joint_velocities": self.joint_velocities,
            "observation.wrench": self.wrench,
            **({OBJECTS: self.objects} if len(self.objects) else {}),
            "action.executed": self.action_executed,
            "action.learner": self.action_learner,
            "action.expert": self.action_expert,
            "owner": self.owner,
            "recovered": self.recovered,
            "policy.version": self.version,
            "policy.rank": self.rank,
            "alarm": self.alarm,
            **{f"time.camera.{name}": time_ns for name, time_ns in self.image_capture_ns.items()},
            **{f"observation.images.{name}": image for name, image in self.images.items()},
        }


def step_of(row: Any, layout: EpisodeLayout) -> Step:
    """Return the step whose columns a row has by name: the inverse of `Step.row`, from a record or a mapping."""
    return Step(
        time_ns=row["time.step"],
        tcp=row["observation.tcp"],
        commanded=row["observation.commanded"],
        gripper=row["observation.gripper"],
        joints=row["observation.joints"],
        joint_velocities=row["observation.joint_velocities"],
        wrench=row["observation.wrench"],
        objects=row[OBJECTS] if layout.object_dim else np.zeros(0, np.float32),
        images={name: row[f"observation.images.{name}"] for name in layout.cameras},
        image_capture_ns={name: row[f"time.camera.{name}"] for name in layout.cameras},
        arm_capture_ns=row["time.arm"],
        receipt_ns=row["time.receipt"],
        command_ns=row["time.command"],
        action_executed=row["action.executed"],
        action_learner=row["action.learner"],
        action_expert=row["action.expert"],
        owner=Owner(int(row["owner"])),
        recovered=bool(row["recovered"]),
        version=int(row["policy.version"]),
        rank=int(row["policy.rank"]),
        alarm=float(row["alarm"]),
    )
