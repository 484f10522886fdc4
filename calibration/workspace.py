"""The workspace: a table plane fitted to touches, a box spanned by corners, and what an arm's limits become by them.

Frame `table`: origin on the table, z its normal, x as near to the base's as can be. Lengths in the base frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from calibration.errors import CalibrationError, NotGoodEnoughError
from calibration.files import Calibration, pose_of
from hardware.arms.limits import ArmLimits, TaughtWorkspace
from hardware.poses import Array, Pose

CELL = "cell"
"""The name of a cell's workspace calibration."""
MIN_TOUCHES = 3
MIN_LENGTH_M, MIN_WIDTH_M = 0.15, 0.10
"""How far the touches have to be spread along and across the direction in which they are spread most."""
MAX_TILT_RAD = np.radians(15.0)
FITS_M = 0.003
"""A touch farther from the plane is left out."""
MAX_UNEVEN_M = 0.0015
"""No plane if what fits is farther from it (rms)."""
ROUNDS = 5
MIN_SIDE_M = 0.1
UP = np.array([0.0, 0.0, 1.0])
ANEW = "teach it anew with 'drift-robot calibrate workspace'"


@dataclass(frozen=True)
class Plane:
    """The points p with `normal` . p = `offset_m`; the normal (3,) is a unit vector that points up."""

    normal: Array
    offset_m: float

    @property
    def tilt_rad(self) -> float:
        """The angle between the plane and the base's."""
        return float(np.arccos(np.clip(self.normal[2], -1.0, 1.0)))

    def height_m(self, places: Array) -> Array:
        """Return the plane's z (...) at places (..., 2) or more, of which x and y count."""
        height: Array = (self.offset_m - places[..., :2] @ self.normal[:2]) / self.normal[2]
        return height

    def above_m(self, points: Array) -> Array:
        """Return how far points (..., 3) are above the plane, (...)."""
        above: Array = points @ self.normal - self.offset_m
        return above


@dataclass(frozen=True)
class Table:
    """A plane and what it was fitted to: contact `points` (n, 3), how far above it they are, which of them counted."""

    plane: Plane
    points: Array
    off_m: Array
    used: NDArray[np.bool_]

    @property
    def rms_m(self) -> float:
        """The root mean square distance of the points that counted."""
        return float(np.sqrt(np.mean(self.off_m[self.used] ** 2)))

    @property
    def spread_m(self) -> tuple[float, float]:
        """Length and width of the points that counted."""
        return _spread(self.points[self.used])

    @property
    def base_from_table(self) -> Pose:
        """The frame `table`, its origin amid the points that counted."""
        z = self.plane.normal
        x = np.array([1.0, 0.0, 0.0]) - z[0] * z
        x = x / np.linalg.norm(x)
        origin = self.points[self.used].mean(axis=0)
        return Pose(origin - self.plane.above_m(origin) * z, np.stack([x, np.cross(z, x), z], axis=1))


@dataclass(frozen=True)
class Box:
    """The points between two corners (3,), along the base's axes."""

    low: Array
    high: Array


def fit_table(touches: Sequence[Pose], tool_points: Array) -> Table:
    """Fit a table to the TCP poses at which a tool with some points (m, 3) in the TCP's frame touched it.

    Which point touched follows from the plane, so both are found in turns. Least median of squares (Rousseeuw 1984)
    over all triples finds what fits together, total least squares over that the plane. Raises NotGoodEnoughError.
    """
    if lacking := missing_touches(touches)[0]:
        raise NotGoodEnoughError(f"The touches do not tell a table: missing are {'; '.join(lacking)}.")
    points = contacts(touches, tool_points, UP)
    for _ in range(ROUNDS):
        plane = _robust_plane(points)
        if plane.tilt_rad > MAX_TILT_RAD:
            raise NotGoodEnoughError(
                f"What was touched leans by {np.degrees(plane.tilt_rad):.0f} degrees, more than any table "
                f"({np.degrees(MAX_TILT_RAD):.0f}): touch the bare table everywhere."
            )
        before, points = points, contacts(touches, tool_points, plane.normal)
        if (points == before).all():
            break
    off = plane.above_m(points)
    table = Table(plane, points, off, np.abs(off) <= FITS_M)
    _check(table)
    return table


