"""What a task is to a cell: its objects, its distribution of starts, when it has succeeded, and a scripted expert."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot, pi
from typing import Protocol

import numpy as np

from hardware.poses import Array, Pose


@dataclass(frozen=True)
class Scene:
    """The true state of the cell: measured TCP pose and gripper opening, and the objects in the task's order."""

    base_from_tcp: Pose
    opening: float
    base_from_object: tuple[Pose, ...]


@dataclass(frozen=True)
class TaskObject:
    """An object by its body's name in MJCF.

    `symmetry` is the order of its rotational symmetry about the vertical, 0 if it is round. A `fixed` object is a mocap
    body, any other has a joint of the same name: a free one, or, if it is `jointed`, a hinge or slide somewhere below a
    fixed object, whose zero it starts at.
    """

    name: str
    symmetry: int
    fixed: bool = False
    jointed: bool = False


@dataclass(frozen=True)
class Props:
    """What a task adds to the cell, as MJCF fragments of the world's body, the gripper's body and the assets.

    `files` are those that assets name, by name.
    """

    world: str = ""
    tool: str = ""
    assets: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


class ScriptedTask(Protocol):
    """One job, as far as whoever drives it has to know it, whichever simulator it is done in."""

    @property
    def name(self) -> str:
        """The name in configurations."""
        ...

    @property
    def objects(self) -> tuple[TaskObject, ...]:
        """The tracked objects."""
        ...

    @property
    def time_limit_s(self) -> float:
        """The time after which an episode has failed."""
        ...

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Return the scripted expert's twist (6,) in base, m/s and rad/s, and opening: a function of the scene."""
        ...


class Task(ScriptedTask, Protocol):
    """One job in the simulated cell."""

    @property
    def mjcf(self) -> Props:
        """The objects' bodies, and what they need."""
        ...

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return base_from_object at the start of an episode, in the order of `objects`."""
        ...

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether the goal is met in this instant; the cell asks for it to last."""
        ...


class RobosuiteTask(ScriptedTask, Protocol):
    """One of robosuite's own jobs: robosuite brings the scene, its distribution and the success test."""

    @property
    def environment(self) -> str:
        """The environment's name in robosuite."""
        ...


def pose_on_table(x: float, y: float, z: float, yaw: float = 0.0) -> Pose:
    """Return the pose of an upright object turned by `yaw` about the vertical."""
    c, s = np.cos(yaw), np.sin(yaw)
    return Pose(np.array([x, y, z]), np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]))


def scatter(rng: np.random.Generator, count: int, apart_m: float = 0.0) -> list[tuple[float, float, float]]:
    """Return `count` random places x, y, yaw in front of the arm (24 x 44 cm), at least `apart_m` from each other."""
    places: list[tuple[float, float, float]] = []
    while len(places) < count:
        x, y, yaw = rng.uniform((0.38, -0.22, -pi / 4), (0.62, 0.22, pi / 4)).tolist()
        if all(hypot(x - other[0], y - other[1]) >= apart_m for other in places):
            places.append((x, y, yaw))
    return places


def upright(rotation: Array) -> Array:
    """Return the orientation of a cube (3, 3) named anew so that its z axis is the one nearest to the vertical."""
    if rotation[2, 2] > 0.75:
        return rotation
    vertical = max(range(3), key=lambda column: abs(rotation[2, column]))
    sign = 1.0 if rotation[2, vertical] > 0.0 else -1.0
    renamed: Array = rotation[:, ((vertical + 1) % 3, (vertical + 2) % 3, vertical)] * (1.0, sign, sign)
    return renamed
