"""How a picture moves while the arm sways, in pixels: of the board's corners or, from the arm, of the whole scene."""

from typing import Protocol

import cv2
import numpy as np

from calibration.board import Board, Detection, Image
from calibration.views import drawn
from hardware.poses import Array

MIN_COMMON = 6
SCENE_WIDTH = 320
"""Whole pictures are compared at this width."""


class PictureMotion(Protocol):
    """Tells by how much pictures are shifted against the first one."""

    def shift(self, image: Image) -> Array | None:
        """Return the shift (2,) in pixels of a picture (height, width, 3), None where it cannot be told."""
        ...

    def marked(self, image: Image) -> Image:
        """Return the last picture with what was found in it."""
        ...


class BoardMotion:
    """The mean shift of the corners that a picture has in common with the first one."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._first: Detection | None = None
        self._last: Detection | None = None

    def shift(self, image: Image) -> Array | None:
        """Return the shift, None if too few of the corners are seen."""
        self._last = seen = self._board.detect(image)
        if seen is None:
            return None
        self._first = self._first or seen
        _, now, first = np.intersect1d(seen.ids, self._first.ids, return_indices=True)
        if len(now) < MIN_COMMON:
            return None
        mean: Array = (seen.pixels[now] - self._first.pixels[first]).mean(axis=0)
        return mean

    def marked(self, image: Image) -> Image:
        """Return the picture with the corners found."""
        return drawn(image, self._last)


class SceneMotion:
    """The shift of the whole picture by phase correlation: for a camera that rides on the arm, above anything still."""

    def __init__(self) -> None:
        self._first: Array | None = None

    def shift(self, image: Image) -> Array:
        """Return the shift."""
        height = round(SCENE_WIDTH * image.shape[0] / image.shape[1])
        small = cv2.resize(image, (SCENE_WIDTH, height), interpolation=cv2.INTER_AREA)
        grey: Array = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.float64)
        if self._first is None:
            self._first = grey
        window = cv2.createHanningWindow((SCENE_WIDTH, height), cv2.CV_64F)
        (x, y), _ = cv2.phaseCorrelate(self._first, grey, window)
        shift: Array = np.array([x, y]) * (image.shape[1] / SCENE_WIDTH)
        return shift

    def marked(self, image: Image) -> Image:
        """Return the picture as it is."""
        return image
