"""The pictures of a session's report: a panel for everything of which there is something to show."""

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np

from data.schema import Outcome
from drift_robot.charts import (
    ACCENT,
    EXPERT_COLOUR,
    FAILURE_COLOUR,
    MUTED,
    SUCCESS_COLOUR,
    SWAP_COLOUR,
    draw_expert_steps,
    draw_rolling_success,
    panels,
)
from drift_robot.session_report import SessionReport

COLUMNS = 3
PANEL_SIZE = (4.6, 3.3)
PHASES = {
    "learner": (ACCENT, "policy drives"),
    "transition": (EXPERT_COLOUR, "expert takes over"),
    "expert": (EXPERT_COLOUR, "expert drives"),
    "hold": ("#6e7781", "hold"),
    "saving": ("#57606a", "saving"),
    "resetting": (SWAP_COLOUR, "resetting"),
    "idle": ("#d0d7de", "ready, waiting"),
    "fault": (FAILURE_COLOUR, "fault"),
}
Draw = Callable[[Any, SessionReport], None]


def draw_session(report: SessionReport, use: Callable[[Any], str | None]) -> str | None:
    """Draw all panels that have something to show and hand the figure to `use`; None if there are none."""
    drawn = [draw for has, draw in PANELS if has(report)]
    if not drawn:
        return None
    rows = -(-len(drawn) // COLUMNS)
    with panels(len(drawn), (COLUMNS * PANEL_SIZE[0], rows * PANEL_SIZE[1]), columns=COLUMNS) as (figure, axes):
        for draw, place in zip(drawn, axes, strict=True):
            draw(place, report)
            if place.get_xlabel() in ("episode", "round"):
                place.xaxis.get_major_locator().set_params(integer=True)
        return use(figure)


def _draw_success(axes: Any, report: SessionReport) -> None:
    """Draw each episode, the rolling rate without help, and bands of the versions that acted."""
    rows = report.whole
    numbers = list(range(1, len(rows) + 1))
    for helped, marker in ((False, "o"), (True, "x")):
        for outcome, colour in ((Outcome.SUCCESS.value, SUCCESS_COLOUR), (Outcome.FAILURE.value, FAILURE_COLOUR)):
            chosen = [
                n for n, row in zip(numbers, rows, strict=True) if row.alone is not helped and row.outcome == outcome
            ]
            height = 1.0 if outcome == Outcome.SUCCESS.value else 0.0
            axes.scatter(chosen, [height] * len(chosen), color=colour, marker=marker, s=22, zorder=3)
    alone = [row.alone and row.outcome == Outcome.SUCCESS.value for row in rows]
    draw_rolling_success(axes, numbers, alone, "without help")
    start = 0.5
    for i, (version, own) in enumerate(groupby(rows, key=lambda row: row.version)):
        end = start + len(list(own))
        if version >= 0:
            axes.axvspan(start, end, color=SWAP_COLOUR, alpha=0.10 if i % 2 else 0.03, linewidth=0)
            axes.text((start + end) / 2, 0.8, f"v{version}", ha="center", fontsize=7, color=SWAP_COLOUR, rotation=90)
        start = end
    axes.set(title="Success (x: with help) and the version that acted", xlim=(0.5, len(rows) + 0.5))
    axes.legend(frameon=False, loc="lower right", fontsize=7)


def _draw_interventions(axes: Any, report: SessionReport) -> None:
    """Draw each intervention's length, stacked by episode."""
    for n, row in enumerate(report.whole, 1):
        below = 0.0
        for i, length_s in enumerate(row.interventions_s):
            axes.bar(n, length_s, bottom=below, width=0.8, color=EXPERT_COLOUR, alpha=0.55 if i % 2 else 1.0)
            below += length_s
    lengths_s = report.interventions_s
    median = f", median {np.median(lengths_s):.1f} s" if lengths_s else ""
    axes.set(title=f"{len(lengths_s)} interventions{median}", xlabel="episode", ylabel="s")
    axes.set_xlim(0.5, len(report.whole) + 0.5)


def _draw_labels(axes: Any, report: SessionReport) -> None:
    rows = report.whole
    numbers = list(range(1, len(rows) + 1))
    steps = [row.expert_steps for row in rows]
    draw_expert_steps(axes, numbers, steps)
    summed = axes.twinx()
    summed.plot(numbers, np.cumsum(steps), color=MUTED)
    summed.set_ylim(0, 1.05 * max(1, sum(steps)))
    summed.spines["right"].set_visible(True)
    axes.set(title=f"Expert steps: each episode, and {sum(steps)} in all", xlim=(0.5, len(rows) + 0.5))


def _draw_loss(axes: Any, report: SessionReport) -> None:
    """Draw the loss of each round, and which candidates were published or refused after it."""
    numbers = np.arange(1, len(report.training) + 1)
    losses = np.array([training.loss for training in report.training])
    axes.plot(numbers, losses, color=ACCENT)
    for offer, colour, marker in (("published", SUCCESS_COLOUR, "^"), ("refused", FAILURE_COLOUR, "X")):
        chosen = np.array([training.offer == offer for training in report.training])
        if chosen.any():
            axes.scatter(numbers[chosen], losses[chosen], color=colour, marker=marker, zorder=3, label=offer)
    axes.set(title="Training loss; candidates", xlabel="round", ylim=(0, 1.1 * losses.max()))
    if any(training.offer for training in report.training):
        axes.legend(frameon=False, fontsize=8)


def _draw_batches(axes: Any, report: SessionReport) -> None:
    times_ms = [training.batch_ms for training in report.training]
    axes.plot(range(1, len(times_ms) + 1), times_ms, color=ACCENT)
    axes.set(title=f"Batch time, mean {np.mean(times_ms):.0f} ms", xlabel="round", ylabel="ms", ylim=(0, None))


def _draw_latencies(axes: Any, report: SessionReport) -> None:
    """Draw every takeover, swap and save on a logarithmic axis."""
    rng = np.random.default_rng(0)
    for y, latency in enumerate(report.latencies):
        values_ms = np.maximum(latency.values_ms, 0.01)
        axes.scatter(values_ms, y + rng.uniform(-0.16, 0.16, len(values_ms)), color=ACCENT, s=10, alpha=0.6)
        axes.plot([latency.quantile_ms(0.5)] * 2, [y - 0.3, y + 0.3], color="black")
    axes.set(title="Latencies (bar: median)", xlabel="ms", xscale="log", ylim=(-0.6, len(report.latencies) - 0.4))
    axes.set_yticks(range(len(report.latencies)), [latency.name for latency in report.latencies])


def _draw_cadence(axes: Any, report: SessionReport) -> None:
    """Draw the lowest rate of each loop in each episode, as a share of the wanted one."""
    for loop, colour in (("control", ACCENT), ("arm", EXPERT_COLOUR)):
        rows = [row for row in report.cadence if row.loop == loop]
        if rows:
            shares = [row.lowest_hz / row.target_hz for row in rows]
            axes.plot(range(1, len(rows) + 1), shares, ".-", color=colour, label=f"{loop}, {rows[-1].target_hz:.0f} Hz")
    axes.axhline(0.95, color=MUTED, linewidth=0.8, linestyle="--")
    axes.set(title="Cadence: lowest rate in each episode", xlabel="episode", ylim=(0, 1.1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(frameon=False, loc="lower left", fontsize=8)


def _draw_phases(axes: Any, report: SessionReport) -> None:
    """Draw where the session's time went."""
    known = [phase for phase in reversed(PHASES) if report.phases_s.get(phase, 0.0) > 0]
    whole_s = sum(report.phases_s.values())
    for y, phase in enumerate(known):
        seconds = report.phases_s[phase]
        axes.barh(y, seconds, color=PHASES[phase][0])
        axes.text(seconds, y, f" {seconds:.3g} s", va="center", fontsize=8)
    axes.set_yticks(range(len(known)), [PHASES[phase][1] for phase in known])
    axes.set(title=f"Where {whole_s / 60:.1f} min went", xlabel="s", xlim=(0, 1.2 * max(report.phases_s.values())))


def _draw_alarm(axes: Any, report: SessionReport) -> None:
    """Draw the highest level of the advisory alarm in each episode, against the threshold."""
    rows = [(n, row) for n, row in enumerate(report.whole, 1) if row.alarm is not None]
    for alone, colour, words in ((True, SUCCESS_COLOUR, "no intervention"), (False, EXPERT_COLOUR, "intervention")):
        chosen = [(n, row.alarm) for n, row in rows if row.alone is alone]
        axes.scatter([n for n, _ in chosen], [value for _, value in chosen], color=colour, s=22, label=words)
    axes.axhline(1.0, color=MUTED, linewidth=0.8, linestyle="--")
    raised = sum(row.alarms for row in report.whole)
    axes.set(title=f"Highest alarm level; raised {raised} times", xlabel="episode", yscale="log")
    axes.legend(frameon=False, fontsize=8)


PANELS: list[tuple[Callable[[SessionReport], bool], Draw]] = [
    (lambda report: bool(report.whole), _draw_success),
    (lambda report: any(row.version >= 0 for row in report.whole), _draw_interventions),
    (lambda report: report.expert_steps > 0, _draw_labels),
    (lambda report: bool(report.training), _draw_loss),
    (lambda report: bool(report.training), _draw_batches),
    (lambda report: bool(report.latencies), _draw_latencies),
    (lambda report: bool(report.cadence), _draw_cadence),
    (lambda report: bool(report.phases_s), _draw_phases),
    (lambda report: any(row.alarm is not None for row in report.whole), _draw_alarm),
]
"""Whether there is something to show, and what draws it."""
