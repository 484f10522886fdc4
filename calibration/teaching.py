"""Teaching the workspace: the arm feels for the table, or a person guides the tool to table and corners by hand.

`calibrate_workspace` is a `Procedure` of calibration/guide.py, as those of calibration/procedures.py.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from calibration.board import Image
from calibration.errors import NotGoodEnoughError
from calibration.files import Calibration, Kind, pose_entry
from calibration.guide import Answer, Guide, Procedure
from calibration.hand_eye import middle_pose
from calibration.procedures import Result
from calibration.proposals import Bounds
from calibration.rig import TOUCH_N, Rig
from calibration.views import STILL_M, arrive
from calibration.workspace import (
    CELL,
    MIN_TOUCHES,
    UP,
    Box,
    Plane,
    Table,
    box_of,
    box_values,
    contacts,
    down_to,
    edge_heights,
    fit_table,
    missing_corners,
    missing_touches,
    plane_of,
    span_box,
    tool_at,
)
from calibration.workspace_pictures import Eye, draw_points, draw_workspace, touches_picture
from hardware.arms.limits import ArmLimits, Workspace
from hardware.poses import Array, Pose, rotation_matrix

PLACES = ((-1, -1), (-1, 0), (-1, 1), (0, 0), (1, 1), (1, 0), (1, -1))
SHARES = (0.8, 0.65, 0.5, 0.35)
"""How far from the middle of the workspace towards its walls the places are: the farthest that is within reach."""
SEARCH_M = 0.05
"""How far below the configured table the arm feels for the real one."""
FIRST_HOVER_M, HOVER_M = 0.08, 0.04
"""How far above the configured table, and then above the highest touch, the arm sets out downwards."""
GOOD_TOUCHES = 5
APART_M = 0.03
READINGS = 5


def feeling(limits: ArmLimits) -> ArmLimits:
    """Return limits for feeling for the table: as configured, but lower, and without what was taught before."""
    x, y, z = limits.workspace_min_m
    return replace(
        limits, workspace_min_m=(x, y, z - SEARCH_M), table_height_m=limits.table_height_m - SEARCH_M, taught=None
    )


def calibrate_workspace(
    rig: Rig,
    limits: ArmLimits,
    eyes: Mapping[str, Eye],
    earlier: Calibration | None,
    devices: Mapping[str, str],
    software_version: str,
) -> Procedure[Result]:
    """Teach table and box. A rig that drives has to have the limits of `feeling`; `limits` are those configured.

    Whatever is not taught stays as in the `earlier` calibration. Raises NotGoodEnoughError if it does not suffice.
    """
    guide, tool = Guide("Workspace", ""), tool_points(limits)
    known = None if earlier is None else box_of(earlier)
    show = _Show(rig, eyes, tool, known or Box(np.array(limits.workspace_min_m), np.array(limits.workspace_max_m)))
    touches: list[Pose] | None
    if rig.drives:
        touches = yield from touch_by_arm(rig, limits, guide, show)
    else:
        touches = yield from touch_by_hand(rig, guide, show, earlier)
    table = None
    if touches is None and earlier is not None:
        calibration = earlier
    else:
        table = fit_table(touches or (), tool)
        calibration = _calibration(table, limits, devices, software_version)
    plane = show.plane = plane_of(calibration)
    corners = None if rig.drives else (yield from corners_by_hand(rig, guide, show, plane, known is not None))
    box = None if known is None else down_to(known, plane)
    if corners is not None:
        box = span_box(_occupied(corners, tool), plane)
    if box is not None:
        show.box = box
        calibration = replace(calibration, values={**calibration.values, "box": box_values(box)})
    sentences = (_table_sentence(calibration, plane, show.box, limits), _box_sentence(box, corners is not None))
    pictures = {} if table is None else {"touches": touches_picture(table, show.box, "The table as it was touched")}
    pictures |= {camera: show.of(camera, table) for camera in rig.cameras if camera in eyes}
    return Result(calibration, pictures, sentences)


def tool_points(limits: ArmLimits) -> Array:
    """Return the TCP and the tool points of some limits, (n, 3) in the TCP's frame."""
    return np.array([(0.0, 0.0, 0.0), *limits.tool_points_m])


