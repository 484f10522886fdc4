import itertools
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from policies.errors import PolicyError
from policies.schedules import RankSchedule, RankScheduleConfig, ScheduleKind, online_rank

KINDS = get_args(ScheduleKind)


@given(
    st.sampled_from(KINDS),
    st.integers(1, 300),
    st.integers(1, 300),
    st.floats(0.01, 20),
    st.floats(0, 1),
    st.integers(1, 400),
)
def test_every_schedule_falls_from_exactly_r_max_to_exactly_r_min(
    kind: ScheduleKind, a: int, b: int, steepness: float, midpoint: float, epochs: int
) -> None:
    config = RankScheduleConfig(kind, max(a, b), min(a, b), steepness, midpoint)
    ranks = [RankSchedule(config).rank(i, epochs) for i in range(epochs + 1)]
    assert ranks[0] == config.r_max
    assert ranks[-1] == config.r_min
    assert all(later <= earlier for earlier, later in itertools.pairwise(ranks))
    assert RankSchedule(config).rank(epochs + 5, epochs) == config.r_min


@pytest.mark.parametrize("epoch", [1, 7, 13, 19])
def test_linear_and_cosine_are_the_papers_formulas(epoch: int) -> None:
    top, low, epochs = 2048, 256, 20
    linear = RankSchedule(RankScheduleConfig("linear", top, low)).rank(epoch, epochs)
    assert linear == math.floor(top - (top - low) * epoch / epochs)
    cosine = RankSchedule(RankScheduleConfig("cosine", top, low)).rank(epoch, epochs)
    assert cosine == math.floor(low + (top - low) / 2 * (1 + math.cos(math.pi * epoch / epochs)))


def test_sigmoid_and_exponential_are_the_papers_formulas_but_for_the_end_points() -> None:
    top, low, epochs, tau = 2048, 256, 40, 0.5
    sigmoid = RankSchedule(RankScheduleConfig("sigmoid", top, low, tau, 0.5))
    exponential = RankSchedule(RankScheduleConfig("exponential", top, low, tau))
    for epoch in range(1, epochs):
        expected = top - (top - low) / (1 + math.exp(-tau * (epoch - epochs / 2)))
        assert abs(sigmoid.rank(epoch, epochs) - expected) <= 2
        assert abs(exponential.rank(epoch, epochs) - (low + (top - low) * math.exp(-tau * epoch))) <= 2


def test_ranks_the_wrong_way_round_are_an_error() -> None:
    with pytest.raises(PolicyError, match="r_min"):
        RankSchedule(RankScheduleConfig("linear", 8, 16))


@pytest.mark.parametrize(("epoch", "epochs"), [(-1, 5), (0, 0)])
def test_epochs_that_do_not_exist_are_an_error(epoch: int, epochs: int) -> None:
    with pytest.raises(PolicyError, match="epoch"):
        RankSchedule(RankScheduleConfig()).rank(epoch, epochs)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        RankScheduleConfig(kinds="linear")  # type: ignore[call-arg]


@given(st.integers(1, 64), st.integers(1, 64), st.lists(st.booleans(), max_size=20))
def test_a_rank_that_rises_online_stays_within_its_bounds_and_falls_back(a: int, b: int, demands: list[bool]) -> None:
    low, high = min(a, b), max(a, b)
    rank = low
    for demanded in demands:
        following = online_rank(rank, low, high, demanded)
        assert low <= following <= high
        assert following >= rank if demanded else following <= rank
        rank = following
    for _ in range(7):
        rank = online_rank(rank, low, high, False)
    assert rank == low
