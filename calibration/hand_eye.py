"""Hand-eye calibration: where a camera is on the arm, or before it, from views of a board at known poses of the arm.

One equation for both mounts. A camera rides on a `link`: the TCP or, if it stands still, the base. The board rides on
the `other` of the two. Then for every view

    camera_from_board = link_from_camera^-1  other_from_link^-1  other_from_board

with other_from_link read from the arm, and the constants link_from_camera and other_from_board sought. Closed-form
solvers (Tsai, Park, Horaud, Andreff, Daniilidis; Shah and Li for both constants at once) give starts and are checked
against each other; the reprojection error in pixels decides, and is minimised (Tabb and Ahmad Yousef, "Solving the
robot-world hand-eye(s) calibration problem with iterative methods", 2017).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from calibration.board import Board, Detection
from calibration.errors import NotGoodEnoughError
from hardware.cameras.lens import Lens
from hardware.poses import Array, Pose, rotation_matrix, rotation_vector

MIN_VIEWS = 5
OUTLIER_FACTOR, OUTLIER_FLOOR_PX = 4.0, 0.5
"""A view is an outlier whose error is so many times the middle one's, and not small."""
ROBUST_PX = 1.0
PRIOR_PX = 1.0
"""By how many pixels of one corner a standard deviation of the lens counts: a view's corners err together."""
CONFUSED_PX = 20.0
"""No better than this, and views and arm poses do not belong together at all."""

HAND_EYE = {
    "Tsai": cv2.CALIB_HAND_EYE_TSAI,
    "Park": cv2.CALIB_HAND_EYE_PARK,
    "Horaud": cv2.CALIB_HAND_EYE_HORAUD,
    "Andreff": cv2.CALIB_HAND_EYE_ANDREFF,
    "Daniilidis": cv2.CALIB_HAND_EYE_DANIILIDIS,
}
ROBOT_WORLD = {
    "Shah": cv2.CALIB_ROBOT_WORLD_HAND_EYE_SHAH,
    "Li": cv2.CALIB_ROBOT_WORLD_HAND_EYE_LI,
}


@dataclass(frozen=True)
class HandEyeView:
    """What a camera saw of the board, and other_from_link at that time."""

    detection: Detection
    other_from_link: Pose


@dataclass(frozen=True)
class HandEye:
    """A hand-eye calibration.

    `used` (n,) tells the views that count; `view_px` and `view_mm` (n,) are every view's rms error in the picture and
    on the board; `rms_px` and `rms_mm` those of the used ones.
    `std_m` and `std_rad` are the expected errors of link_from_camera (norms of standard deviations), from how far the
    views disagree. `solvers` says by how much (m, rad) each closed-form solver's link_from_camera differs.
    """

    link_from_camera: Pose
    other_from_board: Pose
    lens: Lens
    used: NDArray[np.bool_]
    view_px: Array
    view_mm: Array
    rms_px: float
    rms_mm: float
    std_m: float
    std_rad: float
    solvers: Mapping[str, tuple[float, float]]


def solve_hand_eye(
    board: Board, lens: Lens, views: Sequence[HandEyeView], lens_std_px: Sequence[float] | None = None
) -> HandEye:
    """Return the calibration of at least `MIN_VIEWS` views in which the arm turned about two axes.

    With `lens_std_px`, the standard deviations of fx, fy, cx, cy, these are refined along with it: the arm's motions
    tell them, too, and a lens that is a little wrong would shift the camera along its axis. Raises NotGoodEnoughError
    if the views do not suffice or do not belong together.
    """
    if len(views) < MIN_VIEWS:
        raise NotGoodEnoughError(
            f"{len(views)} views are too few for a hand-eye calibration: take {MIN_VIEWS} or more."
        )
    problem = _Problem(board, lens, views, lens_std_px)
    used = _congruent(problem)
    starts = _closed_forms(problem, used)
    if not starts:
        raise NotGoodEnoughError("The views are too similar for a hand-eye calibration: turn the arm about two axes.")
    middle = [float(np.median(problem.view_px(start, lens)[used])) for start in starts.values()]
    solution = list(starts.values())[int(np.argmin(middle))]
    solution, _ = problem.refined(solution, used, robust=True)
    used = _inliers(problem.view_px(solution, lens))
    for _ in range(5):
        solution, lens = problem.refined(solution, used)
        again = _inliers(problem.view_px(solution, lens))
        if (again == used).all():
            break
        used = again
    view_px = problem.view_px(solution, lens)
    if used.sum() < MIN_VIEWS or np.median(view_px[used]) > CONFUSED_PX:
        raise NotGoodEnoughError(
            "The views do not agree with the arm's poses: check that the board is fixed, that the arm stood still, and "
            "that the configuration says rightly whether the camera rides on the arm."
        )
    view_mm = problem.view_mm(solution, lens)
    std_m, std_rad = problem.deviations(solution, lens, used)
    link_from_camera, other_from_board = _poses(solution)
    closed = {name: _poses(start)[0] for name, start in _closed_forms(problem, used).items()}
    return HandEye(
        link_from_camera,
        other_from_board,
        lens,
        used,
        view_px,
        view_mm,
        float(np.sqrt(np.mean(view_px[used] ** 2))),
        float(np.sqrt(np.mean(view_mm[used] ** 2))),
        std_m,
        std_rad,
        {name: difference(pose, link_from_camera) for name, pose in closed.items()},
    )


