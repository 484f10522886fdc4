"""Taking views of the board: at standstill, by driving the arm from place to place or while a person guides it.

Each function is a `Procedure` of calibration/guide.py. Nothing here moves the arm before the operator has agreed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from calibration.board import Board, Detection, Image
from calibration.coverage import is_similar
from calibration.errors import NotGoodEnoughError
from calibration.guide import Answer, Guide, Procedure
from calibration.hand_eye import HandEyeView, middle_pose, solve_hand_eye
from calibration.intrinsics import rough_lens
from calibration.proposals import LEAN_RAD, Bounds, Sight, propose
from calibration.rig import Rig
from hardware.arms.limits import Workspace
from hardware.cameras.lens import Lens
from hardware.interfaces import ArmState
from hardware.poses import Pose, rotation_matrix, rotation_vector

PICTURES = 3
"""So many pictures make a view: their corners are averaged."""
STILL_PX = 0.5
STILL_M, STILL_RAD = 2e-4, 5e-4
SETTLE_NS = 300_000_000
DRIVE_NS = 60_000_000_000
"""An arm that is not there by then cannot get there."""
TRIES = 20

Missing = Callable[[Sequence["View"]], tuple[tuple[str, ...], float]]
"""Tells what views lack, and their score."""

EXPLORING = (
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((0.0, 0.0, 0.0), (0.17, 0.0, 0.0)),
    ((0.0, 0.0, 0.0), (-0.17, 0.0, 0.0)),
    ((0.0, 0.0, 0.0), (0.0, 0.17, 0.0)),
    ((0.0, 0.0, 0.0), (0.0, -0.17, 0.0)),
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.3)),
    ((0.02, 0.02, -0.02), (0.1, 0.1, -0.2)),
    ((-0.02, -0.02, -0.03), (-0.1, 0.1, 0.2)),
)
"""Small motions about the first pose, offset (m) and turn (rad) in the tool's frame, that tell roughly where all is."""


@dataclass(frozen=True)
class View:
    """The board as seen at a standstill, where the arm was then, and the picture."""

    detection: Detection
    base_from_tcp: Pose
    image: Image


def drawn(image: Image, detection: Detection | None, taken: Sequence[Detection] = ()) -> Image:
    """Return a copy of a picture with the corners found in it, and small dots where those of earlier views were."""
    picture = image.copy()
    for earlier in taken:
        for x, y in earlier.pixels.tolist():
            cv2.circle(picture, (round(x), round(y)), 2, (40, 120, 220), -1, cv2.LINE_AA)
    if detection is not None:
        for x, y in detection.pixels.tolist():
            cv2.circle(picture, (round(x), round(y)), 5, (0, 190, 60), 2, cv2.LINE_AA)
    return picture


def look_still(rig: Rig, camera: str, board: Board, guide: Guide) -> Procedure[View | None]:
    """Take one view where the arm is: None if the board is not seen well or does not keep still."""
    pictures: list[tuple[Detection, ArmState, Image]] = []
    for _ in range(TRIES):
        rig.turn()
        frame, state = rig.look(camera), rig.arm()
        detection = board.detect(frame.image)
        yield replace(guide, image=drawn(frame.image, detection))
        if detection is None:
            pictures.clear()
            continue
        if pictures and not _still(pictures[-1], (detection, state)):
            pictures.clear()
        pictures.append((detection, state, frame.image))
        if len(pictures) == PICTURES:
            pose = middle_pose([state.base_from_tcp for _, state, _ in pictures])
            averaged = _averaged([detection for detection, _, _ in pictures])
            return View(averaged, pose, frame.image) if averaged is not None else None
    return None


def _still(before: tuple[Detection, ArmState, Image], now: tuple[Detection, ArmState]) -> bool:
    a, b = before[1].base_from_tcp, now[1].base_from_tcp
    turned = float(np.linalg.norm(rotation_vector(a.rotation.T @ b.rotation)))
    return (
        moved_px(before[0], now[0]) < STILL_PX
        and float(np.linalg.norm(a.position - b.position)) < STILL_M
        and turned < STILL_RAD
    )


