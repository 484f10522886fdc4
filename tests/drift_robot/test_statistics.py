"""Figures of versions compared on matched starts: against published values, against scipy, and by simulation."""

from itertools import accumulate, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from drift_robot.statistics import (
    ALPHA,
    Difference,
    PairCounts,
    anytime_p,
    compare_pairs,
    further_pairs,
    mcnemar_p,
    paired_difference,
)

ONLY_A, ONLY_B, NEITHER, BOTH = (True, False), (False, True), (False, False), (True, True)
counts = st.integers(0, 40)
outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@given(counts, counts)
def test_mcnemars_exact_test_is_the_binomial_test_of_unequal_pairs(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected)


def test_newcombes_interval_has_the_published_values() -> None:
    """Method 10 on 59, 6, 16, 80 (Fagerland, Lydersen, Laake: Contingency Tables, chapter 8)."""
    difference = paired_difference(PairCounts(both=59, only_a=16, only_b=6, neither=80))
    assert difference.value == pytest.approx(-0.0621, abs=5e-5)
    assert difference.low == pytest.approx(-0.1186, abs=5e-5)
    assert difference.high == pytest.approx(-0.0046, abs=5e-5)


@given(counts, counts, counts, counts)
def test_the_interval_holds_the_difference_and_turns_round_with_the_versions(a: int, b: int, c: int, d: int) -> None:
    difference = paired_difference(PairCounts(a, b, c, d))
    assert -1.0 <= difference.low <= difference.value <= difference.high <= 1.0
    turned = paired_difference(PairCounts(a, c, b, d))
    assert (turned.low, turned.high) == pytest.approx((-difference.high, -difference.low))


def test_without_pairs_nothing_is_known() -> None:
    result = compare_pairs([])
    assert result.difference == Difference(0.0, -1.0, 1.0)
    assert (result.p_value, result.mcnemar_p, result.established) == (1.0, 1.0, False)


@pytest.mark.parametrize("n", [20, 50])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    for truth in ((0.6, 0.05, 0.3, 0.05), (0.3, 0.1, 0.1, 0.5), (0.05, 0.05, 0.6, 0.3)):
        drawn = rng.multinomial(n, truth, 1500)
        intervals = [paired_difference(PairCounts(*map(int, row))) for row in drawn]
        covered = np.mean([i.low <= truth[2] - truth[1] <= i.high for i in intervals])
        assert 0.925 < covered < 0.99


@given(outcomes)
def test_pairs_that_end_alike_say_nothing_about_a_difference(seen: list[tuple[bool, bool]]) -> None:
    unequal = [pair for pair in seen if pair in (ONLY_A, ONLY_B)]
    assert anytime_p(seen) == anytime_p(unequal)


@given(outcomes, outcomes)
def test_what_was_established_stays_established(seen: list[tuple[bool, bool]], more: list[tuple[bool, bool]]) -> None:
    assert anytime_p(seen + more) <= anytime_p(seen) <= 1.0


@given(outcomes)
def test_what_is_established_at_any_time_is_so_by_mcnemars_test_at_that_time(seen: list[tuple[bool, bool]]) -> None:
    only_a, only_b = (accumulate([pair == kind for pair in seen], initial=0) for kind in (ONLY_A, ONLY_B))
    assert min(mcnemar_p(a, b) for a, b in zip(only_a, only_b, strict=True)) <= anytime_p(seen)


@settings(max_examples=20)
@given(outcomes)
def test_pairs_are_counted(seen: list[tuple[bool, bool]]) -> None:
    counted = compare_pairs(seen).counts
    assert counted == PairCounts(*(seen.count(kind) for kind in (BOTH, ONLY_A, ONLY_B, NEITHER)))
    assert counted.pairs == len(seen)


def test_equal_versions_are_told_apart_in_no_more_than_5_percent_however_often_one_looks() -> None:
    """All orders of 13 unequal pairs, each as likely as the other: exact, and looked at after every pair."""
    established = [anytime_p([ONLY_A if side else ONLY_B for side in order]) for order in product((0, 1), repeat=13)]
    assert np.mean(np.array(established) <= ALPHA) <= ALPHA
    assert np.mean(np.array(established) <= 0.2) <= 0.2


def test_eight_unequal_pairs_to_one_side_establish_a_difference() -> None:
    assert not compare_pairs([ONLY_B] * 7).established
    assert compare_pairs([ONLY_B] * 8).established
    assert compare_pairs([ONLY_A] * 8).established


@pytest.mark.parametrize(("only_a", "only_b", "pairs"), [(0, 4, 10), (2, 8, 20), (3, 12, 50), (7, 1, 15)])
def test_as_many_more_pairs_as_advised_establish_it_with_four_in_five(only_a: int, only_b: int, pairs: int) -> None:
    """Simulated under what the advice assumes: unequal pairs, and B's share of them, as seen and drawn towards 1/2."""
    advised = further_pairs(only_a, only_b, pairs)
    assert advised is not None
    unequal, for_b = (only_a + only_b + 1) / (pairs + 2), (only_b + 1) / (only_a + only_b + 2)
    chances = [unequal * (1 - for_b), unequal * for_b, 1 - unequal]
    rng = np.random.default_rng(advised)
    begun = [ONLY_A, ONLY_B] * min(only_a, only_b)  # an order in which nothing was established on the way
    begun += [ONLY_B if only_b > only_a else ONLY_A] * abs(only_b - only_a)
    kinds = np.array([ONLY_A, ONLY_B, NEITHER], dtype=object)
    established = [
        anytime_p(begun + [kinds[k] for k in rng.choice(3, advised, p=chances)]) <= ALPHA for _ in range(1000)
    ]
    assert 0.76 < np.mean(established) < 0.86


def test_advice_is_the_same_for_both_sides_and_none_where_no_difference_was_seen() -> None:
    assert further_pairs(2, 8, 20) == further_pairs(8, 2, 20)
    assert further_pairs(3, 3, 20) is None
    assert further_pairs(0, 0, 20) is None


def test_the_larger_the_difference_the_fewer_pairs_it_takes() -> None:
    advised = [further_pairs(2, only_b, 30) for only_b in (5, 7, 9, 11)]
    assert advised == sorted(advised, reverse=True)  # type: ignore[type-var]
