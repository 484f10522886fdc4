"""What the comparison of methods shows: a table with intervals over seeds, curves as PNG, and everything as JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from drift_robot.benchmark.methods import Result

COLOURS = ("#1f6feb", "#d1570a", "#2da44e", "#8250df", "#8c959f", "#bf3989", "#9a6700", "#0550ae", "#cf222e", "#57606a")
CONFIDENCE = 0.975
STYLES = (("solid", "o"), ("dashed", "s"), ("dotted", "^"))
SMOOTHED = 10
COLUMNS = (
    "method", "seeds", "SR offline", "SR", "MSD, s", "NEL", "CT, h", "MBT offline, ms", "MBT online, ms", "MBT all, ms",
)  # fmt: skip
BASELINE, MOST_LABELLED = "HG", "BC"
BESIDE_COLUMNS = (
    "method",
    "pairs",
    f"SR minus {BASELINE}'s",
    f"CT of {BASELINE}'s",
    f"labels of {MOST_LABELLED}'s at its SR",
)
BESIDE_EXPLANATION = (
    f"Differences and ratios are means over runs with the same task and seed as one of {BASELINE}, with the 95 % "
    "interval of that mean; times are compared between runs on the same machine alone. The last column divides the "
    f"labels by those with which {MOST_LABELLED} is as successful: by those of its next more successful row, and of "
    "the next less successful one."
)
EXPLANATION = (
    "SR: success rate. MSD: mean and standard deviation of a successful episode's duration. NEL: expert labels "
    "(steps), demonstrations included. CT: cumulative training time. MBT: mean time of a training batch. In brackets "
    "the 95 % interval of the mean over seeds (Student's t). Times of rows from different machines say little."
)


TableOf: TypeAlias = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""A title, columns and rows."""


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