def moved_px(a: Detection, b: Detection) -> float:
    """Return the median distance of the corners that both have; infinite without any."""
    _, in_a, in_b = np.intersect1d(a.ids, b.ids, return_indices=True)
    if not len(in_a):
        return float("inf")
    off = a.pixels[in_a] - b.pixels[in_b]
    return float(np.median(np.hypot(off[:, 0], off[:, 1])))


def _averaged(detections: Sequence[Detection]) -> Detection | None:
    """Return the corners that are in all of some detections of the same view, each at its mean."""
    ids = detections[0].ids
    for detection in detections[1:]:
        ids = np.intersect1d(ids, detection.ids)
    if len(ids) < 6:
        return None
    pixels = [detection.pixels[np.intersect1d(detection.ids, ids, return_indices=True)[1]] for detection in detections]
    return Detection(ids, np.mean(pixels, axis=0), detections[0].size)


def await_board(rig: Rig, camera: str, board: Board, guide: Guide) -> Procedure[None]:
    """Wait until the board is in the picture and, where the arm will be driven, for the operator's word."""
    on_arm = rig.cameras[camera].on_arm
    place = (
        "Lay the board flat on the table, in the camera's picture, and take care that it stays where it is."
        if on_arm
        else "Fix the board to the tool so that the camera sees it, and take care that it cannot slip."
    )
    lean = np.degrees(LEAN_RAD)
    unseen = f"Camera {camera} does not see the board of the configuration."
    while True:
        rig.turn()
        image = rig.look(camera).image
        detection = board.detect(image)
        if detection is None:
            yield replace(guide, instruction=place, image=image, alarm=unseen, waiting=True)
            continue
        if not rig.drives:
            return
        answer = yield replace(
            guide,
            instruction=f"The arm will move slowly by itself and lean by up to {lean:.0f} degrees. Keep clear.",
            image=drawn(image, detection),
            offers=((Answer.GO, "start: the arm moves"),),
        )
        if answer is Answer.GO:
            return


def take_by_arm(
    rig: Rig, camera: str, board: Board, guide: Guide, count: int, missing: Missing, lens: Lens | None = None
) -> Procedure[list[View]]:
    """Drive the arm round the board and take views. A known `lens` spares guessing one.

    First small motions tell roughly where camera and board are, then poses are proposed from that.
    """
    yield from await_board(rig, camera, board, guide)
    start = rig.arm()
    explored: list[View] = []
    workspace = Workspace(rig.limits)
    for number, (offset, turn) in enumerate(EXPLORING):
        local = Pose(np.array(offset), rotation_matrix(np.array(turn)))
        goal = start.base_from_tcp @ local
        if not workspace.holds(goal):
            continue
        told = replace(
            guide,
            instruction=f"Small motions to find camera and board: {number + 1} of {len(EXPLORING)}.",
            progress=number / (len(EXPLORING) + count),
        )
        view = yield from _view_from(rig, camera, board, goal, told)
        if view is not None:
            explored.append(view)
    sight = _sight(rig, camera, board, explored, lens)
    bounds = Bounds(rig.limits, rig.arm(), rig.flange_from_tcp)
    poses = propose(board, sight, bounds, count)
    if not poses:
        raise NotGoodEnoughError(
            "From here no other view of the board can be reached: start elsewhere, or widen limits."
        )
    views = list(explored)
    for number, pose in enumerate(poses):
        lacks, score = missing(views)
        told = replace(
            guide,
            instruction=f"The arm drives from view to view: {number + 1} of {len(poses)}.",
            progress=(len(EXPLORING) + number) / (len(EXPLORING) + count),
            missing=lacks,
            score=score,
            offers=((Answer.SKIP, "leave out this view"),),
        )
        view = yield from _view_from(rig, camera, board, pose, told)
        if view is not None and not is_similar(view.detection, [earlier.detection for earlier in views]):
            views.append(view)
    yield from drive(rig, camera, start.base_from_tcp, replace(guide, instruction="The arm goes back.", progress=1.0))
    return views