def difference(a: Pose, b: Pose) -> tuple[float, float]:
    """Return how far two poses are apart, in m and rad."""
    turn = rotation_vector(a.rotation.T @ b.rotation)
    return float(np.linalg.norm(a.position - b.position)), float(np.linalg.norm(turn))


class _Problem:
    """All corners of all views in arrays. A solution (12,) is link_from_camera, other_from_board: position, vector."""

    def __init__(
        self, board: Board, lens: Lens, views: Sequence[HandEyeView], lens_std_px: Sequence[float] | None
    ) -> None:
        self.board, self.views, self._lens = board, views, lens
        self._std = np.array([] if lens_std_px is None else lens_std_px)
        self.camera_from_board = [board.pose(view.detection, lens) for view in views]
        self._of = np.concatenate([np.full(len(view.detection.ids), i) for i, view in enumerate(views)])
        self._points = np.concatenate([board.corners[view.detection.ids] for view in views])
        self._pixels = np.concatenate([view.detection.pixels for view in views])
        link_from_other = [view.other_from_link.inverse() for view in views]
        self._turns = np.array([pose.rotation for pose in link_from_other])[self._of]
        self._places = np.array([pose.position for pose in link_from_other])[self._of]

    def residuals(self, solution: Array, lens: Lens) -> Array:
        """Return seen minus expected pixels (m, 2); 1e3 where a point would be behind the camera."""
        link_from_camera, other_from_board = _poses(solution)
        in_other = self._points @ other_from_board.rotation.T + other_from_board.position
        in_link = np.einsum("nij,nj->ni", self._turns, in_other) + self._places
        in_camera = (in_link - link_from_camera.position) @ link_from_camera.rotation
        off: Array = np.nan_to_num(self._pixels - lens.project(in_camera), nan=1e3)
        return np.clip(off, -1e3, 1e3)

    def view_px(self, solution: Array, lens: Lens) -> Array:
        """Return the rms error of every view in pixels."""
        squares = (self.residuals(solution, lens) ** 2).sum(axis=1)
        count = np.bincount(self._of, minlength=len(self.views))
        rms: Array = np.sqrt(np.bincount(self._of, squares, minlength=len(self.views)) / count)
        return rms

    def view_mm(self, solution: Array, lens: Lens) -> Array:
        """Return the rms error of every view on the board, in mm: pixels over the focal length, at its distance."""
        link_from_camera, other_from_board = _poses(solution)
        middle = other_from_board @ Pose(self.board.outline.mean(axis=0), np.eye(3))
        depths = [
            (link_from_camera.inverse() @ view.other_from_link.inverse() @ middle).position[2] for view in self.views
        ]
        off_mm: Array = 1000.0 * self.view_px(solution, lens) * np.array(depths) / lens.fx
        return off_mm

    def refined(self, solution: Array, used: NDArray[np.bool_], *, robust: bool = False) -> tuple[Array, Lens]:
        """Return the solution, and lens, that minimise the reprojection error of the used views."""
        start = np.concatenate([solution, np.zeros(len(self._std))])
        loss: Literal["soft_l1", "linear"] = "soft_l1" if robust else "linear"
        found = least_squares(self._cost(used), start, loss=loss, f_scale=ROBUST_PX, x_scale="jac", max_nfev=100)
        return found.x[:12], self._shifted(found.x[12:])

    def deviations(self, solution: Array, lens: Lens, used: NDArray[np.bool_]) -> tuple[float, float]:
        """Return the expected error of link_from_camera (m, rad).

        A view's corners are wrong together, as the arm's pose is wrong for all of them; so the covariance is that of
        independent views, not corners (the clustered sandwich estimator), each with six degrees of freedom.
        """
        shift = np.array(
            [lens.fx - self._lens.fx, lens.fy - self._lens.fy, lens.cx - self._lens.cx, lens.cy - self._lens.cy]
        )
        shift = shift[: len(self._std)] / self._std
        cost = self._cost(used)
        found = least_squares(cost, np.concatenate([solution, shift]), max_nfev=1)
        residuals, jacobian = cost(found.x), np.asarray(found.jac)
        of = np.concatenate([np.repeat(self._of[used[self._of]], 2), -1 - np.arange(len(self._std))])
        slopes = [jacobian[of == i].T @ residuals[of == i] for i in np.unique(of)]
        freedom, unknown = 6 * int(used.sum()), 12
        bread = np.linalg.pinv(jacobian.T @ jacobian)
        meat = sum(np.outer(slope, slope) for slope in slopes) * freedom / max(freedom - unknown, 1)
        prior = np.zeros_like(meat)
        np.fill_diagonal(prior[12:, 12:], PRIOR_PX**2)
        variances = np.diag(bread @ (meat + prior) @ bread)
        return float(np.sqrt(variances[:3].sum())), float(np.sqrt(variances[3:6].sum()))

    def _cost(self, used: NDArray[np.bool_]) -> Callable[[Array], Array]:
        """Return the residuals (k,) of the used views, and of the lens against what is known of it, as a function."""
        counts = used[self._of]

        def cost(parameters: Array) -> Array:
            off = self.residuals(parameters[:12], self._shifted(parameters[12:]))[counts].ravel()
            return np.concatenate([off, PRIOR_PX * parameters[12:]])

        return cost

    def _shifted(self, shift: Array) -> Lens:
        """Return the lens with fx, fy, cx, cy shifted by so many of their standard deviations."""
        if not len(shift):
            return self._lens
        lens = self._lens
        fx, fy, cx, cy = (np.array([lens.fx, lens.fy, lens.cx, lens.cy]) + shift * self._std).tolist()
        return replace(lens, fx=fx, fy=fy, cx=cx, cy=cy)


