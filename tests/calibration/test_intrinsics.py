"""Intrinsics against the truth, and refusals that say what is missing."""

from dataclasses import replace

import numpy as np
import pytest
from board_views import BOARD, LENS, camera_from_board, detection

from calibration.board import Detection
from calibration.coverage import MIN_VIEWS, TILT_RAD, coverage, is_similar
from calibration.errors import NotGoodEnoughError
from calibration.intrinsics import largest_difference, rough_lens, solve_intrinsics
from hardware.cameras.lens import Lens


def varied(seed: int, count: int = 30, noise_px: float = 0.1) -> list[Detection]:
    rng = np.random.default_rng(seed)
    made: list[Detection] = []
    while len(made) < count:
        seen = detection(rng, camera_from_board(rng, 0.6, 0.22), noise_px)
        if len(seen.ids) >= 10 and not is_similar(seen, made):
            made.append(seen)
    return made


def test_the_lens_that_made_the_views_is_found() -> None:
    found = solve_intrinsics(BOARD, varied(0))
    assert largest_difference(found.lens, LENS) < 1.5
    assert abs(found.lens.fx - LENS.fx) < 2.0
    assert found.rms_px == pytest.approx(0.14, abs=0.03)
    assert found.coverage.missing == ()
    assert found.coverage.score == 1.0


def test_a_view_that_does_not_fit_is_left_out() -> None:
    seen = varied(1)
    seen[4] = replace(seen[4], pixels=seen[4].pixels + np.random.default_rng(0).normal(0, 3, seen[4].pixels.shape))
    found = solve_intrinsics(BOARD, seen)
    assert np.flatnonzero(~found.used).tolist() == [4]
    assert largest_difference(found.lens, LENS) < 1.0


def test_a_few_views_tell_the_focal_length_roughly() -> None:
    assert rough_lens(BOARD, varied(2, 6)).fx == pytest.approx(LENS.fx, rel=0.05)


def test_no_views_and_too_few_are_refused_with_what_is_missing() -> None:
    with pytest.raises(NotGoodEnoughError, match=f"{MIN_VIEWS} more views"):
        solve_intrinsics(BOARD, [])
    with pytest.raises(NotGoodEnoughError, match=f"{MIN_VIEWS - 8} more views"):
        solve_intrinsics(BOARD, varied(3, 8))


def test_views_from_straight_ahead_in_the_middle_are_refused_with_what_is_missing() -> None:
    rng = np.random.default_rng(4)
    seen = [detection(rng, camera_from_board(rng, 0.05, 0.01)) for _ in range(15)]
    with pytest.raises(NotGoodEnoughError) as refused:
        solve_intrinsics(BOARD, seen)
    for words in ("upper left", "lower right", "left edge nearer", "upper edge nearer"):
        assert words in str(refused.value)


def test_tilts_are_named_by_the_edge_that_is_nearer() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        pose = camera_from_board(rng, 0.6, 0.02)
        corners = BOARD.outline @ pose.rotation.T + pose.position
        slopes = np.linalg.lstsq(corners[:, :2] - corners[0, :2], corners[:, 2] - corners[0, 2], rcond=None)[0]
        tilts = coverage(BOARD, LENS, [detection(rng, pose)]).tilts
        for name, axis, sign in (
            ("left edge", 0, 1),
            ("right edge", 0, -1),
            ("upper edge", 1, 1),
            ("lower edge", 1, -1),
        ):
            if name in tilts:  # the depth rises away from the edge that is nearer
                assert sign * slopes[axis] > np.tan(TILT_RAD) - 1e-9


def test_hardly_moved_views_are_similar_and_others_are_not() -> None:
    one = varied(6, 1)[0]
    assert is_similar(replace(one, pixels=one.pixels + 5.0), [one])
    assert not is_similar(replace(one, pixels=one.pixels + 40.0), [one])
    assert not is_similar(one, [])


def test_lenses_differ_by_what_a_turn_of_the_camera_cannot_make_up_for() -> None:
    assert largest_difference(LENS, LENS) < 1e-3
    assert largest_difference(LENS, replace(LENS, cx=LENS.cx + 5)) < 1e-3
    assert largest_difference(LENS, replace(LENS, fx=LENS.fx * 1.01, fy=LENS.fy * 1.01)) == pytest.approx(3.9, abs=0.6)
    doubled = Lens(1280, 960, 2 * LENS.fx, 2 * LENS.fy, 2 * LENS.cx + 0.5, 2 * LENS.cy + 0.5, LENS.distortion)
    assert largest_difference(LENS, doubled) < 1e-3
