"""The guided calibrations from beginning to end: intrinsics, hand-eye, and the check whether a camera has moved.

Each is a `Procedure` of calibration/guide.py that returns a `Result`; who writes it where is not decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calibration.board import Board, Image
from calibration.errors import CalibrationError, NotGoodEnoughError
from calibration.files import Calibration, Kind, lens_entry, lens_of, lens_std_px_of, pose_entry, pose_of
from calibration.guide import Answer, Guide, Procedure
from calibration.hand_eye import HandEye, solve_hand_eye
from calibration.intrinsics import Intrinsics, covered_by, largest_difference, solve_intrinsics
from calibration.pictures import contact_sheet, coverage_picture, moved_picture, residual_picture
from calibration.proposals import Sight
from calibration.rig import Rig
from calibration.views import View, drive, hand_eye_views, look_still, take_by_arm, take_by_hand
from hardware.cameras.lens import Lens
from hardware.poses import Array, Pose, rotation_vector

INTRINSICS_VIEWS, HAND_EYE_VIEWS = 24, 36
INTRINSICS_VIEWS_APART, HAND_EYE_VIEWS_APART = 48, 60
"""How many views the arm drives to; a camera that stands apart sees the board smaller, so it takes more to be as exact.
"""
MIN_HAND_EYE_VIEWS = 10
TURNED_RAD = np.radians(8.0)
"""How widely (standard deviation) the arm has to turn about at least two axes for a hand-eye calibration."""
SOLVERS_AGREE_M, SOLVERS_AGREE_RAD = 0.005, np.radians(0.5)
CHECK_POSE = "base_from_tcp_at_check"


@dataclass(frozen=True)
class Result:
    """A calibration, pictures of it by name, and sentences about it."""

    calibration: Calibration
    pictures: Mapping[str, Image] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """How far from where it should be a camera sees the board (median, in pixels), and a picture of that."""

    camera: str
    moved_px: float
    picture: Image

    def sentence(self, hand_eye: Calibration, max_moved_px: float) -> str:
        """Say whether the camera has moved since a calibration."""
        since = f"than on {hand_eye.created_utc[:10]}, when it was calibrated"
        if self.moved_px <= max_moved_px:
            return (
                f"Camera {self.camera} is in place: it sees the board {self.moved_px:.1f} px from where it should be."
            )
        return (
            f"Camera {self.camera}, or the board, has been moved: it sees the board {self.moved_px:.1f} px elsewhere "
            f"{since} (allowed: {max_moved_px:g}); put the board back or calibrate hand-eye anew."
        )


def calibrate_intrinsics(rig: Rig, camera: str, board: Board, software_version: str) -> Procedure[Result]:
    """Calibrate a lens. Raises NotGoodEnoughError, which says what is missing."""
    guide = Guide(f"Intrinsics of camera {camera}", "")

    def missing(views: Sequence[View]) -> tuple[tuple[str, ...], float]:
        covered = covered_by(board, [view.detection for view in views], rig.cameras[camera].factory)
        return covered.missing, covered.score

    if rig.drives:
        wanted = INTRINSICS_VIEWS if rig.cameras[camera].on_arm else INTRINSICS_VIEWS_APART
        views = yield from take_by_arm(rig, camera, board, guide, wanted, missing)
    else:
        words = "Show the board in all parts of the picture, tilted, near and far, and keep still for each view."
        views = yield from take_by_hand(rig, camera, board, guide, missing, words)
    solved = solve_intrinsics(board, [view.detection for view in views])
    return _intrinsics_result(rig, camera, board, views, solved, software_version)


def calibrate_hand_eye(
    rig: Rig, camera: str, board: Board, intrinsics: Calibration, software_version: str
) -> Procedure[Result]:
    """Find where a camera is. Raises NotGoodEnoughError if the views do not tell."""
    guide = Guide(f"Hand-eye of camera {camera}", "")
    lens, on_arm = lens_of(intrinsics), rig.cameras[camera].on_arm

    def missing(views: Sequence[View]) -> tuple[tuple[str, ...], float]:
        return _hand_eye_missing(views)

    if rig.drives:
        wanted = HAND_EYE_VIEWS if on_arm else HAND_EYE_VIEWS_APART
        views = yield from take_by_arm(rig, camera, board, guide, wanted, missing, lens)
    else:
        words = "Guide the arm by hand to views that differ, turn the tool each time, and let it rest for each view."
        views = yield from take_by_hand(rig, camera, board, guide, missing, words)
    if lacks := missing(views)[0]:
        raise NotGoodEnoughError(
            f"The views do not suffice for a hand-eye calibration: missing are {'; '.join(lacks)}."
        )
    _check_size(lens, views[0])
    solved = solve_hand_eye(board, lens, hand_eye_views(views, on_arm), lens_std_px_of(intrinsics))
    return _hand_eye_result(rig, camera, board, views, solved, intrinsics, software_version)


def check_camera(rig: Rig, camera: str, board: Board, hand_eye: Calibration) -> Procedure[Checked]:
    """Look at the board, from where the arm is or else from where it was calibrated, and compare.

    Raises NotGoodEnoughError if the board is not seen.
    """
    guide = Guide(f"Check of camera {camera}", "Looking at the board.")
    lens, on_arm = lens_of(hand_eye), rig.cameras[camera].on_arm
    link, other = ("tcp", "base") if on_arm else ("base", "tcp")
    sight = Sight(lens, pose_of(hand_eye, f"{link}_from_camera"), pose_of(hand_eye, f"{other}_from_board"), on_arm)
    view = yield from look_still(rig, camera, board, guide)
    if view is None and rig.drives:
        offered = replace(
            guide,
            instruction="The board is not seen from here. The arm can drive slowly to where it was calibrated.",
            offers=((Answer.GO, "start: the arm moves"),),
        )
        answer = None
        while answer is not Answer.GO:
            rig.turn()
            answer = yield replace(offered, image=rig.look(camera).image)
        driving = replace(guide, instruction="The arm drives to where it was calibrated.")
        yield from drive(rig, camera, pose_of(hand_eye, CHECK_POSE), driving)
        view = yield from look_still(rig, camera, board, guide)
    if view is None:
        place = "where it lay" if on_arm else "back into the gripper as it was"
        raise NotGoodEnoughError(f"Camera {camera} does not see the board: put it {place} when it was calibrated.")
    _check_size(lens, view)
    expected = board.seen(sight.camera_from_board(view.base_from_tcp), lens)[view.detection.ids]
    off = view.detection.pixels - np.nan_to_num(expected, nan=1e4)
    return Checked(
        camera,
        float(np.median(np.hypot(off[:, 0], off[:, 1]))),
        moved_picture(view.image, np.nan_to_num(expected), view.detection.pixels),
    )


def _check_size(lens: Lens, view: View) -> None:
    if view.detection.size != (lens.height, lens.width):
        height, width = view.detection.size
        raise CalibrationError(
            f"The camera gives {width}x{height} pictures, but its lens was calibrated at {lens.width}x{lens.height}: "
            "calibrate its intrinsics anew."
        )


def _hand_eye_missing(views: Sequence[View]) -> tuple[tuple[str, ...], float]:
    lacks = []
    count = len(views)
    turned = np.zeros(3)
    if count > 2:
        first = views[0].base_from_tcp.rotation
        turns = np.array([rotation_vector(first.T @ view.base_from_tcp.rotation) for view in views])
        turned = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(turns.T)), 0.0))
    if count < MIN_HAND_EYE_VIEWS:
        lacks.append(f"{MIN_HAND_EYE_VIEWS - count} more views")
    if turned[1] < TURNED_RAD:
        lacks.append("views with the tool turned, and tilted to more than one side")
    score = 0.5 * min(1.0, count / MIN_HAND_EYE_VIEWS) + 0.5 * min(1.0, float(turned[1]) / TURNED_RAD)
    return tuple(lacks), score


def _intrinsics_result(
    rig: Rig, camera: str, board: Board, views: Sequence[View], solved: Intrinsics, software_version: str
) -> Result:
    site, lens = rig.cameras[camera], solved.lens
    residuals = {"rms_px": solved.rms_px, "largest_view_px": float(solved.view_px[solved.used].max())}
    values: dict[str, object] = {"lens": lens_entry(lens), "lens_std_px": list(solved.std)}
    sentences = [
        f"Lens of camera {camera}: focal length {lens.fx:.1f} and {lens.fy:.1f} px, centre ({lens.cx:.1f}, "
        f"{lens.cy:.1f}), rms {solved.rms_px:.2f} px over {int(solved.used.sum())} of {len(views)} views."
    ]
    if site.factory is not None:
        residuals["factory_difference_px"] = largest_difference(lens, site.factory)
        values["factory_lens"] = lens_entry(site.factory)
        verdict = "agree" if residuals["factory_difference_px"] < 2.0 else "differ: trust the measured ones"
        sentences.append(
            f"Factory values and measured ones {verdict} (at most {residuals['factory_difference_px']:.1f} px apart)."
        )
    calibration = Calibration(
        Kind.INTRINSICS,
        camera,
        values,
        residuals,
        {
            "used": int(solved.used.sum()),
            "left_out": int((~solved.used).sum()),
            "filled_regions": int((solved.coverage.regions > 0).sum()),
            "regions": int(solved.coverage.regions.size),
            "size_ratio": solved.coverage.size_ratio,
        },
        {"camera": site.serial},
        software_version=software_version,
    )
    off = [_off(board, lens, view, board.pose(view.detection, lens)) for view in views]
    return Result(calibration, _pictures(views, off, solved.view_px, None, solved.used, sentences[0]), tuple(sentences))


def _hand_eye_result(
    rig: Rig,
    camera: str,
    board: Board,
    views: Sequence[View],
    solved: HandEye,
    intrinsics: Calibration,
    software_version: str,
) -> Result:
    site = rig.cameras[camera]
    link, other = ("tcp", "base") if site.on_arm else ("base", "tcp")
    used = int(solved.used.sum())
    positions = np.array([view.base_from_tcp.position for view in views])[solved.used]
    x, y, z = (1000 * solved.link_from_camera.position).tolist()
    sentences = [
        f"{link}_from_camera of {camera}: ({x:.1f}, {y:.1f}, {z:.1f}) mm, rms {solved.rms_px:.2f} px and "
        f"{solved.rms_mm:.2f} mm over {used} of {len(views)} views; expected error {1000 * solved.std_m:.2f} mm and "
        f"{np.degrees(solved.std_rad):.3f} degrees."
    ]
    apart = {
        name: off for name, off in solved.solvers.items() if off[0] > SOLVERS_AGREE_M or off[1] > SOLVERS_AGREE_RAD
    }
    if apart:
        words = ", ".join(
            f"{name} by {1000 * m:.1f} mm, {np.degrees(rad):.2f} degrees" for name, (m, rad) in apart.items()
        )
        sentences.append(f"Closed-form solvers that disagree: {words}; more views with more turning would settle it.")
    calibration = Calibration(
        Kind.HAND_EYE,
        camera,
        {
            f"{link}_from_camera": pose_entry(solved.link_from_camera),
            f"{other}_from_board": pose_entry(solved.other_from_board),
            CHECK_POSE: pose_entry(views[int(np.argmax(solved.used))].base_from_tcp),
            "lens": lens_entry(solved.lens),
            "intrinsics": intrinsics.hash,
        },
        {
            "rms_px": solved.rms_px,
            "rms_mm": solved.rms_mm,
            "expected_error_mm": 1000 * solved.std_m,
            "expected_error_deg": float(np.degrees(solved.std_rad)),
        },
        {
            "used": used,
            "left_out": len(views) - used,
            "spread_m": float(np.linalg.norm(positions.std(axis=0))),
            "solvers": {
                name: {"mm": 1000 * m, "deg": float(np.degrees(rad))} for name, (m, rad) in solved.solvers.items()
            },
        },
        {"camera": site.serial},
        software_version=software_version,
    )
    sight = Sight(solved.lens, solved.link_from_camera, solved.other_from_board, site.on_arm)
    off = [_off(board, solved.lens, view, sight.camera_from_board(view.base_from_tcp)) for view in views]
    pictures = _pictures(views, off, solved.view_px, solved.view_mm, solved.used, sentences[0])
    return Result(calibration, pictures, tuple(sentences))


def _off(board: Board, lens: Lens, view: View, camera_from_board: Pose) -> Array:
    return view.detection.pixels - board.seen(camera_from_board, lens)[view.detection.ids]


def _pictures(
    views: Sequence[View],
    off: Sequence[Array],
    view_px: Array,
    view_mm: Array | None,
    used: NDArray[np.bool_],
    sentence: str,
) -> dict[str, Image]:
    detections = [view.detection for view in views]
    labels = [
        f"{i}: {len(d.ids)} corners, {px:.2f} px" for i, (d, px) in enumerate(zip(detections, view_px, strict=True), 1)
    ]
    title = sentence.split(":", maxsplit=1)[0]
    return {
        "views": contact_sheet([view.image for view in views], detections, labels, used),
        "coverage": coverage_picture(detections, off, used, f"{title}: corners, residuals x 50"),
        "residuals": residual_picture(view_px, view_mm, used, title),
    }
