"""What the comparison of methods shows: a table with intervals over seeds, curves as PNG, and everything as JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from drift_robot.benchmark.methods import Result

COLOURS = ("#1f6feb", "#d1570a", "#2da44e", "#8250df", "#8c959f", "#bf3989", "#9a6700", "#0550ae", "#cf222e", "#57606a")
CONFIDENCE = 0.975
SMOOTHED = 10
COLUMNS = (
    "method", "seeds", "SR offline", "SR", "MSD, s", "NEL", "CT, h", "MBT offline, ms", "MBT online, ms", "MBT all, ms",
)  # fmt: skip
EXPLANATION = (
    "SR: success rate. MSD: mean and standard deviation of a successful episode's duration. NEL: expert labels "
    "(steps), demonstrations included. CT: cumulative training time. MBT: mean time of a training batch. In brackets "
    "the 95 % interval of the mean over seeds (Student's t)."
)


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95 % interval, which one seed does not give."""

    value: float
    half: float | None

    def text(self, digits: int, low: float = -np.inf, high: float = np.inf) -> str:
        """Return value and interval in so many digits; the interval ends at the bounds of what is possible."""
        value = f"{self.value:.{digits}f}"
        if self.half is None:
            return value
        return (
            f"{value} [{max(low, self.value - self.half):.{digits}f}, {min(high, self.value + self.half):.{digits}f}]"
        )


def mean_over_seeds(values: Sequence[float | None]) -> Mean:
    """Return the mean of the values that there are, one a seed, with Student's interval."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return Mean(float("nan"), None)
    if len(known) == 1:
        return Mean(float(known[0]), None)
    error = known.std(ddof=1) / np.sqrt(len(known))
    return Mean(float(known.mean()), float(stdtrit(len(known) - 1, CONFIDENCE) * error))


def by_row(results: Sequence[Result], task: str) -> dict[str, list[Result]]:
    """Return the results of a task for each row, in the order in which rows first come."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        if result.task == task:
            rows.setdefault(result.row, []).append(result)
    return rows


def tasks_of(results: Sequence[Result]) -> list[str]:
    """Return the tasks in the order in which they first come."""
    return list(dict.fromkeys(result.task for result in results))


def cells(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    """Return a row of the table."""

    def text(value: Callable[[Result], float | None], digits: int, high: float = np.inf) -> str:
        return mean_over_seeds([value(result) for result in results]).text(digits, 0.0, high)

    online = [result for result in results if result.updates_online]
    deviation = mean_over_seeds([result.duration_std_s for result in results]).value
    return (
        name,
        str(len(results)),
        text(lambda result: result.success_offline, 2, 1.0),
        text(lambda result: result.success, 2, 1.0),
        f"{text(lambda result: result.duration_s, 1)} ± {deviation:.1f}",
        text(lambda result: result.labels, 0),
        text(lambda result: result.training_hours, 3),
        text(lambda result: 1e3 * result.batch_seconds_offline, 1),
        text(lambda result: 1e3 * result.batch_seconds_online, 1) if online else "-",
        text(lambda result: 1e3 * result.batch_seconds, 1),
    )


def print_tables(results: Sequence[Result], console: Console) -> None:
    """Print a table for each task."""
    for task in tasks_of(results):
        table = Table(*COLUMNS, title=task, title_style="bold")
        for name, of_row in by_row(results, task).items():
            table.add_row(*cells(name, of_row))
        console.print(table)
    console.print(EXPLANATION, highlight=False)


def markdown(results: Sequence[Result]) -> str:
    """Return the tables as Markdown."""
    lines = []
    for task in tasks_of(results):
        lines += [f"### {task}", "", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        lines += [f"| {' | '.join(cells(name, of_row))} |" for name, of_row in by_row(results, task).items()]
        lines.append("")
    return "\n".join([*lines, EXPLANATION, ""])


def write_report(results: Sequence[Result], out: Path) -> None:
    """Write results.json, table.md and curves.png of what is finished so far."""
    (out / "results.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", "utf-8")
    (out / "table.md").write_text(markdown(results), "utf-8")
    draw_curves(results, out / "curves.png")


def draw_curves(results: Sequence[Result], path: Path) -> None:
    """Draw loss, help needed and labels given over time, means over seeds, a row of panels for each task."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    tasks = tasks_of(results)
    colours = dict(zip(dict.fromkeys(result.row for result in results), COLOURS * 10, strict=False))
    panels: tuple[tuple[str, str, Callable[[Result], Sequence[float]]], ...] = (
        ("Training loss, offline", "epoch", lambda result: result.losses_offline),
        ("Training loss, online", "round", lambda result: result.losses_online),
        (f"Online episodes without help (mean of {SMOOTHED})", "online episode", _alone),
        ("Expert labels, demonstrations included", "online episode", _labels),
    )
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    size = (16, 3.4 * len(tasks) + 0.4)
    axes: Any  # matplotlib leaves its grid of axes untyped
    figure, axes = plt.subplots(len(tasks), len(panels), figsize=size, layout="constrained", squeeze=False)
    for task, row in zip(tasks, axes, strict=True):
        for axis, (title, unit, curve) in zip(row, panels, strict=True):
            for name, of_row in by_row(results, task).items():
                mean = _mean_curve([curve(result) for result in of_row])
                axis.plot(range(1, len(mean) + 1), mean, color=colours[name], label=name, linewidth=1.3)
            axis.set(title=f"{task}: {title}", xlabel=unit)
            if "loss" in title:
                axis.set_yscale("log")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=min(10, len(labels)))
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    length = min((len(curve) for curve in curves), default=0)
    return [float(np.mean([curve[i] for curve in curves])) for i in range(length)]


def _alone(result: Result) -> list[float]:
    alone = [float(episode.autonomous and episode.success) for episode in result.episodes]
    return [float(np.mean(alone[max(0, end - SMOOTHED) : end])) for end in range(1, len(alone) + 1)]


def _labels(result: Result) -> list[float]:
    return [float(n) for n in accumulate((e.expert_labels for e in result.episodes), initial=result.labels_offline)][1:]
