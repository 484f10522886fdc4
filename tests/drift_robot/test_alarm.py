"""The alarm's rule: so many windows on end raise it, as many clear it, and nothing else does."""

from functools import reduce
from itertools import groupby, pairwise

from hypothesis import given
from hypothesis import strategies as st

from drift_robot.alarm import AlarmState, alarm_after

LEVELS = st.lists(st.floats(0, 3) | st.just(float("nan")), max_size=40)
WINDOWS = st.integers(1, 4)


def states(levels: list[float], windows: int) -> list[AlarmState]:
    """The state before the first level and after each."""
    found = [AlarmState()]
    for level in levels:
        found.append(alarm_after(found[-1], level, windows))
    return found


def longest(above: list[bool], kind: bool) -> int:
    """The longest stretch of a kind."""
    return max((len(list(run)) for key, run in groupby(above) if key == kind), default=0)


def test_two_windows_above_the_threshold_raise_it_and_one_does_not() -> None:
    assert [state.raised for state in states([1.2, 0.9, 1.2, 1.3], 2)] == [False, False, False, False, True]


def test_one_quiet_window_does_not_clear_it_and_two_do() -> None:
    assert [state.raised for state in states([1.2, 1.3, 0.9, 1.1, 0.8, 1.0], 2)[2:]] == [True, True, True, True, False]


def test_the_threshold_itself_is_not_above_it() -> None:
    assert not states([1.0] * 5, 1)[-1].raised


@given(LEVELS, WINDOWS)
def test_it_is_raised_only_after_so_many_windows_above_on_end(levels: list[float], windows: int) -> None:
    above = [not level <= 1.0 for level in levels]
    raised = [state.raised for state in states(levels, windows)]
    assert any(raised) == (longest(above, True) >= windows)
    for index, (before, after) in enumerate(pairwise(raised), start=1):
        if before != after:
            assert above[index - windows : index] == [after] * windows


@given(LEVELS, WINDOWS)
def test_after_so_many_windows_on_end_it_says_what_they_say(levels: list[float], windows: int) -> None:
    for kind, level in ((True, 1.5), (False, 0.5)):
        state = reduce(lambda s, value: alarm_after(s, value, windows), [*levels, *[level] * windows], AlarmState())
        assert state == AlarmState(level, kind, 0)


@given(LEVELS, WINDOWS)
def test_what_contradicts_it_is_counted_and_never_reaches_the_number_of_windows(
    levels: list[float], windows: int
) -> None:
    assert all(0 <= state.contrary < windows for state in states(levels, windows))
