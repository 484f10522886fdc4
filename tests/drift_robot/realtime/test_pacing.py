from itertools import pairwise

import pytest

from drift_robot.realtime.pacing import CAUTION, Pace, SpareTime
from hardware.clock import NS_PER_S, ManualClock


def test_deadlines_are_a_period_apart_however_long_the_work_takes() -> None:
    clock = ManualClock(NS_PER_S)
    pace = Pace(0.1, clock)
    times = []
    for work_s in (0.0, 0.03, 0.09, 0.05):
        times.append(pace.wait())
        clock.advance_s(work_s)
    assert [b - a for a, b in pairwise(times)] == [NS_PER_S // 10] * 3


def test_a_late_loop_skips_what_it_missed_and_stays_on_its_grid() -> None:
    clock = ManualClock(NS_PER_S)
    pace = Pace(0.1, clock)
    pace.wait()
    clock.advance_s(0.57)
    late = pace.wait()
    assert late - NS_PER_S == round(0.67 * NS_PER_S)
    assert pace.wait() - NS_PER_S == round(0.7 * NS_PER_S)


def test_the_cadence_says_what_was_kept() -> None:
    clock = ManualClock(NS_PER_S)
    pace = Pace(0.1, clock)
    for _ in range(11):
        pace.wait()
    assert pace.cadence().is_kept
    for _ in range(11):
        pace.wait()
        clock.advance_s(0.2)
    cadence = pace.cadence()
    assert cadence.measured_hz == pytest.approx(5.0, rel=0.2)
    assert not cadence.is_kept
    assert cadence.worst_late_s == pytest.approx(0.1)


def test_what_is_left_of_a_period_is_told() -> None:
    clock = ManualClock(NS_PER_S)
    pace = Pace(0.1, clock)
    pace.wait()
    assert pace.left_ns() == NS_PER_S // 10
    clock.advance_s(0.07)
    assert pace.left_ns() == 3 * NS_PER_S // 100
    clock.advance_s(0.05)
    assert pace.left_ns() < 0


def test_work_that_may_be_left_out_begins_only_if_there_is_ample_time_for_it() -> None:
    spare = SpareTime()
    assert not spare.suffices(0)
    assert spare.suffices(1)
    spare.took(1000)
    assert not spare.suffices(CAUTION * 1000)
    spare.took(1000)
    assert spare.suffices(CAUTION * 1000 + 1)


def test_one_hiccup_does_not_forbid_it_for_good() -> None:
    spare = SpareTime()
    spare.took(NS_PER_S // 100)
    spare.took(NS_PER_S)
    answers = [spare.suffices(NS_PER_S // 10) for _ in range(20)]
    assert not any(answers[:10])
    assert answers[-1]


def test_work_that_always_takes_too_long_is_never_begun() -> None:
    spare = SpareTime()
    spare.took(NS_PER_S // 10)
    spare.took(NS_PER_S // 8)
    assert not any(spare.suffices(NS_PER_S // 10) for _ in range(1000))
