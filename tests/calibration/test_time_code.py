"""Numbers on a screen: every one is read as it was shown, from askew and through noise, and never a wrong one."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.board import Image
from calibration.time_code import HEIGHT, NUMBERS, WIDTH, CodeReader, code_picture

READER = CodeReader()


def seen(picture: Image, corners: list[list[float]], grey: float, seed: int) -> Image:
    """How a camera sees a screen whose corners are at some pixels of its picture."""
    flat = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], dtype=np.float32)
    onto = cv2.getPerspectiveTransform(flat, np.array(corners, dtype=np.float32))
    warped = cv2.warpPerspective(picture, onto, (640, 480), flags=cv2.INTER_AREA, borderValue=(120, 110, 100))
    noisy = 0.7 * warped + 30.0 + np.random.default_rng(seed).normal(0.0, grey, warped.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@settings(max_examples=20)
@given(
    number=st.integers(0, NUMBERS - 1),
    off=st.lists(st.floats(-40.0, 40.0), min_size=8, max_size=8),
    grey=st.floats(0.0, 8.0),
    seed=st.integers(0, 1000),
)
def test_a_number_is_read_as_it_was_shown(number: int, off: list[float], grey: float, seed: int) -> None:
    corners = np.array([[60, 80], [580, 90], [570, 400], [70, 390]]) + np.array(off).reshape(4, 2)
    assert READER.read(seen(code_picture(number), corners.tolist(), grey, seed)) == number


def test_one_marker_may_be_covered() -> None:
    picture = code_picture(437)
    picture[-100:, :110] = 128
    assert READER.read(picture) == 437


@pytest.mark.parametrize("number", [6, 127, 511])
def test_a_picture_of_a_change_is_not_read(number: int) -> None:
    half = cv2.addWeighted(code_picture(number), 0.5, code_picture(number + 1), 0.5, 0.0)
    assert READER.read(np.asarray(half, dtype=np.uint8)) is None


def test_without_a_screen_nothing_is_read() -> None:
    assert READER.read(np.full((480, 640, 3), 90, np.uint8)) is None
