import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.cameras.clock_map import ClockMap, Unwrap
from hardware.clock import NS_PER_S

START_NS = 10**15


def stream(seconds: float, drift: float, jitter_s: float, seed: int = 0, offset_ns: int = -(10**14)):
    """Yield (true capture, device stamp, receipt) of a 30 Hz camera; delays are exponential, now and then 50 ms."""
    rng = random.Random(seed)
    receipt_ns = 0
    for k in range(round(seconds * 30)):
        true_ns = START_NS + k * NS_PER_S // 30
        delay_s = rng.expovariate(1 / jitter_s) + (0.05 if rng.random() < 0.02 else 0.0)
        receipt_ns = max(receipt_ns + 1, true_ns + round(delay_s * NS_PER_S))
        yield true_ns, round((true_ns - START_NS) * (1 + drift)) + START_NS + offset_ns, receipt_ns


@pytest.mark.parametrize("drift", [-100e-6, -30e-6, 0.0, 30e-6, 100e-6])
def test_a_drifting_clock_is_mapped_within_a_millisecond_of_the_truth(drift: float) -> None:
    clock_map = ClockMap()
    errors_s = []
    for true_ns, device_ns, receipt_ns in stream(180, drift, 0.002):
        host_ns = clock_map.map(device_ns, receipt_ns)
        if true_ns - START_NS > 15 * NS_PER_S:
            errors_s.append(abs(host_ns - true_ns) / NS_PER_S)
    assert max(errors_s) < 1e-3
    assert clock_map.drift == pytest.approx(-drift, abs=10e-6)


def test_without_the_drift_the_error_would_be_many_times_larger() -> None:
    pairs = list(stream(180, 100e-6, 0.002))
    offset_ns = min(receipt_ns - device_ns for _, device_ns, receipt_ns in pairs[:300])
    true_ns, device_ns, _ = pairs[-1]
    assert abs(device_ns + offset_ns - true_ns) > 10_000_000


def test_the_first_seconds_are_already_within_three_milliseconds() -> None:
    clock_map = ClockMap()
    pairs = list(stream(15, 100e-6, 0.002))
    errors_ns = [abs(clock_map.map(device_ns, receipt_ns) - true_ns) for true_ns, device_ns, receipt_ns in pairs]
    assert max(errors_ns[15:]) < 3_000_000


def test_a_clock_that_leaps_ahead_is_followed_at_once() -> None:
    clock_map = ClockMap()
    for true_ns, device_ns, receipt_ns in stream(60, 20e-6, 0.001):
        leap_ns = 5 * NS_PER_S if true_ns - START_NS > 30 * NS_PER_S else 0
        host_ns = clock_map.map(device_ns + leap_ns, receipt_ns)
        assert abs(host_ns - true_ns) < 0.06 * NS_PER_S
    assert abs(host_ns - true_ns) < 2_000_000


def test_a_clock_that_falls_behind_is_followed_after_some_seconds() -> None:
    clock_map = ClockMap()
    for true_ns, device_ns, receipt_ns in stream(60, 0.0, 0.001):
        back_ns = NS_PER_S // 2 if true_ns - START_NS > 30 * NS_PER_S else 0
        host_ns = (
            0
            if NS_PER_S // 2 > true_ns - START_NS - 30 * NS_PER_S > 0
            else clock_map.map(device_ns - back_ns, receipt_ns)
        )
    assert abs(host_ns - true_ns) < 2_000_000


def test_late_receipts_for_a_second_do_not_move_the_line() -> None:
    clock_map = ClockMap()
    for true_ns, device_ns, receipt_ns in stream(60, 20e-6, 0.001):
        busy = 30 < (true_ns - START_NS) / NS_PER_S < 31
        host_ns = clock_map.map(device_ns, receipt_ns + (NS_PER_S if busy else 0))
        if true_ns - START_NS > 15 * NS_PER_S and not 30.9 < (true_ns - START_NS) / NS_PER_S < 32.1:
            assert abs(host_ns - true_ns) < 1_000_000


def test_a_restart_takes_a_new_device_clock_and_never_goes_back() -> None:
    clock_map = ClockMap()
    last_ns = 0
    for _, device_ns, receipt_ns in stream(5, 0.0, 0.001):
        last_ns = clock_map.map(device_ns, receipt_ns)
    clock_map.restart()
    host_ns = clock_map.map(1_000, receipt_ns + NS_PER_S)
    assert last_ns < host_ns <= receipt_ns + NS_PER_S


@settings(max_examples=200)
@given(
    start_ns=st.integers(0, 10**18),
    steps=st.lists(st.tuples(st.integers(1, 20 * NS_PER_S), st.integers(1, 20 * NS_PER_S)), min_size=1, max_size=60),
)
def test_whatever_the_stamps_the_result_rises_and_is_never_after_the_receipt(
    start_ns: int, steps: list[tuple[int, int]]
) -> None:
    clock_map = ClockMap()
    device_ns, receipt_ns, last_ns = start_ns, 10**17, None
    for device_step_ns, receipt_step_ns in steps:
        device_ns, receipt_ns = device_ns + device_step_ns, receipt_ns + receipt_step_ns
        host_ns = clock_map.map(device_ns, receipt_ns)
        assert host_ns <= receipt_ns
        assert last_ns is None or host_ns > last_ns
        assert abs(clock_map.drift) <= ClockMap.MAX_DRIFT
        last_ns = host_ns


@given(st.lists(st.integers(1, 2**30), min_size=1, max_size=50), st.integers(0, 2**32 - 1))
def test_a_counter_that_turns_over_runs_on(steps: list[int], start: int) -> None:
    unwrap = Unwrap(2**32)
    count = start
    assert unwrap(count) == count
    for step in steps:
        count += step
        assert unwrap(count % 2**32) == count


def test_a_small_step_back_is_no_turn() -> None:
    unwrap = Unwrap(2**32)
    unwrap(3_000_000_000)
    assert unwrap(2_999_000_000) == 2_999_000_000