def missing_touches(touches: Sequence[Pose]) -> tuple[tuple[str, ...], float]:
    """Return what touches lack to tell a plane, in words, and a score in [0, 1]."""
    lacking = []
    if (count := len(touches)) < MIN_TOUCHES:
        lacking.append(f"{MIN_TOUCHES - count} more touches")
    length, width = _spread(np.array([touch.position for touch in touches])) if count else (0.0, 0.0)
    if length < MIN_LENGTH_M:
        lacking.append(f"touches at least {100 * MIN_LENGTH_M:.0f} cm apart")
    elif width < MIN_WIDTH_M:
        lacking.append(f"a touch at least {100 * MIN_WIDTH_M:.0f} cm beside the line of the others")
    shares = count / MIN_TOUCHES, length / MIN_LENGTH_M, width / MIN_WIDTH_M
    return tuple(lacking), float(np.mean(np.minimum(shares, 1.0)))


def tool_at(base_from_tcp: Pose, tool_points: Array) -> Array:
    """Return the tool's points (m, 3) in base, of those in the TCP's frame."""
    return base_from_tcp.position + tool_points @ base_from_tcp.rotation.T


def contacts(touches: Sequence[Pose], tool_points: Array, normal: Array) -> Array:
    """Return where tools at some poses touch a plane with a normal: the point (n, 3) of each that is lowest on it."""
    points = np.array([tool_at(touch, tool_points) for touch in touches])
    lowest: Array = points[np.arange(len(touches)), (points @ normal).argmin(axis=1)]
    return lowest


def span_box(corners: Sequence[Array], plane: Plane) -> Box:
    """Return the box between walls and ceiling at corners (3,), down to the table. Raises NotGoodEnoughError."""
    if lacking := missing_corners(corners, plane)[0]:
        raise NotGoodEnoughError(f"The corners do not span a box: missing are {'; '.join(lacking)}.")
    return down_to(Box(np.min(corners, axis=0), np.max(corners, axis=0)), plane)


def down_to(box: Box, plane: Plane) -> Box:
    """Return a box whose bottom reaches down to a table."""
    return Box(np.array([*box.low[:2], edge_heights(box, plane).min()]), box.high)


def edge_heights(box: Box, plane: Plane) -> Array:
    """Return a plane's height (4,) at a box's four vertical edges."""
    (left, near, _), (right, far, _) = box.low, box.high
    return plane.height_m(np.array([[x, y] for x in (left, right) for y in (near, far)]))


def missing_corners(corners: Sequence[Array], plane: Plane) -> tuple[tuple[str, ...], float]:
    """Return what corners (3,) lack to span a box above a table, in words, and a score in [0, 1]."""
    if not corners:
        return ("two opposite corners",), 0.0
    sides = _room(Box(np.min(corners, axis=0), np.max(corners, axis=0)), plane)
    words = ("a corner farther along x", "a corner farther along y", "a corner higher above the table")
    lacking = [word for word, side in zip(words, sides.tolist(), strict=True) if side < MIN_SIDE_M]
    return tuple(lacking), float(np.clip(sides / MIN_SIDE_M, 0.0, 1.0).mean())


def box_values(box: Box) -> dict[str, list[float]]:
    """Return a box as it is written."""
    return {"min_m": box.low.tolist(), "max_m": box.high.tolist()}


def plane_of(workspace: Calibration) -> Plane:
    """Return the table plane of a workspace calibration. Raises CalibrationError if it is not there."""
    table = pose_of(workspace, "base_from_table")
    normal = table.rotation[:, 2]
    return Plane(normal, float(normal @ table.position))


def box_of(workspace: Calibration) -> Box | None:
    """Return the box of a workspace calibration, None if none was taught. Raises CalibrationError if it is damaged."""
    entry: Mapping[str, Any] | None = workspace.values.get("box")
    if entry is None:
        return None
    try:
        low, high = np.array(entry["min_m"], float), np.array(entry["max_m"], float)
        if low.shape != (3,) or not (low < high).all():
            raise ValueError("its corners are no corners")
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(f"The workspace calibration has no proper box ({error}); {ANEW}.") from error
    return Box(low, high)


