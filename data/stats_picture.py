"""A picture of sessions: who drove when in every episode, how each ended, and how long the interventions were."""

from collections.abc import Sequence
from pathlib import Path

from data.colours import OUTCOME_COLOURS, OWNER_COLOURS
from data.schema import Owner
from data.stats import SessionStats

WIDTH_IN, ROW_IN, LEAST_IN, MOST_IN = 11.0, 0.16, 2.4, 40.0


def draw(sessions: Sequence[SessionStats], path: Path) -> None:
    """Save the picture as PNG: a strip of panels for each session, its episodes from top to bottom."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    heights = [min(max(LEAST_IN, ROW_IN * len(stats.episodes)), MOST_IN) for stats in sessions]
    figure = Figure(figsize=(WIDTH_IN, sum(heights) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(sessions), 2, squeeze=False, height_ratios=heights, width_ratios=[3, 1])
    for stats, (drives, lengths) in zip(sessions, panels, strict=True):
        for row, episode in enumerate(stats.episodes):
            for kind in Owner:
                spans = [(start, end - start) for start, end, owner in episode.drives if owner is kind]
                drives.broken_barh(spans, (row - 0.4, 0.8), color=OWNER_COLOURS[kind])
            drives.plot(
                -0.01,
                row,
                "o",
                markersize=5,
                color=OUTCOME_COLOURS[episode.outcome],
                clip_on=False,
                transform=drives.get_yaxis_transform(),
            )
        drives.set(
            title=f"{stats.name}: {stats.task}",
            xlabel="s",
            ylabel="episodes",
            xlim=(0, None),
            ylim=(len(stats.episodes) - 0.5, -0.5),
        )
        drives.set_yticks([])
        seconds = [length for episode in stats.episodes for length in episode.interventions_s]
        if not seconds:
            lengths.set_axis_off()
            continue
        lengths.hist(seconds, bins=20, color=OWNER_COLOURS[Owner.EXPERT])
        lengths.set(title=f"{len(seconds)} interventions", xlabel="length in s")
        lengths.yaxis.get_major_locator().set_params(integer=True)
    marks = [Patch(color=OWNER_COLOURS[kind], label=kind.name.lower()) for kind in Owner]
    present = dict.fromkeys(episode.outcome for stats in sessions for episode in stats.episodes)
    marks += [Patch(color=OUTCOME_COLOURS[outcome], label=outcome.value) for outcome in present]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=110)
