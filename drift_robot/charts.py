"""How the project's pictures look: colours, fonts, and panels side by side in a PNG or an SVG."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.files import write_file

ACCENT, MUTED, EXPERT_COLOUR = "#1f6feb", "#8c959f", "#d1570a"
SUCCESS_COLOUR, FAILURE_COLOUR, SWAP_COLOUR = "#2da44e", "#cf222e", "#8250df"
DPI = 110
ROLLING = 10


@contextmanager
def panels(
    count: int, figsize: tuple[float, float], width_ratios: Sequence[float] | None = None, columns: int | None = None
) -> Iterator[tuple[Any, list[Any]]]:
    """Give a figure and `count` axes, side by side or in rows of `columns`; drawn without a screen, then closed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "drift-robot"}
    )
    columns = columns or count
    figure, axes = plt.subplots(
        -(-count // columns),
        columns,
        figsize=figsize,
        layout="constrained",
        squeeze=False,
        gridspec_kw={"width_ratios": width_ratios},
    )
    for unused in axes.flat[count:]:
        unused.set_axis_off()
    try:
        yield figure, list(axes.flat[:count])
    finally:
        plt.close(figure)


def save_png(figure: Any, path: Path) -> None:
    """Save a figure as a PNG, whole or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    write_file(path, content.getvalue(), path.with_name(f".{path.name}.tmp"))


def to_svg(figure: Any) -> str:
    """Return a figure as an SVG element that can stand in a page."""
    content = io.StringIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


def draw_rolling_success(axes: Any, numbers: Sequence[int], successes: Sequence[bool], label: str) -> None:
    """Draw the success rate of the last `ROLLING` episodes at each."""
    window = max(1, min(ROLLING, len(successes)))
    rolling = [
        sum(successes[max(0, i - window + 1) : i + 1]) / len(successes[max(0, i - window + 1) : i + 1])
        for i in range(len(successes))
    ]
    axes.plot(numbers, rolling, color=MUTED, label=f"{label} (mean of {window})")
    axes.set(title="Success", xlabel="episode", ylim=(-0.03, 1.05))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def draw_expert_steps(axes: Any, numbers: Sequence[int], steps: Sequence[int]) -> None:
    """Draw the expert's labels in each episode."""
    axes.bar(numbers, steps, color=EXPERT_COLOUR, width=0.8)
    axes.set(title="Expert steps in each episode", xlabel="episode")
