"""What the demo shows at its end: a table, `report.json` and a picture of success and rank over time."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data.episode import Episode
from data.errors import DataError
from data.schema import JUDGEMENTS, Outcome, Owner
from data.session import Session
from drift_robot.charts import ACCENT, EXPERT_COLOUR, MUTED, draw_expert_steps, draw_rolling_success, panels, save_png
from drift_robot.statistics import Rate


@dataclass(frozen=True)
class EpisodeFigures:
    """One online episode: how it ended, whether the learner did it alone, and the labels that it gave.

    `judged`: it is known how it ended, as it is not of one that was repaired.
    """

    index: int
    version: int
    success: bool
    autonomous: bool
    steps: int
    expert_labels: int
    judged: bool = True


def recorded_figures(session: Session) -> list[EpisodeFigures]:
    """Return the figures of a session's finished episodes, as far as they can be read."""
    figures = []
    for path in session.episodes():
        with suppress(DataError):
            figures.append(_figures(Episode.open(path)))
    return figures


def _figures(episode: Episode) -> EpisodeFigures:
    owner, version = episode.column("owner"), episode.column("policy.version")
    return EpisodeFigures(
        index=episode.index,
        version=int(version.max(initial=-1)),
        success=episode.outcome is Outcome.SUCCESS,
        autonomous=bool((owner == Owner.LEARNER).all()),
        steps=episode.steps,
        expert_labels=int((owner == Owner.EXPERT).sum()),
        judged=episode.outcome in JUDGEMENTS,
    )


@dataclass(frozen=True)
class BatchTime:
    """Mean time of a training batch in seconds."""

    offline: float
    online: float


@dataclass(frozen=True)
class Report:
    """The figures of one demo run. Times in seconds unless named otherwise."""

    task: str
    preset: str
    seed: int
    shift: str
    success_before: Rate
    success_after: Rate
    success_control: Rate | None
    demonstrations: int
    expert_labels: int
    versions_swapped: int
    training_hours: float
    mean_batch_time: BatchTime
    ranks: list[int]
    episodes: list[EpisodeFigures]
    wall_seconds: float
    stages: dict[str, float]

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def print(self, console: Console) -> None:
        """Print the figures as a table."""
        table = Table(
            title=f"drift-robot demo: {self.task}, preset {self.preset}, seed {self.seed}", title_style="bold"
        )
        table.add_column("figure")
        table.add_column("value", justify="right")
        table.add_column("95 % interval", justify="right")
        for name, rate in (
            ("success before adapting", self.success_before),
            ("success after adapting", self.success_after),
            ("success of the control, no interventions", self.success_control),
        ):
            if rate is not None:
                table.add_row(name, f"{rate.rate:.0%} of {rate.episodes}", f"{rate.low:.0%} to {rate.high:.0%}")
        table.add_section()
        table.add_row("demonstrations", f"{self.demonstrations}")
        table.add_row("online episodes", f"{len(self.episodes)}")
        table.add_row("expert labels (online)", f"{self.expert_labels}")
        table.add_row("versions swapped in", f"{self.versions_swapped}")
        table.add_row("trainable rank, first to last", f"{self.ranks[0]} to {self.ranks[-1]}")
        table.add_row("training", f"{self.training_hours:.3f} h")
        table.add_row(
            "mean batch time, offline / online",
            f"{1e3 * self.mean_batch_time.offline:.1f} / {1e3 * self.mean_batch_time.online:.1f} ms",
        )
        table.add_row("wall time (control not counted)", f"{self.wall_seconds:.0f} s")
        console.print(table)
        console.print(self.shift)


def draw_progress(report: Report, path: Path) -> None:
    """Draw success before, during and after adapting, expert labels and the trainable rank into a PNG."""
    numbers = [episode.index + 1 for episode in report.episodes]
    alone = [episode.autonomous and episode.success for episode in report.episodes]
    with panels(3, (12.5, 3.8), [1.5, 1, 1]) as (figure, (success, labels, rank)):
        draw_rolling_success(success, numbers, alone, "online, without help")
        end, apart = len(numbers) + 1, max(1.0, 0.06 * len(numbers))
        for x, rate, colour, name in (
            (0, report.success_before, ACCENT, "before"),
            (end, report.success_after, ACCENT, "after"),
            (end + apart, report.success_control, EXPERT_COLOUR, "control"),
        ):
            if rate is None:
                continue
            success.errorbar(
                [x],
                [rate.rate],
                yerr=[[rate.rate - rate.low], [rate.high - rate.rate]],
                fmt="o",
                color=colour,
                capsize=4,
            )
            success.annotate(
                f"{name} {rate.rate:.0%}", (x, rate.rate), textcoords="offset points",
                xytext=(8, -4) if x == 0 else (-8, -4), ha="left" if x == 0 else "right", color=colour,
                fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
            )  # fmt: skip
        success.set(ylim=(-0.03, 1.05), xlim=(-0.5, end + apart + 0.5))
        success.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))  # where no point can be
        draw_expert_steps(labels, numbers, [episode.expert_labels for episode in report.episodes])
        rank.step(range(1, len(report.ranks) + 1), report.ranks, where="post", color=ACCENT)
        rank.fill_between(range(1, len(report.ranks) + 1), report.ranks, step="post", color=ACCENT, alpha=0.15)
        rank.set(title="Trainable rank", xlabel="offline epoch", ylim=(0, max(report.ranks) * 1.08))
        figure.suptitle(f"{report.task}, seed {report.seed}: {report.shift}", fontsize=10, color=MUTED)
        save_png(figure, path)