def _poses(solution: Array) -> tuple[Pose, Pose]:
    return (
        Pose(solution[:3], rotation_matrix(solution[3:6])),
        Pose(solution[6:9], rotation_matrix(solution[9:12])),
    )


def _solution(link_from_camera: Pose, other_from_board: Pose) -> Array:
    both = (link_from_camera, other_from_board)
    return np.concatenate([part for pose in both for part in (pose.position, rotation_vector(pose.rotation))])


def _inliers(view_px: Array) -> NDArray[np.bool_]:
    inliers: NDArray[np.bool_] = view_px <= max(OUTLIER_FACTOR * float(np.median(view_px)), OUTLIER_FLOOR_PX)
    return inliers


def _congruent(problem: _Problem) -> NDArray[np.bool_]:
    """Return which views fit most others: between two views, arm and board turn by the same angle whatever the mount.

    Source: the screw congruence theorem (Chen, "A screw motion approach to uniqueness analysis of head-eye geometry",
    CVPR 1991).
    """
    arm = [view.other_from_link.rotation for view in problem.views]
    board = [pose.rotation for pose in problem.camera_from_board]
    off = np.array(
        [
            [abs(_angle(a.T @ b) - _angle(c.T @ d)) for b, d in zip(arm, board, strict=True)]
            for a, c in zip(arm, board, strict=True)
        ]
    )
    middle = np.median(off, axis=1)
    fits: NDArray[np.bool_] = middle <= max(4.0 * float(np.median(middle)), np.radians(0.5))
    return fits if fits.sum() >= MIN_VIEWS else np.ones(len(arm), dtype=np.bool_)


def _angle(rotation: Array) -> float:
    return float(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0)))


def _closed_forms(problem: _Problem, used: NDArray[np.bool_]) -> dict[str, Array]:
    """Return every closed-form solver's solution; those that fail or give no rotation are left out."""
    chosen = np.flatnonzero(used).tolist()
    arm = [problem.views[i].other_from_link for i in chosen]
    board = [problem.camera_from_board[i] for i in chosen]
    link_from_other = [pose.inverse() for pose in arm]
    solutions: dict[str, Array] = {}
    for name, method in HAND_EYE.items():
        try:
            turn, place = cv2.calibrateHandEye(*_split(arm), *_split(board), method=method)
        except cv2.error:
            continue
        _keep(solutions, name, turn, place, arm, board)
    for name, method in ROBOT_WORLD.items():
        try:
            _, _, turn, place = cv2.calibrateRobotWorldHandEye(*_split(board), *_split(link_from_other), method=method)
        except cv2.error:
            continue
        camera_from_link = Pose(np.ravel(place).astype(np.float64), np.asarray(turn, dtype=np.float64))
        link_from_camera = camera_from_link.inverse()
        _keep(solutions, name, link_from_camera.rotation, link_from_camera.position, arm, board)
    return solutions


def _split(poses: Sequence[Pose]) -> tuple[list[Array], list[Array]]:
    return [pose.rotation for pose in poses], [pose.position for pose in poses]


def _keep(
    solutions: dict[str, Array], name: str, turn: Any, place: Any, arm: Sequence[Pose], board: Sequence[Pose]
) -> None:
    turn, place = np.asarray(turn, dtype=np.float64), np.asarray(place, dtype=np.float64).ravel()
    if not (np.isfinite(turn).all() and np.isfinite(place).all()) or abs(np.linalg.det(turn) - 1.0) > 0.1:
        return
    u, _, vt = np.linalg.svd(turn)
    camera = Pose(place, u @ vt)
    placed = [
        other_from_link @ camera @ camera_from_board
        for other_from_link, camera_from_board in zip(arm, board, strict=True)
    ]
    solutions[name] = _solution(camera, middle_pose(placed))


def middle_pose(poses: Sequence[Pose]) -> Pose:
    """Return the pose in the middle of some: medians of their positions, the rotation nearest to all of theirs."""
    u, _, vt = np.linalg.svd(np.sum([pose.rotation for pose in poses], axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return Pose(np.median([pose.position for pose in poses], axis=0), rotation)
