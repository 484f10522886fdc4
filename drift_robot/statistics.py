"""Honest small-sample figures: success rates with their interval, and two versions compared on matched starts.

Pure arithmetic on counts; what an episode or a version is, is known elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, log, sqrt

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964
ALPHA = 0.05
POWER = 0.8
MOST_FURTHER_PAIRS = 500
"""Beyond so many further pairs nothing is promised: for an operator that is never."""


@dataclass(frozen=True)
class Rate:
    """A success rate over `episodes` with its 95 % Wilson interval."""

    rate: float
    low: float
    high: float
    episodes: int

    def __str__(self) -> str:
        return f"{self.rate:.0%} [{self.low:.0%}, {self.high:.0%}] of {self.episodes}"


def success_rate(successes: int, episodes: int) -> Rate:
    """Return the rate with its Wilson score interval (Wilson 1927); [0, 1] without episodes.

    Raises ValueError if there are more successes than episodes, or fewer than none.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes of {episodes} episodes is impossible")
    if episodes == 0:
        return Rate(0.0, 0.0, 1.0, 0)
    p = successes / episodes
    centre = (p + Z_95**2 / (2 * episodes)) / (1 + Z_95**2 / episodes)
    half = Z_95 / (1 + Z_95**2 / episodes) * sqrt(p * (1 - p) / episodes + Z_95**2 / (4 * episodes**2))
    return Rate(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), episodes)


@dataclass(frozen=True)
class PairCounts:
    """How many matched starts ended in success under both versions, under only one of them, or under neither."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def pairs(self) -> int:
        """All pairs."""
        return self.both + self.only_a + self.only_b + self.neither


@dataclass(frozen=True)
class Difference:
    """By how much B succeeds more often than A (in -1 to 1), with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedComparison:
    """What matched starts say about two versions.

    `p_value` may be looked at after any pair and decides: `established` if it is at most 5 %. `mcnemar_p` is McNemar's
    exact one, for a number of pairs that was fixed before. `further_pairs`, where nothing is established, would
    establish it with a probability of 80 % if the versions differ about as much as seen so far; None if more than 500.
    """

    counts: PairCounts
    difference: Difference
    p_value: float
    mcnemar_p: float
    established: bool
    further_pairs: int | None


def compare_pairs(outcomes: Sequence[tuple[bool, bool]]) -> PairedComparison:
    """Compare A and B on their successes (a, b) on matched starts, in the order in which they were run."""
    only_a = sum(a and not b for a, b in outcomes)
    only_b = sum(b and not a for a, b in outcomes)
    both = sum(a and b for a, b in outcomes)
    counts = PairCounts(both, only_a, only_b, len(outcomes) - both - only_a - only_b)
    p = anytime_p(outcomes)
    established = p <= ALPHA
    return PairedComparison(
        counts=counts,
        difference=paired_difference(counts),
        p_value=p,
        mcnemar_p=mcnemar_p(only_a, only_b),
        established=established,
        further_pairs=None if established else further_pairs(only_a, only_b, len(outcomes)),
    )


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (McNemar 1947): a binomial test of 1/2 on unequal pairs."""
    unequal = only_a + only_b
    tail = sum(comb(unequal, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, tail / 2 ** (unequal - 1)) if unequal else 1.0


def anytime_p(outcomes: Sequence[tuple[bool, bool]]) -> float:
    """Return a p-value of equal versions that stays true however often one looks and whenever one stops.

    Of equal versions each is as likely to be the one that succeeds in an unequal pair. The wager on it that mixes all
    probabilities evenly is worth 2^n / ((n + 1) C(n, k)) after n unequal pairs, k of them B's; by Ville's inequality
    (1939) it exceeds 1/p at any time with probability p at most (Robbins 1970; Shafer et al. 2011).
    """
    only_a = np.cumsum([a and not b for a, b in outcomes], dtype=np.int64)
    only_b = np.cumsum([b and not a for a, b in outcomes], dtype=np.int64)
    return float(np.exp(-log_wager(only_a, only_b)).min(initial=1.0))


def log_wager(only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logarithm of what the wager of `anytime_p` is worth after so many unequal pairs, elementwise."""
    unequal = only_a + only_b
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, unequal.max(initial=0) + 1)))])
    log_choices = log_factorial[unequal] - log_factorial[only_a] - log_factorial[only_b]
    return np.asarray(unequal * log(2) - np.log(unequal + 1) - log_choices)


def paired_difference(counts: PairCounts) -> Difference:
    """Return B's success rate less A's with Newcombe's interval for paired proportions.

    Method 10 of Newcombe, Statistics in Medicine 17 (1998), 2635-2650: Wilson's limits of both rates, joined with
    their correlation, continuity-corrected. [-1, 1] without pairs.
    """
    n = counts.pairs
    if n == 0:
        return Difference(0.0, -1.0, 1.0)
    a, b = success_rate(counts.both + counts.only_a, n), success_rate(counts.both + counts.only_b, n)
    product: float = counts.both * counts.neither - counts.only_a * counts.only_b
    if product > 0:
        product = max(0.0, product - n / 2)
    spread = a.rate * (1 - a.rate) * b.rate * (1 - b.rate)
    phi = product / (n * n * sqrt(spread)) if spread > 0 else 0.0

    def joined(one: float, other: float) -> float:
        return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))

    value = b.rate - a.rate
    return Difference(
        value,
        max(-1.0, value - joined(b.rate - b.low, a.high - a.rate)),
        min(1.0, value + joined(b.high - b.rate, a.rate - a.low)),
    )


def further_pairs(only_a: int, only_b: int, pairs: int) -> int | None:
    """Return after how many more pairs `anytime_p` is at most 5 % with a probability of 80 %.

    Assumes that pairs are unequal, and that B is the better in an unequal pair, as often as seen so far, each drawn a
    little towards 1/2 as by Laplace's rule of succession: a difference seen in few pairs is mostly smaller than it
    looks. Exact by dynamic programming over the unequal pairs to come. None where 500 pairs do not suffice.
    """
    unequal = only_a + only_b
    established = _established_by(only_a, only_b, (only_b + 1) / (unequal + 2))
    probability = (unequal + 1) / (pairs + 2)
    to_come = np.zeros(MOST_FURTHER_PAIRS + 1)
    to_come[0] = 1.0
    for further in range(1, MOST_FURTHER_PAIRS + 1):
        to_come[1:] = (1 - probability) * to_come[1:] + probability * to_come[:-1]
        to_come[0] *= 1 - probability
        if to_come @ established >= POWER:
            return further
    return None


def _established_by(only_a: int, only_b: int, for_b: float) -> NDArray[np.float64]:
    """Return (501,) the probability of having been established by the k-th unequal pair to come, each B's `for_b`."""
    going = np.array([1.0])
    done, reached = 0.0, np.zeros(MOST_FURTHER_PAIRS + 1)
    for k in range(1, MOST_FURTHER_PAIRS + 1):
        going = np.append((1 - for_b) * going, 0.0) + np.append(0.0, for_b * going)
        more_b = np.arange(k + 1)
        won = log_wager(only_a + k - more_b, only_b + more_b) >= -log(ALPHA)
        done += float(going[won].sum())
        going[won] = 0.0
        reached[k] = done
    return reached
