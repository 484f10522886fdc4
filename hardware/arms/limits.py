"""What an arm may do: bounds on where, how fast and how hard, and the pure functions that enforce them.

The controller applies them to every command, whoever drives. All lengths are in the base frame.
"""

import math
from enum import Enum
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from hardware.arms import rotations
from hardware.poses import Array, Pose

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Point = tuple[Finite, Finite, Finite]
MIN_UPWARD = 0.7
"""The least vertical part of a table's normal: nobody works on a steeper one."""
LEVEL = np.zeros(2)


class Limit(Enum):
    """A bound that changed or stopped a command; the value is the sentence for the operator."""

    WORKSPACE = "The target is outside the workspace box, so the arm stays at its wall."
    TABLE = "The target would push the tool through the table plane, so the arm stays above it."
    SPEED = "The target moves faster than the arm may, so the arm follows at its speed limit."
    LEASH = "The arm lags too far behind its command, so the command waits for it."
    FORCE = "The force at the tool is above its limit, so the arm holds."
    SAFETY = "The arm's safety system has stopped it."
    STALE_ARM = "The arm's state is too old, so the arm holds."
    STALE_DEVICE = "The input device is silent, so its motion has been faded out; the expert stays in charge."
    WAITING = "The learner drives but has sent nothing computed since the last handover, so the arm holds."
    STARVED = "The learner's waypoints have run out, so the arm holds."


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TaughtWorkspace:
    """The free space that a calibration has found: above a table that may be tilted, and within a box if there is one.

    The table is the plane of the points p with `table_normal` . p = `table_offset_m`; its normal is a unit vector that
    points up. TCP and tool points keep `margin_m` away from table and walls.
    """

    table_normal: Point
    table_offset_m: Finite
    box_min_m: Point | None = None
    box_max_m: Point | None = None
    margin_m: NonNegative = 0.0

    @model_validator(mode="after")
    def _makes_sense(self) -> "TaughtWorkspace":
        if abs(math.hypot(*self.table_normal) - 1.0) > 1e-6 or self.table_normal[2] < MIN_UPWARD:
            raise ValueError("table_normal must be a unit vector that points up")
        if (self.box_min_m is None) != (self.box_max_m is None):
            raise ValueError("box_min_m and box_max_m belong together")
        return self


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ArmLimits:
    """Bounds on an arm's commands; the defaults suit the simulated cell.

    Speed is bounded in norm; acceleration and jerk per axis. `tool_points_m` (TCP frame, for instance the finger tips)
    stay above the table plane with the TCP. What a calibration has `taught` bounds the arm as well; a session takes it
    from its calibrations. For `slew_s` after a hand-back, and on the way back to the start, the slew bounds hold
    too. The force bound is on the norm of the wrench's force.
    """

    workspace_min_m: Point = (0.15, -0.5, 0.0)
    workspace_max_m: Point = (0.8, 0.5, 0.6)
    table_height_m: Finite = 0.0
    tool_points_m: tuple[Point, ...] = ((0.0, 0.04, 0.012), (0.0, -0.04, 0.012))
    taught: TaughtWorkspace | None = None
    max_speed_m_s: Positive = 0.25
    max_rotation_speed_rad_s: Positive = 1.5
    max_acceleration_m_s2: Positive = 4.0
    max_rotation_acceleration_rad_s2: Positive = 20.0
    max_jerk_m_s3: Positive = 200.0
    max_rotation_jerk_rad_s3: Positive = 1000.0
    slew_s: Positive = 0.4
    slew_speed_m_s: Positive = 0.15
    slew_rotation_speed_rad_s: Positive = 1.5
    leash_m: Positive = 0.08
    leash_rad: Positive = 0.5
    max_force_n: Positive = 80.0
    command_timeout_s: Positive = 0.2
    device_timeout_s: Positive = 0.2
    arm_timeout_s: Positive = 0.1

    @model_validator(mode="after")
    def _box_has_a_volume(self) -> "ArmLimits":
        if not all(low < high for low, high in zip(self.workspace_min_m, self.workspace_max_m, strict=True)):
            raise ValueError("workspace_min_m must be below workspace_max_m on every axis")
        return self