def taught_limits(limits: ArmLimits, workspace: Calibration, margin_m: float) -> ArmLimits:
    """Return limits that hold and within which a taught workspace holds too. Raises CalibrationError if that is empty.

    Every tool point keeps `margin_m` from the taught table and walls.
    """
    plane, box = plane_of(workspace), box_of(workspace)
    low, high = np.array(limits.workspace_min_m), np.array(limits.workspace_max_m)
    if box is not None:
        low, high = np.maximum(low, box.low), np.minimum(high, box.high)
    if (_room(Box(low, high), plane) < MIN_SIDE_M).any():
        raise CalibrationError(
            "Between the taught workspace and the section limits there is hardly any room left: correct limits, or "
            f"{ANEW}."
        )
    corners = {} if box is None else {"box_min_m": tuple(box.low.tolist()), "box_max_m": tuple(box.high.tolist())}
    try:
        taught = TaughtWorkspace(tuple(plane.normal.tolist()), plane.offset_m, margin_m=margin_m, **corners)
    except ValidationError as error:
        raise CalibrationError(f"The workspace calibration holds no proper table; {ANEW}.") from error
    return replace(limits, taught=taught)


def _room(box: Box, plane: Plane) -> Array:
    """Return how much room (3,) a box leaves along x, y and upwards from a table."""
    return np.array([*(box.high - box.low)[:2], box.high[2] - edge_heights(box, plane).max()])


def _spread(points: Array) -> tuple[float, float]:
    """Return the extents of points (n, 3) along their main direction and across it."""
    centred = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=True)
    along: Array = np.ptp(centred @ directions.T, axis=0)
    return float(along[0]), float(along[1])


def _needed(count: int) -> int:
    """Return how many of some touches have to fit: more than the three that always fit, and than half.

    With so many the breakdown point of the least median of squares is highest.
    """
    return min(count // 2 + 2, count)


def _robust_plane(points: Array) -> Plane:
    """Return the plane through what fits together of points (n, 3)."""
    best, least = _plane(points), np.inf
    for a, b, c in combinations(points, 3):
        across = np.cross(b - a, c - a)
        twice_area = float(np.linalg.norm(across))
        if twice_area < 0.5 * MIN_LENGTH_M * MIN_WIDTH_M:
            continue
        plane = _upward(across / twice_area, a)
        worst = float(np.sort(np.abs(plane.above_m(points)))[_needed(len(points)) - 1])
        if worst < least:
            best, least = plane, worst
    fitting = np.abs(best.above_m(points)) <= FITS_M
    return _plane(points[fitting]) if fitting.sum() >= MIN_TOUCHES else best


def _plane(points: Array) -> Plane:
    """Return the plane of least squared distances to points (n, 3)."""
    centre = points.mean(axis=0)
    return _upward(np.linalg.svd(points - centre)[2][2], centre)


def _upward(normal: Array, point: Array) -> Plane:
    """Return the plane through a point with a normal or its opposite."""
    normal = normal if normal[2] > 0.0 else -normal
    return Plane(normal, float(normal @ point))


def _check(table: Table) -> None:
    count, used = len(table.points), int(table.used.sum())
    if used < _needed(count):
        worst = 1000 * float(np.abs(table.off_m).max())
        raise NotGoodEnoughError(
            f"Only {used} of {count} touches lie on one plane (the worst is {worst:.1f} mm off): clear the table, and "
            "touch it at other places."
        )
    length, width = table.spread_m
    if length < MIN_LENGTH_M or width < MIN_WIDTH_M:
        raise NotGoodEnoughError(
            "The touches that lie on one plane are too close together or on one line: touch more places."
        )
    if table.rms_m > MAX_UNEVEN_M:
        raise NotGoodEnoughError(
            f"The table is uneven by {1000 * table.rms_m:.1f} mm (rms), more than {1000 * MAX_UNEVEN_M:g}: touch the "
            "part that is worked on, and hold the tool alike everywhere."
        )
