"""Distances between two motions, against motions whose distance is known."""

import numpy as np
import pytest

from drift_robot.review.fidelity import Track, best_shift_s, deviation
from hardware.arms import rotations


def swing(times_s: np.ndarray, late_s: float = 0.0, beside_m: float = 0.0, turned_rad: float = 0.0) -> Track:
    """Return a smooth motion, perhaps late, beside itself or turned."""
    t = times_s - late_s
    positions = np.stack([0.5 + 0.1 * np.sin(t), 0.1 * np.cos(1.3 * t) + beside_m, 0.3 + 0.05 * np.sin(2 * t)], axis=1)
    matrices = np.stack([rotations.exp(np.array([0.2 * np.sin(x), 0.0, 0.3 * x + turned_rad])) for x in t])
    return Track(times_s, positions, matrices)


STEPS_S = np.arange(0.0, 4.0, 0.1)
TICKS_S = np.arange(-0.5, 5.0, 0.002)


def test_a_motion_is_no_distance_from_itself() -> None:
    apart = deviation(swing(STEPS_S), swing(TICKS_S))
    assert apart.mm.shape == apart.deg.shape == STEPS_S.shape
    assert apart.figures()["max_mm"] < 1e-3
    assert apart.figures()["max_deg"] < 1e-3


def test_distance_is_told_in_millimetres_and_degrees() -> None:
    apart = deviation(swing(STEPS_S), swing(TICKS_S, beside_m=0.003)).figures()
    assert (apart["rms_mm"], apart["max_mm"]) == (pytest.approx(3.0, abs=1e-3), pytest.approx(3.0, abs=1e-3))
    turned = deviation(swing(STEPS_S), Track(TICKS_S, swing(TICKS_S).positions, swing(TICKS_S).matrices @ tilt(2.0)))
    assert turned.figures()["rms_deg"] == pytest.approx(2.0, abs=1e-3)
    assert turned.figures()["max_mm"] < 1e-3


def tilt(degrees: float) -> np.ndarray:
    return rotations.exp(np.array([np.radians(degrees), 0.0, 0.0]))


@pytest.mark.parametrize("late_s", [0.074, -0.031, 0.0])
def test_the_shift_that_fits_best_is_found_to_a_millisecond(late_s: float) -> None:
    recorded, late = swing(STEPS_S), swing(TICKS_S, late_s=late_s)
    assert best_shift_s(recorded, late) == pytest.approx(late_s, abs=1e-9)
    assert deviation(recorded, late, late_s).figures()["max_mm"] < 1e-2
    if late_s:
        assert deviation(recorded, late).figures()["rms_mm"] > 1.0


def test_a_root_mean_square_lies_between_mean_and_maximum() -> None:
    still = Track(STEPS_S, np.zeros((len(STEPS_S), 3)), np.broadcast_to(np.eye(3), (len(STEPS_S), 3, 3)))
    moving = Track(STEPS_S, np.stack([0.001 * STEPS_S, 0 * STEPS_S, 0 * STEPS_S], axis=1), still.matrices)
    figures = deviation(still, moving).figures()
    assert figures["rms_mm"] == pytest.approx(np.sqrt(np.mean(STEPS_S**2)))
    assert figures["max_mm"] == pytest.approx(3.9)


def test_a_part_of_a_track_has_at_least_one_sample() -> None:
    assert len(swing(STEPS_S).until(1.05).times_s) == 11
    assert len(swing(STEPS_S).until(-3.0).times_s) == 1
