"""Camera intrinsics from views of the board (Zhang, "A flexible new technique for camera calibration", 2000).

Two radial and the tangential distortion coefficients are estimated; the third radial one stays zero, as views that
do not reach into the corners let it run wild.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.board import Board, Detection
from calibration.coverage import NOTHING, Coverage, coverage
from calibration.errors import NotGoodEnoughError
from hardware.cameras.lens import Lens, guessed_lens
from hardware.poses import Array

OUTLIER_FACTOR, OUTLIER_FLOOR_PX = 3.0, 0.3
CORRELATED = 3.0
"""The true errors of a lens are so many times what OpenCV's standard deviations say, as measured in the simulated cell:
they take the errors of a view's corners for independent."""
ROUGH = (
    cv2.CALIB_FIX_PRINCIPAL_POINT
    | cv2.CALIB_FIX_ASPECT_RATIO
    | cv2.CALIB_ZERO_TANGENT_DIST
    | cv2.CALIB_FIX_K1
    | cv2.CALIB_FIX_K2
    | cv2.CALIB_FIX_K3
    | cv2.CALIB_USE_INTRINSIC_GUESS
)


@dataclass(frozen=True)
class Intrinsics:
    """A lens and how good it is: `view_px` (n,) is every view's rms error, `rms_px` that of the `used` (n,) ones.

    `std` are the standard deviations of fx, fy, cx, cy in pixels.
    """

    lens: Lens
    used: NDArray[np.bool_]
    view_px: Array
    rms_px: float
    std: tuple[float, float, float, float]
    coverage: Coverage


def solve_intrinsics(board: Board, detections: Sequence[Detection]) -> Intrinsics:
    """Return the lens that fits views best. Raises NotGoodEnoughError, which says what is missing."""
    sizes = {detection.size for detection in detections}
    if len(sizes) > 1:
        raise NotGoodEnoughError(f"The pictures have {len(sizes)} different sizes: take all of them anew.")
    if missing := covered_by(board, detections).missing:
        raise NotGoodEnoughError(f"The views do not suffice to calibrate the lens: missing are {'; '.join(missing)}.")
    used = np.ones(len(detections), dtype=np.bool_)
    for _ in range(5):
        lens, std = _fit(board, list(compress(detections, used)))
        view_px = np.array([_rms(board, lens, detection) for detection in detections])
        again = view_px <= max(OUTLIER_FACTOR * float(np.median(view_px)), OUTLIER_FLOOR_PX)
        if (again == used).all():
            break
        used = again
    rest = coverage(board, lens, list(compress(detections, used)))
    if rest.missing:
        raise NotGoodEnoughError(
            f"{int((~used).sum())} of {len(used)} views do not fit (a bent board, or it moved); without them these are "
            f"missing: {'; '.join(rest.missing)}."
        )
    return Intrinsics(lens, used, view_px, float(np.sqrt(np.mean(view_px[used] ** 2))), std, rest)


def covered_by(board: Board, detections: Sequence[Detection], known: Lens | None = None) -> Coverage:
    """Return what views cover; a `known` lens is where guessing begins."""
    return coverage(board, rough_lens(board, detections, known), detections) if detections else NOTHING


def rough_lens(board: Board, detections: Sequence[Detection], known: Lens | None = None) -> Lens:
    """Return a lens without distortion, its one focal length from the views, or a guess where they do not tell it."""
    height, width = detections[0].size
    start = known or guessed_lens(width, height)
    points = [board.corners[detection.ids].astype(np.float32) for detection in detections]
    pixels = [detection.pixels.astype(np.float32) for detection in detections]
    try:
        _, matrix, _, _, _ = cv2.calibrateCamera(
            points, pixels, (width, height), start.matrix, np.zeros(5), flags=ROUGH
        )
    except cv2.error:
        return start
    focal = float(np.asarray(matrix)[0, 0])
    if not 0.3 * width < focal < 5.0 * width:
        return start
    return Lens(width, height, focal, focal, start.cx, start.cy)


def largest_difference(a: Lens, b: Lens) -> float:
    """Return how far apart, at most, two lenses see the same direction, in pixels of `a`, over all of its picture.

    The camera may turn between the two, as that is what a hand-eye calibration would make up for.
    """
    u, v = np.meshgrid(np.linspace(0, a.width - 1, 15), np.linspace(0, a.height - 1, 11))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1)
    rays = cv2.undistortPoints(pixels[:, None], a.matrix, np.array(a.distortion)).reshape(-1, 2)
    scale = np.array([a.width / b.width, a.height / b.height])
    seen = (b.project(np.column_stack([rays, np.ones(len(rays))])) + 0.5) * scale - 0.5
    off = seen - pixels
    slope = np.column_stack([np.ones(len(rays)), rays])
    # A small turn shifts every pixel about alike, and turns the picture: take off what is the same for all.
    off = off - off.mean(axis=0)
    spin = float((slope[:, 1] * off[:, 1] - slope[:, 2] * off[:, 0]).sum() / (slope[:, 1:] ** 2).sum())
    off = off - spin * np.column_stack([-slope[:, 2], slope[:, 1]])
    return float(np.hypot(off[:, 0], off[:, 1]).max())


def _fit(board: Board, detections: Sequence[Detection]) -> tuple[Lens, tuple[float, float, float, float]]:
    height, width = detections[0].size
    points = [board.corners[detection.ids].astype(np.float32) for detection in detections]
    pixels = [detection.pixels.astype(np.float32) for detection in detections]
    start = rough_lens(board, detections)
    _, matrix, distortion, _, _, std, _, _ = cv2.calibrateCameraExtended(
        points,
        pixels,
        (width, height),
        start.matrix,
        np.zeros(5),
        flags=cv2.CALIB_FIX_K3 | cv2.CALIB_USE_INTRINSIC_GUESS,
    )
    matrix = np.asarray(matrix, dtype=np.float64)
    k1, k2, p1, p2, k3 = np.ravel(distortion)[:5].tolist()
    lens = Lens(
        width,
        height,
        float(matrix[0, 0]),
        float(matrix[1, 1]),
        float(matrix[0, 2]),
        float(matrix[1, 2]),
        (k1, k2, p1, p2, k3),
    )
    sx, sy, cx, cy = (CORRELATED * np.ravel(std)[:4]).tolist()
    return lens, (sx, sy, cx, cy)


def _rms(board: Board, lens: Lens, detection: Detection) -> float:
    off = board.seen(board.pose(detection, lens), lens)[detection.ids] - detection.pixels
    return float(np.sqrt((off**2).sum(axis=1).mean()))
