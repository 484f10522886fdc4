"""The ChArUco board: its corners in metres, finding them in a picture, and printing it to scale.

Frame `board`: origin at the outer corner of the first square, x along the columns and y down the rows as printed, so
z points away from whoever looks at the print. Pixel coordinates: the first pixel's centre is (0, 0), as in OpenCV.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from hardware.board import BoardConfig
from hardware.cameras.lens import Lens
from hardware.charuco import board_picture, charuco_board
from hardware.poses import Array, Pose

Image = NDArray[np.uint8]
MIN_CORNERS = 6
"""Fewer tell no pose."""
MM_PER_INCH = 25.4
PRINT_DPI = 300
MARGIN_M = 0.008
OPENCV = tuple(map(int, cv2.__version__.split(".")[:2]))
TOO_FAR_PX = 0.0 if OPENCV >= (4, 14) else 0.5
"""How far OpenCV finds the board's corners to the right and down: before 4.14 it counted from a pixel's corner."""


@dataclass(frozen=True)
class Detection:
    """Corners seen in a picture of `size` (height, width): their numbers `ids` (n,) and `pixels` (n, 2) as x, y."""

    ids: NDArray[np.int64]
    pixels: Array
    size: tuple[int, int]


class Board:
    """A board of a configuration."""

    def __init__(self, config: BoardConfig) -> None:
        self.config = config
        board = charuco_board(config)
        self._detector = cv2.aruco.CharucoDetector(board)
        corners: Array = np.asarray(board.getChessboardCorners(), dtype=np.float64)
        self.corners = corners
        """All inner corners (n, 3) in the board's frame, in m, by number."""

    @property
    def outline(self) -> Array:
        """The four outer corners (4, 3) of the chessboard in the board's frame."""
        w, h = self.config.size_m
        return np.array([[0.0, 0.0, 0.0], [w, 0.0, 0.0], [w, h, 0.0], [0.0, h, 0.0]])

    def detect(self, image: Image) -> Detection | None:
        """Find the board in a picture (height, width, 3) RGB, sub-pixel; None if too little of it is seen."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        pixels, ids, _, _ = self._detector.detectBoard(grey)
        if ids is None or len(ids) < MIN_CORNERS:
            return None
        found: Any = np.asarray(ids).ravel().astype(np.int64)
        points = np.asarray(pixels, dtype=np.float64).reshape(-1, 2) - TOO_FAR_PX
        if len(set((found % (self.config.squares_x - 1)).tolist())) < 2:
            return None  # all on one line
        if len(set((found // (self.config.squares_x - 1)).tolist())) < 2:
            return None
        return Detection(found, points, (image.shape[0], image.shape[1]))

    def pose(self, detection: Detection, lens: Lens) -> Pose:
        """Return camera_from_board that fits best a detection by a lens (IPPE, then Levenberg-Marquardt)."""
        points, matrix, distortion = self.corners[detection.ids], lens.matrix, np.array(lens.distortion)
        _, turns, places, errors = cv2.solvePnPGeneric(
            points, detection.pixels, matrix, distortion, flags=cv2.SOLVEPNP_IPPE
        )
        best = int(np.argmin(np.ravel(errors)))
        turn, place = cv2.solvePnPRefineLM(points, detection.pixels, matrix, distortion, turns[best], places[best])
        rotation, _ = cv2.Rodrigues(turn)
        return Pose(np.ravel(place).astype(np.float64), np.asarray(rotation, dtype=np.float64))

    def seen(self, camera_from_board: Pose, lens: Lens) -> Array:
        """Return the pixels (n, 2) of all corners by number; NaN for those behind the camera."""
        return lens.project(self.corners @ camera_from_board.rotation.T + camera_from_board.position)


def print_board(board: BoardConfig, path: Path) -> str:
    """Write the board to scale as PDF or PNG; return a sentence about its size. Raises CalibrationError."""
    from PIL import Image as Pictures

    if path.suffix.lower() not in (".pdf", ".png"):
        raise CalibrationError(f"{path} should end in .pdf or .png.")
    square_px = round(board.square_m * 1000 / MM_PER_INCH * PRINT_DPI)
    dpi = square_px / (board.square_m * 1000 / MM_PER_INCH)
    margin = round(MARGIN_M * 1000 / MM_PER_INCH * dpi)
    picture = board_picture(board, square_px, margin)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".pdf":
            Pictures.fromarray(picture).convert("1", dither=Pictures.Dither.NONE).save(path, resolution=dpi)
        else:
            Pictures.fromarray(picture).save(path, dpi=(dpi, dpi))
    except OSError as error:
        raise CalibrationError(f"{path} cannot be written ({error.strerror}); choose another place.") from error
    width, height = (1000 * side for side in board.size_m)
    return (
        f"{path}: {board.squares_x} x {board.squares_y} squares of {1000 * board.square_m:g} mm. "
        f"Print it at 100 %, without fitting to the page; the chessboard then measures {width:g} x {height:g} mm. "
        "Measure it, glue it to something flat, and set calibration.board.square_m to what you measured."
    )
