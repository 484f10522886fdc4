"""Views of a board as a camera on an arm has them, from the truth, with noise where that is wanted."""

from dataclasses import dataclass

import numpy as np

from calibration.board import Board, Detection
from calibration.hand_eye import HandEyeView
from hardware.board import BoardConfig
from hardware.cameras.lens import Lens
from hardware.poses import Array, Pose, rotation_matrix

BOARD = Board(BoardConfig())
CENTRE = BOARD.outline.mean(axis=0)
LENS = Lens(640, 480, 600.0, 602.0, 322.0, 236.0, (0.05, -0.08, 0.001, -0.0005, 0.0))
SIZE = (480, 640)


@dataclass(frozen=True)
class Truth:
    """Where the camera is on its link, and the board on the other."""

    link_from_camera: Pose
    other_from_board: Pose


def truth(rng: np.random.Generator) -> Truth:
    """Return any truth."""

    def pose(spread_m: float) -> Pose:
        return Pose(rng.uniform(-spread_m, spread_m, 3), rotation_matrix(rng.uniform(-1.5, 1.5, 3)))

    return Truth(pose(0.2), pose(0.6))


def camera_from_board(rng: np.random.Generator, tilt: float = 0.6, spread: float = 0.08) -> Pose:
    """Return how a camera may see the board."""
    rotation = rotation_matrix(rng.uniform(-tilt, tilt, 3))
    middle = np.array([*rng.uniform(-spread, spread, 2), rng.uniform(0.4, 0.7)])
    return Pose(middle - rotation @ CENTRE, rotation)


def detection(rng: np.random.Generator, pose: Pose, noise_px: float = 0.0, lens: Lens = LENS) -> Detection:
    """Return what is seen of the board within the picture."""
    pixels = BOARD.seen(pose, lens)
    ids = np.flatnonzero(((pixels > 4) & (pixels < [lens.width - 4, lens.height - 4])).all(axis=1))
    return Detection(ids, pixels[ids] + rng.normal(0.0, noise_px, (len(ids), 2)), (lens.height, lens.width))


def views(
    rng: np.random.Generator, true: Truth, count: int, noise_px: float = 0.0, arm_m: float = 0.0, arm_rad: float = 0.0
) -> list[HandEyeView]:
    """Return hand-eye views; `arm_m` and `arm_rad` are the norms' standard deviations of the arm's error."""
    made: list[HandEyeView] = []
    while len(made) < count:
        seen_as = camera_from_board(rng)
        seen = detection(rng, seen_as, noise_px)
        if len(seen.ids) < 10:
            continue
        exact = true.other_from_board @ seen_as.inverse() @ true.link_from_camera.inverse()
        made.append(HandEyeView(seen, disturbed(rng, exact, arm_m, arm_rad)))
    return made


def disturbed(rng: np.random.Generator, pose: Pose, off_m: float, off_rad: float) -> Pose:
    """Return a pose that is a little wrong."""
    share = 1.0 / np.sqrt(3.0)
    shift: Array = rng.normal(0.0, off_m * share, 3)
    return Pose(pose.position + shift, rotation_matrix(rng.normal(0.0, off_rad * share, 3)) @ pose.rotation)
