"""The picture of a comparison: both success rates, their difference, every pair, and how long successes took."""

import textwrap
from pathlib import Path
from typing import Any

from drift_robot.charts import ACCENT, EXPERT_COLOUR, FAILURE_COLOUR, MUTED, SUCCESS_COLOUR, panels, save_png
from drift_robot.comparison_report import ComparisonReport, EpisodeResult

IN_A_LINE = 25
"""Pairs in a line of the mosaic."""


def draw_comparison(report: ComparisonReport, path: Path) -> None:
    """Draw what a comparison has found into a PNG."""
    with panels(4, (13.0, 4.6), [1.1, 1.0, 1.6, 1.2]) as (figure, axes):
        _draw_rates(axes[0], report)
        _draw_difference(axes[1], report)
        _draw_pairs(axes[2], report)
        _draw_durations(axes[3], report)
        figure.suptitle("\n".join(textwrap.wrap(report.verdict, 130)), fontsize=10, fontweight="bold")
        save_png(figure, path)


def _draw_rates(axes: Any, report: ComparisonReport) -> None:
    for x, figures, colour in ((0, report.a, MUTED), (1, report.b, ACCENT)):
        rate = figures.success
        axes.errorbar(
            [x], [rate.rate], yerr=[[rate.rate - rate.low], [rate.high - rate.rate]],
            fmt="o", color=colour, capsize=5, markersize=8,
        )  # fmt: skip
        axes.annotate(
            f"{rate.rate:.0%}", (x, rate.rate), textcoords="offset points", xytext=(10, -4), color=colour,
            fontweight="bold",
        )  # fmt: skip
    axes.set(title="Success, 95 % interval", ylim=(-0.03, 1.05), xlim=(-0.5, 1.7))
    axes.set_xticks([0, 1], [f"A\n{report.a.name}", f"B\n{report.b.name}"])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _draw_difference(axes: Any, report: ComparisonReport) -> None:
    difference = report.result.difference
    colour = ACCENT if report.result.established else MUTED
    axes.axhline(0, color="black", linewidth=0.8)
    axes.errorbar(
        [0], [difference.value], fmt="o", color=colour, capsize=5, markersize=8,
        yerr=[[difference.value - difference.low], [difference.high - difference.value]],
    )  # fmt: skip
    axes.annotate(
        f"{100 * difference.value:+.0f} points\np = {report.result.p_value:.2g}", (0, difference.value),
        textcoords="offset points", xytext=(10, -10), color=colour, fontweight="bold",
    )  # fmt: skip
    axes.set(title="B less A", ylim=(-1.05, 1.05), xlim=(-0.5, 1.2))
    axes.set_xticks([])
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}")


def _draw_pairs(axes: Any, report: ComparisonReport) -> None:
    """Draw each pair as two squares, A's above B's, filled where it succeeded and marked T where the operator drove."""
    lines = range(0, len(report.pairs), IN_A_LINE)
    for line, start in enumerate(lines):
        for x, pair in enumerate(report.pairs[start : start + IN_A_LINE]):
            for y, episode in ((-3 * line, pair.a), (-3 * line - 1, pair.b)):
                colour, alpha = (SUCCESS_COLOUR, 1.0) if episode.success else (FAILURE_COLOUR, 0.4)
                axes.barh(y, 0.88, left=x, height=0.88, color=colour, alpha=alpha)
                if episode.takeovers:
                    axes.text(x + 0.44, y, "T", ha="center", va="center", fontsize=7, color="white")
    counts = report.result.counts
    axes.set(
        title="Pairs in order: success green, failure red",
        xlabel=f"both {counts.both}, only A {counts.only_a}, only B {counts.only_b}, neither {counts.neither}",
        xlim=(-0.2, IN_A_LINE),
        ylim=(-max(3 * len(lines), 9), 1),
    )
    axes.set_xticks([])
    axes.set_yticks([-3 * line - row for line in range(len(lines)) for row in (0, 1)], ["A", "B"] * len(lines))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_durations(axes: Any, report: ComparisonReport) -> None:
    """Draw the durations of the pairs in which both succeeded, one against the other."""

    def durations_s(chosen: list[EpisodeResult]) -> list[float]:
        return [episode.duration_s for episode in chosen]

    both = [pair for pair in report.pairs if pair.a.success and pair.b.success]
    if not both:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No pair in which both succeeded", ha="center", color=MUTED)
        return
    a_s, b_s = durations_s([pair.a for pair in both]), durations_s([pair.b for pair in both])
    axes.scatter(a_s, b_s, color=EXPERT_COLOUR, s=18)
    longest = max([*a_s, *b_s])
    axes.plot([0, 1.05 * longest], [0, 1.05 * longest], color="black", linewidth=0.8)
    slower = report.slower
    title = "Duration where both succeeded"
    axes.set(title=title, xlabel="A, s", ylabel="B, s", xlim=(0, 1.05 * longest), ylim=(0, 1.05 * longest))
    if slower is not None:
        axes.annotate(
            f"B {slower.mean_s:+.1f} s\n[{slower.low_s:+.1f}, {slower.high_s:+.1f}]", (0.05, 0.86),
            xycoords="axes fraction", color=EXPERT_COLOUR, fontweight="bold",
        )  # fmt: skip