def beside(results: Sequence[Result], tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """Return how each row that was run in all of some tasks compares with the baseline; see BESIDE_EXPLANATION."""
    of_tasks = [result for result in results if result.task in tasks]
    baseline = {(r.task, r.seed): r for r in of_tasks if r.row == BASELINE}
    rows: list[tuple[str, ...]] = []
    for name in dict.fromkeys(result.row for result in of_tasks):
        if {result.task for result in of_tasks if result.row == name} != set(tasks):
            continue
        pairs = [
            (result, baseline[result.task, result.seed])
            for result in of_tasks
            if result.row == name and (result.task, result.seed) in baseline
        ]
        difference = mean_over_seeds([of_row.success - other.success for of_row, other in pairs])
        comparable = [(of_row, other) for of_row, other in pairs if of_row.machine == other.machine]
        hours = mean_over_seeds([of_row.training_hours / other.training_hours for of_row, other in comparable])
        shares = [label_share(results, name, task) for task in tasks]
        known, labels = [share for share in shares if share is not None], "-"
        if len(known) == len(tasks):
            labels = " to ".join(dict.fromkeys(f"{share:.2f}" for share in np.mean(known, axis=0)))
        than_others = difference.text(2) if pairs else "-", hours.text(2) if comparable else "-"
        rows.append((name, str(len(pairs)), *than_others, labels))
    return rows


def label_share(results: Sequence[Result], name: str, task: str) -> tuple[float, float] | None:
    """Return between what a row's labels are, divided by those with which the most labelled method is as successful.

    By those of its next more successful row and of the next less successful one, a row with more labels but less
    success left out; of all of them the row's own seeds. None where all are less successful, or all more.
    """
    rows = by_row(results, task)
    seeds = {result.seed for result in rows.get(name, [])}
    matched = [[result for result in of_row if result.seed in seeds] for of_row in rows.values()]
    points = [
        (float(np.mean([r.labels for r in of_row])), float(np.mean([r.success for r in of_row])))
        for of_row in matched
        if of_row and of_row[0].method == MOST_LABELLED
    ]
    labels, success = np.array(sorted(points)).T if points else np.empty((2, 0))
    success, fewest = np.unique(np.maximum.accumulate(success), return_index=True)
    if name not in rows or not len(success):
        return None
    own = float(np.mean([result.success for result in rows[name]]))
    if not success[0] <= own <= success[-1]:
        return None
    below, above = np.searchsorted(success, own, "right") - 1, np.searchsorted(success, own, "left")
    given = float(np.mean([result.labels for result in rows[name]]))
    return given / float(labels[fewest[above]]), given / float(labels[fewest[below]])


def method_tables(results: Sequence[Result]) -> list[TableOf]:
    """Return a table of all methods for each task."""
    return [
        (task, COLUMNS, [cells(name, of_row) for name, of_row in by_row(results, task).items()])
        for task in tasks_of(results)
    ]


def beside_tables(results: Sequence[Result]) -> list[TableOf]:
    """Return how rows compare with the baseline, for each task by itself and, if there are several, for all of them."""
    tasks = tasks_of(results)
    groups = [(task, [task]) for task in tasks] + ([("all tasks", tasks)] if len(tasks) > 1 else [])
    tables = [(f"Beside {BASELINE}: {title}", BESIDE_COLUMNS, beside(results, group)) for title, group in groups]
    return [table for table in tables if len(table[2]) > 1]


def print_tables(results: Sequence[Result], console: Console) -> None:
    """Print all tables and what they mean."""
    for title, columns, rows in method_tables(results) + beside_tables(results):
        table = Table(*columns, title=title, title_style="bold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(EXPLANATION, highlight=False)
    console.print(BESIDE_EXPLANATION, highlight=False)


def markdown(results: Sequence[Result]) -> str:
    """Return all tables as Markdown, and what they mean."""
    of_methods, of_pairs = (
        [line for table in tables for line in _lines(table)]
        for tables in (method_tables(results), beside_tables(results))
    )
    return "\n".join([*of_methods, EXPLANATION, "", *of_pairs, BESIDE_EXPLANATION, ""])


def _lines(table: TableOf) -> list[str]:
    title, columns, rows = table
    head = [f"### {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows), ""]


def write_report(results: Sequence[Result], out: Path) -> None:
    """Write results.json, table.md and curves.png of what is finished so far."""
    (out / "results.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n", "utf-8")
    (out / "table.md").write_text(markdown(results), "utf-8")
    draw_curves(results, out / "curves.png")


def draw_curves(results: Sequence[Result], path: Path) -> None:
    """Draw loss, help needed and labels given over time, and success against labels, a row of panels for each task.

    Lines are means over seeds; a point of the last panel is a mean, with a pale one for each seed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    tasks = tasks_of(results)
    names = list(dict.fromkeys(result.row for result in results))
    looks = dict(zip(names, ((colour, *style) for style in cycle(STYLES) for colour in COLOURS), strict=False))
    panels: tuple[tuple[str, str, Callable[[Result], Sequence[float]]], ...] = (
        ("Training loss, offline", "epoch", lambda result: result.losses_offline),
        ("Training loss, online", "round", lambda result: result.losses_online),
        (f"Online episodes without help (mean of {SMOOTHED})", "online episode", _alone),
        ("Expert labels, demonstrations included", "online episode", _labels),
    )
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    size = (20, 3.4 * len(tasks) + 0.4)
    axes: Any  # matplotlib leaves its grid of axes untyped
    figure, axes = plt.subplots(len(tasks), len(panels) + 1, figsize=size, layout="constrained", squeeze=False)
    for task, row in zip(tasks, axes, strict=True):
        for axis, (title, unit, curve) in zip(row, panels, strict=False):
            for name, of_row in by_row(results, task).items():
                mean = _mean_curve([curve(result) for result in of_row])
                colour, line, _ = looks[name]
                axis.plot(range(1, len(mean) + 1), mean, label=name, color=colour, linestyle=line, linewidth=1.3)
            axis.set(title=title, xlabel=unit)
            if "loss" in title:
                axis.set_yscale("log")
        for name, of_row in by_row(results, task).items():
            labels, success = [r.labels for r in of_row], [r.success for r in of_row]
            colour, _, marker = looks[name]
            row[-1].plot(labels, success, ".", color=colour, alpha=0.3)
            row[-1].plot(np.mean(labels), np.mean(success), marker, color=colour)
            if of_row[0].method == MOST_LABELLED:
                row[-1].annotate(name, (np.mean(labels), np.mean(success)), (4, -9), textcoords="offset points", size=7)
        row[-1].set(title="Success against labels", xlabel="expert labels", xlim=(0, None), ylim=(0, 1.05))
        row[0].set_ylabel(task, fontsize=11, fontweight="bold")
    lines = {line.get_label(): line for row in axes for line in row[0].get_lines()}
    handles = [lines[name] for name in names if name in lines]
    figure.legend(handles=handles, frameon=False, loc="outside lower center", ncols=min(10, len(handles)))
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
