"""A number on a screen that a camera reads: between four markers, bits as black and white cells.

As it is known when each number was shown, it is known when a picture was captured, without the arm.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from calibration.board import Image
from hardware.poses import Array

BITS = 10
NUMBERS = 1 << BITS
COLUMNS, ROWS, CELL_PX = 4, 3, 80
MARKER_PX, MARGIN_PX = 96, 24
WIDTH, HEIGHT = 2 * (MARKER_PX + 2 * MARGIN_PX) + COLUMNS * CELL_PX, 2 * MARGIN_PX + ROWS * CELL_PX
DICTIONARY = cv2.aruco.DICT_6X6_50
CLEAR = 0.2
"""A cell nearer than this to the middle between black and white was caught while it changed."""


def code_picture(number: int) -> Image:
    """Return the picture of a number below `NUMBERS`; neighbours differ in one cell (Gray code)."""
    picture = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    markers = cv2.aruco.getPredefinedDictionary(DICTIONARY)
    for i, (x, y) in enumerate(_marker_places()):
        picture[y : y + MARKER_PX, x : x + MARKER_PX] = cv2.aruco.generateImageMarker(markers, i, MARKER_PX)
    for white, (x, y) in zip(_cells(number), _cell_places(), strict=True):
        picture[y : y + CELL_PX, x : x + CELL_PX] = 255 if white else 0
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), dtype=np.uint8)


class CodeReader:
    """Reads numbers in pictures."""

    def __init__(self) -> None:
        self._detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(DICTIONARY))

    def read(self, image: Image) -> int | None:
        """Return the number in a picture (height, width, 3) RGB; None if it is not seen, or was about to change."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        found, ids, _ = self._detector.detectMarkers(grey)
        numbered = dict(zip(np.ravel(ids).tolist(), found, strict=True)) if ids is not None else {}
        known = [i for i in range(4) if i in numbered]
        if len(known) < 3:
            return None
        square = MARKER_PX * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        drawn = np.concatenate([np.array(_marker_places()[i]) + square for i in known]) - 0.5
        seen = np.concatenate([numbered[i].reshape(4, 2) for i in known])
        onto: Array = np.asarray(cv2.findHomography(drawn.astype(np.float64), seen.astype(np.float64))[0], np.float64)
        if onto.shape != (3, 3):
            return None
        levels = self._levels(np.asarray(grey, np.uint8), onto)
        black, white = float(levels[0]), float(levels[-1])
        if white - black < 20.0:
            return None
        shares = (levels[1:-1] - black) / (white - black)
        if (np.abs(shares - 0.5) < CLEAR).any():
            return None
        return _number([share > 0.5 for share in shares.tolist()])

    @staticmethod
    def _levels(grey: Image, onto: Array) -> Array:
        """Return the brightness of every cell's middle."""
        middles = np.array(_cell_places(), dtype=np.float64) + CELL_PX / 2
        reach = CELL_PX / 5 * np.array([(x, y) for x in (-1.0, 0.0, 1.0) for y in (-1.0, 0.0, 1.0)])
        points = (middles[:, None] + reach[None]).reshape(-1, 1, 2)
        places = cv2.perspectiveTransform(points, onto).reshape(-1, 2).astype(np.float32)
        values = cv2.remap(grey, places[:, :1], places[:, 1:], cv2.INTER_LINEAR)
        levels: Array = values.reshape(len(middles), -1).mean(axis=1)
        return levels


def _cells(number: int) -> list[bool]:
    """Return the cells of a number: one that is black, the bits of its Gray code, one that is white."""
    gray = number ^ number >> 1
    return [False, *(bool(gray >> bit & 1) for bit in range(BITS)), True]


def _number(bits: Sequence[bool]) -> int:
    gray = sum(1 << bit for bit, is_set in enumerate(bits) if is_set)
    number = 0
    while gray:
        number ^= gray
        gray >>= 1
    return number


def _marker_places() -> list[tuple[int, int]]:
    """Return the upper left corners of the markers."""
    right, low = WIDTH - MARGIN_PX - MARKER_PX, HEIGHT - MARGIN_PX - MARKER_PX
    return [(MARGIN_PX, MARGIN_PX), (right, MARGIN_PX), (right, low), (MARGIN_PX, low)]


def _cell_places() -> list[tuple[int, int]]:
    left = MARKER_PX + 2 * MARGIN_PX
    return [(left + CELL_PX * column, MARGIN_PX + CELL_PX * row) for row in range(ROWS) for column in range(COLUMNS)]