def _sight(rig: Rig, camera: str, board: Board, views: Sequence[View], lens: Lens | None) -> Sight:
    """Return roughly where camera and board are. Raises NotGoodEnoughError if the views do not tell."""
    on_arm = rig.cameras[camera].on_arm
    if len(views) < 4:
        raise NotGoodEnoughError(
            f"The board was seen well from {len(views)} of {len(EXPLORING)} places close by: place it nearer to the "
            "middle of the picture, light it evenly, and keep it in view."
        )
    lens = lens or rough_lens(board, [view.detection for view in views], rig.cameras[camera].factory)
    solved = solve_hand_eye(board, lens, hand_eye_views(views, on_arm))
    return Sight(lens, solved.link_from_camera, solved.other_from_board, on_arm)


def hand_eye_views(views: Sequence[View], on_arm: bool) -> list[HandEyeView]:
    """Return views as the hand-eye calibration takes them."""
    return [
        HandEyeView(view.detection, view.base_from_tcp if on_arm else view.base_from_tcp.inverse()) for view in views
    ]


def _view_from(rig: Rig, camera: str, board: Board, goal: Pose, guide: Guide) -> Procedure[View | None]:
    if not (yield from drive(rig, camera, goal, guide)):
        return None
    return (yield from look_still(rig, camera, board, guide))


def drive(rig: Rig, camera: str, goal: Pose, guide: Guide) -> Procedure[bool]:
    """Take the arm to a pose and let it settle; False if the operator has skipped it or it does not get there."""
    rig.go(goal)
    return (yield from arrive(rig, guide, lambda: rig.look(camera).image))


def arrive(rig: Rig, guide: Guide, picture: Callable[[], Image | None]) -> Procedure[bool]:
    """Wait until the arm has got to where it was told to go and has settled; False as for `drive`."""
    began_ns = rig.arm().capture_ns
    arrived_ns: int | None = None
    while arrived_ns is None or rig.arm().capture_ns - arrived_ns < SETTLE_NS:
        rig.turn()
        arrived_ns = (arrived_ns or rig.arm().capture_ns) if rig.arrived else None
        answer = yield replace(guide, image=picture())
        if answer is Answer.SKIP or rig.arm().capture_ns - began_ns > DRIVE_NS:
            rig.hold()
            return False
    return True


def take_by_hand(
    rig: Rig, camera: str, board: Board, guide: Guide, missing: Missing, instruction: str
) -> Procedure[list[View]]:
    """Take a view whenever the board is still and the view differs from all before; until the operator is done."""
    yield from await_board(rig, camera, board, guide)
    views: list[View] = []
    last: View | None = None
    lacks, score = missing(views)
    while True:
        offers = ((Answer.DONE, "finish"),) if not lacks else ()
        told = replace(guide, instruction=instruction, progress=score, score=score, missing=lacks, offers=offers)
        rig.turn()
        frame, state = rig.look(camera), rig.arm()
        detection = board.detect(frame.image)
        answer = yield replace(told, image=drawn(frame.image, detection, [view.detection for view in views]))
        if answer is Answer.DONE and not lacks:
            return views
        if detection is None:
            last = None
            continue
        now = View(detection, state.base_from_tcp, frame.image)
        still = last is not None and moved_px(last.detection, detection) < STILL_PX
        last = now
        if still and not is_similar(detection, [view.detection for view in views]):
            view = yield from look_still(rig, camera, board, replace(told, instruction="Keep still."))
            if view is not None:
                views.append(view)
                lacks, score = missing(views)