class _Show:
    """What is shown meanwhile: a camera's picture, and on it what is known of the workspace, if it is calibrated."""

    def __init__(self, rig: Rig, eyes: Mapping[str, Eye], tool: Array, box: Box) -> None:
        self._rig, self._eyes, self.tool = rig, eyes, tool
        # Best is a calibrated camera that stands still.
        order = sorted(rig.cameras, key=lambda name: (name not in eyes, rig.cameras[name].on_arm))
        self._camera = order[0] if order else None
        self.box = box
        self.plane: Plane | None = None
        self.touches: Sequence[Pose] = ()

    def __call__(self) -> Image | None:
        """Return the live picture; None without a camera."""
        return None if self._camera is None else self.of(self._camera, None)

    def of(self, camera: str, table: Table | None) -> Image:
        """Return what a camera sees now, with the touches, of which those that fit a `table` are known."""
        image, eye, here = self._rig.look(camera).image, self._eyes.get(camera), self._rig.arm().base_from_tcp
        if eye is None:
            return image
        if self.plane is not None:
            image = draw_workspace(image, eye, here, self.plane, self.box)
        if table is not None:
            return draw_points(image, eye, here, table.points, table.used.tolist())
        if not self.touches:
            return image
        return draw_points(image, eye, here, contacts(self.touches, self.tool, UP), [True] * len(self.touches))


def touch_by_arm(rig: Rig, limits: ArmLimits, guide: Guide, show: _Show) -> Procedure[list[Pose]]:
    """Feel for the table at places all over the workspace; return the TCP poses at which it was felt."""
    start = rig.arm().base_from_tcp
    places = touch_places(rig, limits)
    if len(places) < MIN_TOUCHES:
        raise NotGoodEnoughError("From here hardly any place of the workspace can be reached: start above its middle.")
    answer = None
    while answer is not Answer.GO:
        rig.turn()
        answer = yield replace(
            guide,
            instruction=f"Clear the table, close the gripper. The arm will go down slowly at {len(places)} places until"
            f" it feels {TOUCH_N:.0f} N. Keep clear.",
            image=show(),
            offers=((Answer.GO, "start: the arm moves"),),
        )
    touches: list[Pose] = []
    show.touches = touches
    lowest = Workspace(feeling(limits))
    for number, place in enumerate(places):
        lacks, score = missing_touches(touches)
        told = replace(
            guide,
            instruction=f"The arm feels for the table: place {number + 1} of {len(places)}.",
            progress=number / len(places),
            missing=lacks,
            score=score,
            offers=((Answer.SKIP, "leave out this place"),),
        )
        if touches:
            height = max(touch.position[2] for touch in touches) + HOVER_M
            place = Pose(np.array([*place.position[:2], height]), place.rotation)
        if not (yield from _go(rig, place, told, show)):
            continue
        rig.touch(float(place.position[2] - lowest.floor(place.position, place.rotation)))
        if (yield from arrive(rig, told, show)) and (touched := rig.touched) is not None:
            touches.append(touched)
        yield from _go(rig, place, told, show)
    yield from _go(rig, start, replace(guide, instruction="The arm goes back.", progress=1.0), show)
    if len(touches) < MIN_TOUCHES:
        raise NotGoodEnoughError(
            f"The table was felt at {len(touches)} of {len(places)} places only: it is not there, or more than "
            f"{100 * SEARCH_M:.0f} cm below limits.table_height_m; correct that, or touch it with --by-hand."
        )
    return touches


def touch_places(rig: Rig, limits: ArmLimits) -> list[Pose]:
    """Return poses above the configured table, the tool straight down, spread over the workspace as far as reached."""
    state = rig.arm()
    reach, joints = Bounds(limits, state, rig.flange_from_tcp).reach(), state.joints
    rotation, workspace = straight_down(state.base_from_tcp.rotation), Workspace(limits)
    middle, half = (workspace.low + workspace.high) / 2, (workspace.high - workspace.low) / 2
    places = []
    for direction in PLACES:
        for share in SHARES:
            position = middle + share * half * np.array([*direction, 0.0])
            position[2] = workspace.floor(position, rotation) + FIRST_HOVER_M
            place = Pose(position, rotation)
            reached = reach(joints, place)
            if reached is not None:
                places.append(place)
                joints = reached
                break
    return places


def straight_down(rotation: Array) -> Array:
    """Return a tool's rotation turned the shortest way so that its z axis points straight down."""
    axis = np.cross(rotation[:, 2], -UP)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return rotation
    return rotation_matrix(axis / sine * np.arctan2(sine, -rotation[2, 2])) @ rotation


def _go(rig: Rig, place: Pose, guide: Guide, show: _Show) -> Procedure[bool]:
    rig.go(place)
    return (yield from arrive(rig, guide, show))


def touch_by_hand(rig: Rig, guide: Guide, show: _Show, earlier: Calibration | None) -> Procedure[list[Pose] | None]:
    """Take the poses at which a person holds the tool onto the table; None if it shall stay as it was."""

    def missing(touches: Sequence[Pose]) -> tuple[tuple[str, ...], float]:
        lacks, score = missing_touches(touches)
        if not lacks and len(touches) < GOOD_TOUCHES:
            words = f"better {GOOD_TOUCHES - len(touches)} more: with few, one bad touch is not noticed"
            return (words,), score * len(touches) / GOOD_TOUCHES
        return lacks, score

    kept = f"keep the table of {earlier.created_utc[:10]}" if earlier is not None else ""
    words = (
        "Hold down freedrive, guide the tool's tip onto the bare table, hold still, press Space; all over the table."
    )
    return (yield from _points_by_hand(rig, replace(guide, instruction=words), show, missing, missing_touches, kept))


