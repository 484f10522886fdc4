"""What a comparison has found: per version and per pair, and in a sentence whether the versions differ.

The plan and the data are in `comparison`, the arithmetic in `statistics`, the picture in `comparison_picture`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from data.episode import Episode
from data.errors import DataError
from data.files import write_json
from data.schema import Outcome, Owner
from data.stats import takeovers
from drift_robot.comparison import Comparison, Contender, Side
from drift_robot.statistics import (
    ALPHA,
    MOST_FURTHER_PAIRS,
    PairedComparison,
    Rate,
    anytime_p,
    compare_pairs,
    success_rate,
)

REPORT_FILE, PICTURE_FILE = "result.json", "result.png"


@dataclass(frozen=True)
class EpisodeResult:
    """An episode of a comparison. `success`: it succeeded and nobody took over. Times in seconds."""

    success: bool
    takeovers: int
    duration_s: float
    seed: int | None


@dataclass(frozen=True)
class PairResult:
    """A pair whose episodes are both recorded; `first` is who began."""

    pair: int
    first: Side
    a: EpisodeResult
    b: EpisodeResult


@dataclass(frozen=True)
class VersionFigures:
    """How one of the two did: success with its 95 % interval, mean duration of its successes, takeovers in all."""

    name: str
    checkpoint: str
    success: Rate
    duration_s: float | None
    takeovers: int


@dataclass(frozen=True)
class Slower:
    """By how many seconds B's successes took longer than A's on the same starts, with the 95 % interval (Student)."""

    mean_s: float
    low_s: float
    high_s: float
    pairs: int


@dataclass(frozen=True)
class ComparisonReport:
    """What a comparison has found. `verdict` and `advice` are sentences; `advice` is empty where none is needed."""

    task: str
    planned: int
    a: VersionFigures
    b: VersionFigures
    result: PairedComparison
    slower: Slower | None
    verdict: str
    advice: str
    pairs: list[PairResult]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        write_json(path, asdict(self))


def is_established(comparison: Comparison) -> bool:
    """Whether the pairs recorded so far establish a difference: then no more are needed."""
    return anytime_p(_outcomes(_pairs(comparison))) <= ALPHA


def report_on(comparison: Comparison, task: str) -> ComparisonReport:
    """Return what the pairs recorded so far say. Raises DataError if an episode is damaged or starts do not match."""
    pairs = _pairs(comparison)
    result = compare_pairs(_outcomes(pairs))
    a, b = comparison.contenders
    return ComparisonReport(
        task=task,
        planned=comparison.pairs,
        a=_figures(a, [pair.a for pair in pairs]),
        b=_figures(b, [pair.b for pair in pairs]),
        result=result,
        slower=_slower(pairs),
        verdict=_verdict(f"A ({a.name})", f"B ({b.name})", result),
        advice=_advice(result),
        pairs=pairs,
    )


def _pairs(comparison: Comparison) -> list[PairResult]:
    """Return the complete pairs, in order. Raises DataError if an episode is damaged or starts do not match."""
    recorded = comparison.recorded()
    pairs = [
        PairResult(turn.pair, turn.side, _result(recorded[turn.pair, "A"]), _result(recorded[turn.pair, "B"]))
        for turn in comparison.turns()
        if turn.first and {(turn.pair, "A"), (turn.pair, "B")} <= recorded.keys()
    ]
    for pair in pairs:
        if None not in (pair.a.seed, pair.b.seed) and pair.a.seed != pair.b.seed:
            raise DataError(f"Pair {pair.pair} of {comparison.folder} began with two different starts; discard one.")
    return pairs


def _outcomes(pairs: list[PairResult]) -> list[tuple[bool, bool]]:
    return [(pair.a.success, pair.b.success) for pair in pairs]


def _result(episode: Episode) -> EpisodeResult:
    owner = episode.column("owner")
    alone = bool((owner == Owner.LEARNER).all())
    return EpisodeResult(
        success=alone and episode.outcome is Outcome.SUCCESS,
        takeovers=takeovers(owner),
        duration_s=episode.duration_s(),
        seed=episode.attributes.get("scene_seed"),
    )


def _figures(contender: Contender, episodes: list[EpisodeResult]) -> VersionFigures:
    durations_s = [episode.duration_s for episode in episodes if episode.success]
    return VersionFigures(
        name=contender.name,
        checkpoint=str(contender.checkpoint),
        success=success_rate(len(durations_s), len(episodes)),
        duration_s=float(np.mean(durations_s)) if durations_s else None,
        takeovers=sum(episode.takeovers for episode in episodes),
    )


def _slower(pairs: list[PairResult]) -> Slower | None:
    longer_s = np.array([pair.b.duration_s - pair.a.duration_s for pair in pairs if pair.a.success and pair.b.success])
    if len(longer_s) < 2:
        return None
    half = stdtrit(len(longer_s) - 1, 0.975) * longer_s.std(ddof=1) / np.sqrt(len(longer_s))
    mean = float(longer_s.mean())
    return Slower(mean, mean - float(half), mean + float(half), len(longer_s))


def _verdict(a: str, b: str, result: PairedComparison) -> str:
    """Say plainly whether the versions differ."""
    if not result.counts.pairs:
        return "Nothing is established: no pair is complete."
    value, low, high = result.difference.value, result.difference.low, result.difference.high
    better, worse = (b, a) if value >= 0 else (a, b)
    if value < 0:
        value, low, high = -value, -high, -low
    points = f"{100 * value:.0f} points, 95 % interval {100 * low:.0f} to {100 * high:.0f}"
    where = f"{result.counts.pairs} pairs (p = {result.p_value:.2g})"
    if result.established:
        return f"Established: {better} succeeds more often than {worse}, by {points}, on {where}."
    if value == 0:
        return f"Not established: {a} and {b} succeeded equally often ({points}) on {where}."
    return f"Not established: {better} succeeded more often than {worse}, by {points}, on {where}; that may be chance."


def _advice(result: PairedComparison) -> str:
    """Say what it would take to establish a difference."""
    if result.established or not result.counts.pairs:
        return ""
    further = result.further_pairs
    if further is None:
        return (
            f"Even {MOST_FURTHER_PAIRS} more pairs would probably not establish a difference as small as seen so far: "
            "unless you care which value in that interval is true, take the versions for equally good."
        )
    return (
        f"If the versions differ about as much as seen so far, about {further} more pairs ({2 * further} episodes) "
        f"would establish it with a probability of 80 %: --episodes {result.counts.pairs + further}."
    )


def unveil(comparison: Comparison, task: str, console: Console) -> None:
    """Write and print what was found, if the plan is done or the difference is established already.

    Until then only progress is told: the operator stays blind.
    """
    from drift_robot.comparison_picture import draw_comparison

    report = report_on(comparison, task)
    done = report.result.counts.pairs
    if done < report.planned and not report.result.established:
        console.print(f"{done} of {report.planned} pairs are done; nothing is unveiled before the last.")
        return
    report.write(comparison.folder / REPORT_FILE)
    draw_comparison(report, comparison.folder / PICTURE_FILE)
    _print(report, console)
    console.print(f"Written: {REPORT_FILE}, {PICTURE_FILE} in {comparison.folder}", soft_wrap=True)


def _print(report: ComparisonReport, console: Console) -> None:
    table = Table(title=f"{report.result.counts.pairs} pairs on matched starts: {report.task}", title_style="bold")
    for name in ("", "version", "success", "95 % interval", "mean duration", "takeovers"):
        table.add_column(name, justify="right" if name.startswith(("success", "95", "mean", "take")) else "left")
    for side, figures in (("A", report.a), ("B", report.b)):
        rate = figures.success
        duration = "-" if figures.duration_s is None else f"{figures.duration_s:.1f} s"
        interval = f"{rate.low:.0%} to {rate.high:.0%}"
        table.add_row(side, figures.name, f"{rate.rate:.0%}", interval, duration, str(figures.takeovers))
    console.print(table)
    counts = report.result.counts
    console.print(
        f"Both succeeded {counts.both} times, only A {counts.only_a}, only B {counts.only_b}, neither {counts.neither}."
    )
    if report.slower is not None:
        slower = report.slower
        console.print(
            f"Where both succeeded, B took {slower.mean_s:+.1f} s [{slower.low_s:+.1f}, {slower.high_s:+.1f}]."
        )
    console.print(report.verdict, style="bold", highlight=False, soft_wrap=True)
    if report.advice:
        console.print(report.advice, highlight=False, soft_wrap=True)
