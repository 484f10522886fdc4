"""The estimator of lags: within 5 ms of the truth over noise, rates, jitter and missing samples; else a sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import NotGoodEnoughError
from calibration.lag import MIN_SAMPLES, Signal, find_lag
from calibration.sway import SWAY_S, offset_m
from hardware.poses import Array

GOAL_S = 0.005
MAP = np.array([[2000.0, -300.0, 40.0], [150.0, 1800.0, -90.0]])
"""From metres to pixels."""


def swayed(times_s: Array) -> Array:
    return np.array([offset_m(time_s) for time_s in times_s.tolist()])


def reference(rate_hz: float, noise_m: float, rng: np.random.Generator) -> Signal:
    times_s = np.arange(0.0, SWAY_S, 1.0 / rate_hz)
    values = swayed(times_s) + rng.normal(0.0, noise_m, (len(times_s), 3))
    return Signal(np.rint(1e9 * times_s).astype(np.int64), values)


def follower(
    lag_s: float, rate_hz: float, noise_px: float, jitter_s: float, lost: float, rng: np.random.Generator
) -> Signal:
    captured_s = np.arange(0.0, SWAY_S, 1.0 / rate_hz) + rng.uniform(0.0, 1.0 / rate_hz)
    captured_s += rng.uniform(0.0, jitter_s, len(captured_s))
    captured_s = captured_s[rng.random(len(captured_s)) >= lost]
    values = 320.0 + swayed(captured_s) @ MAP.T + rng.normal(0.0, noise_px, (len(captured_s), 2))
    return Signal(np.rint(1e9 * (captured_s + lag_s)).astype(np.int64), values)


@settings(max_examples=40)
@given(
    lag_s=st.floats(-0.1, 0.45),
    rate_hz=st.sampled_from([15.0, 30.0, 60.0]),
    reference_hz=st.sampled_from([100.0, 125.0, 500.0]),
    noise_px=st.floats(0.0, 1.0),
    jitter_s=st.floats(0.0, 0.01),
    lost=st.floats(0.0, 0.3),
    seed=st.integers(0, 2**20),
)
def test_a_lag_is_found_within_the_goal(
    lag_s: float, rate_hz: float, reference_hz: float, noise_px: float, jitter_s: float, lost: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    found = find_lag(reference(reference_hz, 2e-4, rng), follower(lag_s, rate_hz, noise_px, jitter_s, lost, rng), "it")
    assert abs(found.lag_s - lag_s) < GOAL_S
    assert abs(found.lag_s - lag_s) < 6 * found.expected_error_s + 2e-4
    assert found.correlation > 0.97
    assert found.followed.shape == found.explained.shape == (found.samples,)


def test_without_noise_it_is_found_far_below_its_grid() -> None:
    rng = np.random.default_rng(1)
    found = find_lag(reference(500.0, 0.0, rng), follower(0.0371, 30.0, 0.0, 0.0, 0.0, rng), "it")
    assert found.lag_s == pytest.approx(0.0371, abs=1e-4)
    assert found.expected_error_s < 1e-4


def test_a_follower_of_one_number_is_found_too() -> None:
    rng = np.random.default_rng(2)
    seen = follower(0.12, 50.0, 0.3, 0.002, 0.1, rng)
    assert find_lag(reference(100.0, 0.0, rng), Signal(seen.times_ns, seen.values[:, :1]), "it").lag_s == pytest.approx(
        0.12, abs=0.002
    )


def test_too_few_samples_are_refused_with_their_number() -> None:
    rng = np.random.default_rng(3)
    seen = follower(0.1, 5.0, 0.0, 0.0, 0.0, rng)
    with pytest.raises(NotGoodEnoughError, match=f"samples of camera front .* fewer than {MIN_SAMPLES}"):
        find_lag(reference(100.0, 0.0, rng), seen, "camera front")
    nothing = Signal(np.zeros(0, np.int64), np.zeros((0, 3)))
    with pytest.raises(NotGoodEnoughError, match="Only 0 samples"):
        find_lag(nothing, Signal(nothing.times_ns, np.zeros((0, 2))), "it")


@pytest.mark.parametrize("still", [False, True])
def test_what_does_not_follow_the_motion_is_refused(still: bool) -> None:
    rng = np.random.default_rng(4)
    seen = follower(0.1, 30.0, 0.0, 0.0, 0.0, rng)
    values = np.full_like(seen.values, 7.0) if still else rng.normal(0.0, 1.0, seen.values.shape)
    with pytest.raises(NotGoodEnoughError, match="does not follow the motion"):
        find_lag(reference(100.0, 0.0, rng), Signal(seen.times_ns, values), "it")


def test_a_lag_beyond_the_search_is_not_made_up() -> None:
    rng = np.random.default_rng(5)
    with pytest.raises(NotGoodEnoughError, match=r"not between|does not follow"):
        find_lag(reference(100.0, 0.0, rng), follower(0.75, 30.0, 0.0, 0.0, 0.0, rng), "it")