class Workspace:
    """Where some limits let the TCP be: a box and, for every tool point, table planes and taught walls, as arrays."""

    def __init__(self, limits: ArmLimits) -> None:
        self.low = np.array(limits.workspace_min_m)
        self.high = np.array(limits.workspace_max_m)
        self._points = np.array([(0.0, 0.0, 0.0), *limits.tool_points_m])
        self._level = limits.table_height_m
        self._plane: tuple[Array, float] | None = None
        self._walls: tuple[Array, Array] | None = None
        taught = limits.taught
        if taught is not None:
            self._plane = np.array(taught.table_normal), taught.table_offset_m + taught.margin_m
            if taught.box_min_m is not None and taught.box_max_m is not None:
                self._walls = np.array(taught.box_min_m) + taught.margin_m, np.array(taught.box_max_m) - taught.margin_m

    def floor(self, positions: Array, rotations: Array) -> Array:
        """Return the lowest TCP height (...) at which every tool point clears the tables.

        Only x and y of the positions (..., 3) count; rotations (..., 3, 3).
        """
        lowest: Array = (rotations[..., 2, :] @ self._points.T).min(axis=-1)
        level = self._level - lowest
        return level if self._plane is None else np.maximum(level, self._taught_floor(positions, rotations))

    def _taught_floor(self, positions: Array, rotations: Array) -> Array:
        """Return the lowest TCP height (...) above the taught plane, -inf without one."""
        if self._plane is None:
            return np.full(positions.shape[:-1], -np.inf)
        normal, offset = self._plane
        lowest = (normal @ rotations @ self._points.T).min(axis=-1)
        floor: Array = (offset - lowest - positions[..., :2] @ normal[:2]) / normal[2]
        return floor

    def slope(self, pose: Pose) -> Array:
        """Return how the lowest height allowed under a TCP pose rises towards x and y, (2,)."""
        if self._plane is None:
            return LEVEL
        low, _ = self.bounds(pose)
        if self._taught_floor(pose.position, pose.rotation) < low[2]:
            return LEVEL
        normal, _ = self._plane
        slope: Array = -normal[:2] / normal[2]
        return slope

    def box(self, rotations: Array) -> tuple[Array, Array]:
        """Return the lowest and highest TCP position (..., 3) within the walls, for rotations (..., 3, 3)."""
        if self._walls is None:
            return self.low, self.high
        reach = rotations @ self._points.T
        high = np.minimum(self.high, self._walls[1] - reach.max(axis=-1))
        return np.minimum(np.maximum(self.low, self._walls[0] - reach.min(axis=-1)), high), high

    def bounds(self, pose: Pose) -> tuple[Array, Array]:
        """Return the lowest and highest TCP position (3,) allowed where a pose is, with its rotation."""
        low, high = self.box(pose.rotation)
        low = low.copy()
        low[2] = min(max(low[2], float(self.floor(pose.position, pose.rotation))), high[2])
        return low, high

    def holds(self, pose: Pose) -> bool:
        """Return whether a TCP pose needs no clipping."""
        low, high = self.bounds(pose)
        return all(a <= x <= b for a, x, b in zip(low.tolist(), pose.position.tolist(), high.tolist(), strict=True))

    def confine(self, pose: Pose, start: Pose) -> tuple[Array, frozenset[Limit]]:
        """Return the position of a pose, clipped so that it is no further outside than `start`, and what acted."""
        start_low, start_high = self.bounds(start)
        below, above = np.maximum(start_low - start.position, 0.0), np.maximum(start.position - start_high, 0.0)
        low, high = self.box(pose.rotation)
        position = np.minimum(np.maximum(pose.position, low - below), high + above)
        low, high = self.bounds(Pose(position, pose.rotation))
        position[2] = min(max(position[2], low[2] - below[2]), high[2] + above[2])
        table = position[2] > pose.position[2] and low[2] > self.low[2]
        return position, frozenset({Limit.TABLE if table else Limit.WORKSPACE})

    def clip(self, positions: Array, rotations: Array) -> tuple[Array, frozenset[Limit]]:
        """Clip TCP positions (..., 3) with rotations (..., 3, 3); return them and the bounds that acted."""
        low, high = self.box(rotations)
        boxed = np.minimum(np.maximum(positions, low), high)
        limited: set[Limit] = set()
        if (boxed != positions).any():
            limited.add(Limit.WORKSPACE)
        floor = np.minimum(self.floor(boxed, rotations), high[..., 2])
        if (boxed[..., 2] < floor).any():
            limited.add(Limit.TABLE)
            boxed[..., 2] = np.maximum(boxed[..., 2], floor)
        return boxed, frozenset(limited)


def approach_speed(distance: Array, acceleration: float, reaction_s: float) -> Array:
    """Return the speed at which a wall at a distance may be approached.

    Solves distance = speed reaction + speed^2 / (2 acceleration); zero at or behind the wall.
    """
    distance = np.maximum(distance, 0.0)
    return acceleration * (np.sqrt(reaction_s**2 + 2.0 * distance / acceleration) - reaction_s)


def leash(command: Pose, measured: Pose, limits: ArmLimits) -> tuple[Pose, bool]:
    """Pull a command back to the leash around the measured pose; return it and whether it was pulled."""
    offset = command.position - measured.position
    turn = rotations.log(command.rotation @ measured.rotation.T)
    share_m = math.hypot(*offset.tolist()) / limits.leash_m
    share_rad = math.hypot(*turn.tolist()) / limits.leash_rad
    if max(share_m, share_rad) <= 1.0:
        return command, False
    position = measured.position + offset / max(share_m, 1.0)
    return Pose(position, rotations.exp(turn / max(share_rad, 1.0)) @ measured.rotation), True
