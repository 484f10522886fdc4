"""The board: what is printed has its size, and what is seen of it tells where it is."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from calibration.board import Board, Detection, print_board
from calibration.errors import CalibrationError
from hardware.board import BoardConfig
from hardware.cameras.lens import Lens, guessed_lens
from hardware.charuco import board_picture
from hardware.poses import Pose, rotation_matrix, rotation_vector

BOARD = Board(BoardConfig())
MM_PER_INCH = 25.4


def test_the_printed_png_has_its_size(tmp_path: Path) -> None:
    said = print_board(BoardConfig(), tmp_path / "new" / "board.png")
    with Image.open(tmp_path / "new" / "board.png") as picture:
        dark = np.argwhere(np.asarray(picture) < 128)
        dpi = float(picture.info["dpi"][0])
    height, width = dark.max(axis=0) - dark.min(axis=0) + 1
    assert width / dpi * MM_PER_INCH == pytest.approx(252.0, abs=0.1)
    assert height / dpi * MM_PER_INCH == pytest.approx(180.0, abs=0.1)
    assert "252 x 180 mm" in said


def test_the_printed_pdf_has_its_size_and_fits_on_a4_and_letter(tmp_path: Path) -> None:
    print_board(BoardConfig(), tmp_path / "board.pdf")
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", (tmp_path / "board.pdf").read_bytes())
    assert box is not None
    width, height = (float(points) / 72 * MM_PER_INCH for points in box.groups())
    assert (width, height) == pytest.approx((268.0, 196.0), abs=0.3)
    assert width < 279.0
    assert height < 210.0


def test_a_file_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"should end in \.pdf or \.png"):
        print_board(BoardConfig(), tmp_path / "board.svg")


def test_the_flat_picture_shows_all_corners_where_they_are() -> None:
    grey = board_picture(BoardConfig(), 72, 40)
    seen = BOARD.detect(np.repeat(grey[..., None], 3, axis=2))
    assert seen is not None
    assert sorted(seen.ids.tolist()) == list(range(24))
    expected = BOARD.corners[seen.ids, :2] / 0.036 * 72 + 40 - 0.5
    np.testing.assert_allclose(seen.pixels, expected, atol=0.1)


def test_no_board_is_none() -> None:
    assert BOARD.detect(np.full((480, 640, 3), 200, np.uint8)) is None


@given(
    turn=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    place=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.4, 0.9)),
    k1=st.floats(-0.1, 0.1),
)
@settings(max_examples=30)
def test_the_pose_that_made_a_view_is_found(
    turn: tuple[float, float, float], place: tuple[float, float, float], k1: float
) -> None:
    guess = guessed_lens(640, 480)
    lens = Lens(640, 480, guess.fx, guess.fy, guess.cx, guess.cy, (k1, 0.0, 0.001, -0.001, 0.0))
    pose = Pose(np.array(place) - [0.126, 0.09, 0.0], rotation_matrix(np.array(turn)))
    seen = BOARD.seen(pose, lens)
    found = BOARD.pose(Detection(np.arange(24), seen, (480, 640)), lens)
    np.testing.assert_allclose(found.position, pose.position, atol=1e-5)
    np.testing.assert_allclose(rotation_vector(found.rotation.T @ pose.rotation), 0.0, atol=1e-4)