def corners_by_hand(rig: Rig, guide: Guide, show: _Show, plane: Plane, taught: bool) -> Procedure[list[Pose] | None]:
    """Take the poses at which a person holds the tool in corners of the free space; None if the box shall stay."""

    def missing(corners: Sequence[Pose]) -> tuple[tuple[str, ...], float]:
        return missing_corners(_occupied(corners, show.tool), plane)

    kept = "keep the box" if taught else "no box: only that of the section limits"
    words = "Guide the tool to corners of the free space, one of them as high as it may go: hold still, press Space."
    return (yield from _points_by_hand(rig, replace(guide, instruction=words), show, missing, missing, kept))


Missing = Callable[[Sequence[Pose]], tuple[tuple[str, ...], float]]


def _points_by_hand(
    rig: Rig, guide: Guide, show: _Show, advised: Missing, missing: Missing, kept: str
) -> Procedure[list[Pose] | None]:
    """Take a pose at every GO while the arm stands still, until DONE; None if it is skipped for what is `kept`."""
    points: list[Pose] = []
    show.touches = points
    readings: deque[Pose] = deque(maxlen=READINGS)
    alarm = ""
    while True:
        rig.turn()
        readings.append(rig.arm().base_from_tcp)
        lacks, score = advised(points)
        offers = [(Answer.GO, "take this point")]
        if points:
            offers.append((Answer.SKIP, "drop the last point"))
        elif kept:
            offers.append((Answer.SKIP, kept))
        if not missing(points)[0]:
            offers.append((Answer.DONE, "finish"))
        answer = yield replace(
            guide, image=show(), progress=score, score=score, missing=lacks, offers=tuple(offers), alarm=alarm
        )
        if answer is not None:
            alarm = ""
        if answer is Answer.DONE and not missing(points)[0]:
            return points
        if answer is Answer.SKIP and points:
            points.pop()
        elif answer is Answer.SKIP and kept:
            return None
        elif answer is Answer.GO:
            here = middle_pose(readings)
            if len(readings) < READINGS or max(_apart(here, reading) for reading in readings) > STILL_M:
                alarm = "The arm moves: hold it still, and press again."
            elif any(_apart(here, point) < APART_M for point in points):
                alarm = f"That is nearer than {100 * APART_M:.0f} cm to an earlier point: move on, and press again."
            else:
                points.append(here)


def _apart(a: Pose, b: Pose) -> float:
    return float(np.linalg.norm(a.position - b.position))


def _occupied(poses: Sequence[Pose], tool: Array) -> list[Array]:
    """Return all points (3,) of a tool at some poses."""
    return [point for pose in poses for point in tool_at(pose, tool)]


def _calibration(table: Table, limits: ArmLimits, devices: Mapping[str, str], software_version: str) -> Calibration:
    length, width = table.spread_m
    used = int(table.used.sum())
    return Calibration(
        Kind.WORKSPACE,
        CELL,
        {
            "base_from_table": pose_entry(table.base_from_table),
            "tool_points_m": [list(point) for point in limits.tool_points_m],
        },
        {"rms_mm": 1000 * table.rms_m, "largest_mm": 1000 * float(np.abs(table.off_m[table.used]).max())},
        {"used": used, "left_out": len(table.used) - used, "length_m": length, "width_m": width},
        devices,
        software_version=software_version,
    )


def _table_sentence(calibration: Calibration, plane: Plane, box: Box, limits: ArmLimits) -> str:
    views, rms_mm = calibration.views, calibration.residuals["rms_mm"]
    heights = 1000 * (edge_heights(box, plane) - limits.table_height_m)
    exact = " (three touches leave no error to see: touch five)" if views["used"] == MIN_TOUCHES else ""
    return (
        f"The table leans by {np.degrees(plane.tilt_rad):.2f} degrees, rms {rms_mm:.2f} mm over "
        f"{views['used']} of {views['used'] + views['left_out']} touches{exact}; it is {heights.min():+.1f} to "
        f"{heights.max():+.1f} mm from limits.table_height_m, and the higher of both holds."
    )


def _box_sentence(box: Box | None, taught: bool) -> str:
    if box is None:
        return "No box was taught, so that of the section limits holds; --by-hand teaches one."
    corners = " to ".join("({:.3f}, {:.3f}, {:.3f})".format(*corner) for corner in (box.low, box.high))
    return f"The {'box' if taught else 'box that was taught earlier'} goes from {corners} m, as far as limits allow it."
