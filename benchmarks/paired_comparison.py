"""What `evaluate --compare` promises, by simulation: false positives, the pairs it takes, the advice, the interval.

python benchmarks/paired_comparison.py
"""

import argparse
from functools import cache

import numpy as np
from numpy.typing import NDArray

from drift_robot.statistics import (
    ALPHA,
    POWER,
    PairCounts,
    further_pairs,
    log_wager,
    mcnemar_p,
    paired_difference,
)

Counts = NDArray[np.int64]
LONGEST = 1000
TRUTHS = ((0.0, 0.2), (0.05, 0.3), (0.1, 0.3), (0.1, 0.25), (0.05, 0.15))
"""How often only A, and only B, succeeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000, help="comparisons simulated for each row")
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    false_positives(rng, runs)
    pairs_it_takes(rng, runs)
    advice(rng, runs)
    coverage(rng, runs)


def draw(rng: np.random.Generator, only_a: float, only_b: float, pairs: int, runs: int) -> tuple[Counts, Counts]:
    """Return (runs, pairs) how many pairs only A, and only B, has won up to each."""
    u = rng.random((runs, pairs))
    return np.cumsum(u < only_a, axis=1), np.cumsum((u >= only_a) & (u < only_a + only_b), axis=1)


def established_at(a: Counts, b: Counts) -> Counts:
    """Return (runs,) after how many pairs each comparison was established first; LONGEST + 1 for never."""
    won = log_wager(a, b) >= -np.log(ALPHA)
    return np.where(won.any(axis=1), won.argmax(axis=1) + 1, LONGEST + 1)


@cache
def by_mcnemar(only_a: int, only_b: int) -> bool:
    return mcnemar_p(only_a, only_b) <= ALPHA


def false_positives(rng: np.random.Generator, runs: int) -> None:
    print(
        "\n| unequal pairs | pairs | established at any look | McNemar, one look | McNemar, a look after every pair |"
    )
    print("|---|---|---|---|---|")
    for unequal in (0.1, 0.3, 0.6):
        for pairs in (20, 50, 200):
            a, b = draw(rng, unequal / 2, unequal / 2, pairs, runs)
            at_any = np.mean(established_at(a, b) <= pairs)
            looks = np.vectorize(by_mcnemar)(a, b)
            one, every = looks[:, -1].mean(), looks.any(axis=1).mean()
            print(f"| {unequal:.0%} | {pairs} | {at_any:.1%} | {one:.1%} | {every:.1%} |")


def pairs_it_takes(rng: np.random.Generator, runs: int) -> None:
    names = ("only A / only B", "pairs for 80 %", "mean pairs run in a plan of that many")
    heads = (*names, "pairs for 80 %, McNemar with one look")
    print(f"\n| {' | '.join(heads)} |\n|---|---|---|---|")
    for truth in TRUTHS:
        a, b = draw(rng, *truth, LONGEST, runs)
        when = established_at(a, b)
        needed = int(np.quantile(when, POWER, method="higher"))
        shown = [str(needed), f"{np.minimum(when, needed).mean():.0f}"] if needed <= LONGEST else ["more", ""]
        print(f"| {truth[0]:.0%} / {truth[1]:.0%} | {shown[0]} | {shown[1]} | {by_one_look(a, b)} |")


def by_one_look(a: Counts, b: Counts) -> int:
    """Return the fewest pairs at which McNemar's test, looked at once, finds the difference in 80 %."""
    low, high = 1, a.shape[1]
    while low < high:
        middle = (low + high) // 2
        found = np.mean([by_mcnemar(int(x), int(y)) for x, y in zip(a[:, middle - 1], b[:, middle - 1], strict=True)])
        low, high = (low, middle) if found >= POWER else (middle + 1, high)
    return low


@cache
def advised(only_a: int, only_b: int, pairs: int) -> int | None:
    return further_pairs(only_a, only_b, pairs)


def advice(rng: np.random.Generator, runs: int) -> None:
    print("\n| only A / only B | pairs | established already | nothing promised | promised | median promise | kept |")
    print("|---|---|---|---|---|---|---|")
    for begun in (20, 50):
        for truth in (*TRUTHS, (0.1, 0.1)):
            a, b = draw(rng, *truth, LONGEST, runs)
            when = established_at(a, b)
            open_still = np.flatnonzero(when > begun)
            promises = [advised(int(a[i, begun - 1]), int(b[i, begun - 1]), begun) for i in open_still]
            given = [(int(i), promise) for i, promise in zip(open_still, promises, strict=True) if promise is not None]
            kept = np.mean([when[i] <= begun + promise for i, promise in given])
            print(
                f"| {truth[0]:.0%} / {truth[1]:.0%} | {begun} | {1 - len(open_still) / runs:.0%} | "
                f"{(len(open_still) - len(given)) / runs:.0%} | {len(given) / runs:.0%} | "
                f"{np.median([promise for _, promise in given]):.0f} | {kept:.0%} |"
            )


def coverage(rng: np.random.Generator, runs: int) -> None:
    print("\n| both / only A / only B | pairs | interval covers | if ended as soon as established |")
    print("|---|---|---|---|")
    for both, only_a, only_b in ((0.6, 0.05, 0.3), (0.3, 0.1, 0.1), (0.05, 0.05, 0.6), (0.4, 0.1, 0.3)):
        for pairs in (20, 50):
            kinds = rng.choice(4, (runs, pairs), p=[both, only_a, only_b, 1 - both - only_a - only_b])
            counts = np.stack([np.cumsum(kinds == kind, axis=1) for kind in range(4)])
            ended = np.minimum(established_at(counts[1], counts[2]), pairs)
            truth = only_b - only_a
            covers = []
            for when in (np.full(runs, pairs), ended):
                intervals = [
                    paired_difference(PairCounts(*counts[:, i, n - 1].tolist())) for i, n in enumerate(when.tolist())
                ]
                covers.append(np.mean([interval.low <= truth <= interval.high for interval in intervals]))
            print(f"| {both:.0%} / {only_a:.0%} / {only_b:.0%} | {pairs} | {covers[0]:.1%} | {covers[1]:.1%} |")


if __name__ == "__main__":
    main()
