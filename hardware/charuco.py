"""A ChArUco board as OpenCV has it, and its picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.board import BoardConfig


def charuco_board(config: BoardConfig) -> cv2.aruco.CharucoBoard:
    """Return the board as OpenCV's functions take it."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{config.dictionary}"))
    return cv2.aruco.CharucoBoard((config.squares_x, config.squares_y), config.square_m, config.marker_m, dictionary)


def board_picture(config: BoardConfig, pixels_per_square: int, margin: int = 0) -> NDArray[np.uint8]:
    """Return the board as it is printed, (h, w) in grey, with a white margin in pixels."""
    width, height = (count * pixels_per_square + 2 * margin for count in (config.squares_x, config.squares_y))
    drawn = charuco_board(config).generateImage((width, height), marginSize=margin, borderBits=1)
    return np.asarray(drawn, dtype=np.uint8)
