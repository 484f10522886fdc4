"""Hand-eye calibration against the truth: exact from exact views, close from noisy ones, unmoved by outliers."""

from dataclasses import replace

import numpy as np
import pytest
from board_views import BOARD, LENS, camera_from_board, detection, disturbed, truth, views
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import NotGoodEnoughError
from calibration.hand_eye import HandEyeView, difference, solve_hand_eye
from hardware.poses import Pose

LENS_STD_PX = (1.0, 1.0, 1.0, 1.0)


@given(seed=st.integers(0, 2**31), count=st.integers(6, 12))
@settings(max_examples=8)
def test_exact_views_give_the_truth_wherever_camera_and_board_are(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    true = truth(rng)
    found = solve_hand_eye(BOARD, LENS, views(rng, true, count))
    off_m, off_rad = difference(found.link_from_camera, true.link_from_camera)
    assert off_m < 2e-5
    assert off_rad < 1e-4
    assert difference(found.other_from_board, true.other_from_board)[0] < 2e-5
    assert found.rms_px < 1e-3
    assert found.used.all()


def test_noisy_views_are_within_the_goal_and_their_expected_error_tells_how_far() -> None:
    ratios = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        true = truth(rng)
        noisy = views(rng, true, 24, noise_px=0.1, arm_m=2e-4, arm_rad=3e-4)
        found = solve_hand_eye(BOARD, LENS, noisy, LENS_STD_PX)
        off_m, off_rad = difference(found.link_from_camera, true.link_from_camera)
        assert off_m < 6e-4
        assert off_rad < np.radians(0.1)
        ratios += [off_m / found.std_m, off_rad / found.std_rad]
        assert set(found.solvers) == {"Tsai", "Park", "Horaud", "Andreff", "Daniilidis", "Shah", "Li"}
        assert max(m for m, _ in found.solvers.values()) < 0.01
    assert 0.2 < np.sqrt(np.mean(np.square(ratios))) < 2.0


@pytest.mark.parametrize("bad", [1, 4])
def test_outliers_are_left_out(bad: int) -> None:
    rng = np.random.default_rng(5)
    true = truth(rng)
    seen = views(rng, true, 20, noise_px=0.1, arm_m=2e-4, arm_rad=3e-4)
    seen[:bad] = [HandEyeView(v.detection, disturbed(rng, v.other_from_link, 0.05, 0.2)) for v in seen[:bad]]
    found = solve_hand_eye(BOARD, LENS, seen)
    assert not found.used[:bad].any()
    assert found.used[bad:].all()
    assert difference(found.link_from_camera, true.link_from_camera)[0] < 1e-3


def test_a_lens_that_is_a_little_wrong_is_put_right_where_its_uncertainty_is_known() -> None:
    rng = np.random.default_rng(6)
    true = truth(rng)
    seen = views(rng, true, 24, noise_px=0.05)
    wrong = replace(LENS, fx=LENS.fx + 4, fy=LENS.fy + 4)
    trusted = solve_hand_eye(BOARD, wrong, seen)
    refined = solve_hand_eye(BOARD, wrong, seen, (4.0, 4.0, 1.0, 1.0))
    assert difference(refined.link_from_camera, true.link_from_camera)[0] < 1e-3
    assert difference(trusted.link_from_camera, true.link_from_camera)[0] > 2e-3
    assert abs(refined.lens.fx - LENS.fx) < 1.5


def test_too_few_views_are_refused() -> None:
    rng = np.random.default_rng(7)
    with pytest.raises(NotGoodEnoughError, match="4 views are too few"):
        solve_hand_eye(BOARD, LENS, views(rng, truth(rng), 4))


def test_views_that_do_not_belong_to_the_poses_are_refused() -> None:
    rng = np.random.default_rng(8)
    seen = views(rng, truth(rng), 12)
    mixed = [HandEyeView(v.detection, seen[(i * 5 + 3) % 12].other_from_link) for i, v in enumerate(seen)]
    with pytest.raises(NotGoodEnoughError, match="do not agree with the arm's poses"):
        solve_hand_eye(BOARD, LENS, mixed)


def test_the_wrong_mount_is_refused() -> None:
    rng = np.random.default_rng(9)
    seen = views(rng, truth(rng), 12)
    wrong = [HandEyeView(v.detection, v.other_from_link.inverse()) for v in seen]
    with pytest.raises(NotGoodEnoughError, match="whether the camera rides on the arm"):
        solve_hand_eye(BOARD, LENS, wrong)


def test_the_errors_in_mm_are_those_in_pixels_at_the_boards_distance() -> None:
    rng = np.random.default_rng(10)
    true = truth(rng)
    exact = [camera_from_board(rng) for _ in range(8)]
    seen = [
        HandEyeView(
            detection(rng, pose, noise_px=0.2), true.other_from_board @ pose.inverse() @ true.link_from_camera.inverse()
        )
        for pose in exact
    ]
    found = solve_hand_eye(BOARD, LENS, seen)
    depths = np.array([(pose @ Pose(BOARD.outline.mean(axis=0), np.eye(3))).position[2] for pose in exact])
    np.testing.assert_allclose(found.view_mm, found.view_px * 1000 * depths / LENS.fx, rtol=0.02)
