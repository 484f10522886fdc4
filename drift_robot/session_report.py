"""The report of a session: everything in it follows from what was recorded, so it can be drawn up at any time.

Episodes, their labels and the arm's owner come from the episodes; what happened beside them from the session's events;
training from the trainer's figures. How it looks is in `session_page`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data.episode import Episode
from data.errors import DataError
from data.events import read_events, read_lines
from data.files import write_file, write_json
from data.schema import JUDGEMENTS, Outcome, Owner
from data.session import Session
from data.stats import episode_stats
from drift_robot.run_folder import RunFolder
from drift_robot.statistics import Rate, success_rate
from hardware.clock import NS_PER_S

REPORT_FILE, PAGE_FILE = "report.json", "report.html"
Place = Literal["session", "bin", "interrupted"]
Event = dict[str, Any]


@dataclass(frozen=True)
class EpisodeRow:
    """One episode. `interventions_s`: how long each intervention lasted; `alone`: nobody took over.

    `alarm` is the highest level of the advisory alarm, relative to its threshold, None where none was recorded;
    `alarms` is how often it was raised.
    """

    index: int
    place: Place
    outcome: str
    began_utc: str
    steps: int
    duration_s: float
    version: int
    expert_steps: int
    interventions_s: list[float]
    alone: bool
    alarm: float | None
    alarms: int


@dataclass(frozen=True)
class VersionRow:
    """How a version did in the session: success, and success without help, each with its 95 % interval."""

    version: int
    episodes: int
    success: Rate
    alone: Rate
    interventions: int


@dataclass(frozen=True)
class Latency:
    """How long something took, in milliseconds, in the order in which it happened."""

    name: str
    meaning: str
    values_ms: list[float]

    def quantile_ms(self, share: float) -> float:
        """Return a quantile."""
        return float(np.quantile(self.values_ms, share))


@dataclass(frozen=True)
class CadenceRow:
    """The worst of a loop during an episode."""

    episode: int | None
    loop: str
    target_hz: float
    lowest_hz: float
    worst_late_s: float


@dataclass(frozen=True)
class TrainingRound:
    """One round of the trainer. `offer`: what became of the candidate offered after it, if one was."""

    utc: str
    rounds: int
    updates: int
    loss: float
    batch_ms: float
    training_s: float
    version: int
    offer: Literal["published", "refused"] | None
    message: str


@dataclass(frozen=True)
class Sitting:
    """One call of the command. `ending` is empty if it never came to an end, as after a kill."""

    mode: str
    device: str | None
    began_utc: str
    ended_utc: str
    ending: str


@dataclass(frozen=True)
class SessionReport:
    """Everything that a session's page shows. `phases_s`: how long the session stood in each phase of the gate."""

    folder: str
    task: str
    operator: str
    software: str
    sittings: list[Sitting]
    episodes: list[EpisodeRow]
    damaged: list[str]
    versions: list[VersionRow]
    training: list[TrainingRound]
    latencies: list[Latency]
    cadence: list[CadenceRow]
    phases_s: dict[str, float]
    swaps: list[Event]
    faults: list[Event]
    restarts: dict[str, int]
    refusals: dict[str, int]
    said: list[Event]

    @property
    def whole(self) -> list[EpisodeRow]:
        """The episodes that count."""
        return [row for row in self.episodes if row.place == "session"]

    @property
    def success(self) -> Rate:
        """The success rate of the episodes that count and of which it is known how they ended."""
        judged = [row.outcome for row in self.whole if row.outcome in JUDGEMENTS]
        return success_rate(judged.count(Outcome.SUCCESS.value), len(judged))

    @property
    def interventions_s(self) -> list[float]:
        """The lengths of all interventions in episodes that count."""
        return [length_s for row in self.whole for length_s in row.interventions_s]

    @property
    def expert_steps(self) -> int:
        """The expert's labels in episodes that count."""
        return sum(row.expert_steps for row in self.whole)


def write_session_report(folder: Path) -> Path:
    """Write a session's report, page and JSON, into its folder; return the page. Raises DataError if there is none."""
    from drift_robot.session_page import page

    report = read_session(folder)
    try:
        write_json(folder / REPORT_FILE, {**asdict(report), "success": asdict(report.success)})
        write_file(folder / PAGE_FILE, page(report).encode(), folder / f".{PAGE_FILE}.tmp")
    except OSError as error:
        raise DataError(f"The report of {folder} cannot be written: {error.strerror}.") from error
    return folder / PAGE_FILE


def read_session(folder: Path) -> SessionReport:
    """Return what was recorded of a session. Raises DataError if there is none."""
    session, events = Session.open(folder), read_events(folder)
    places: list[tuple[Place, list[Path]]] = [
        ("session", session.episodes()),
        ("interrupted", session.partial_episodes()),
        ("bin", session.binned_episodes()),
    ]
    rows, damaged = [], []
    for place, paths in places:
        for path in paths:
            try:
                rows.append(_row(Episode.open(path), place))
            except DataError as error:
                damaged.append(str(error))
    rows.sort(key=lambda row: row.index)
    run = RunFolder(folder.parent)
    training = _training(run.trainer_figures) if folder.name == run.session.name else []
    return SessionReport(
        folder=str(folder),
        task=session.info.task,
        operator=session.info.operator,
        software=session.info.software_version,
        sittings=_sittings(events),
        episodes=rows,
        damaged=damaged,
        versions=_versions([row for row in rows if row.place == "session" and row.version >= 0]),
        training=training,
        latencies=_latencies(events, collecting=all(row.version < 0 for row in rows)),
        cadence=_cadence(events),
        phases_s=_phases_s(events),
        swaps=_of(events, "swap"),
        faults=_of(events, "fault"),
        restarts=dict(Counter(event["process"] for event in _of(events, "restarted"))),
        refusals=dict(Counter(event["sentence"] for event in _of(events, "refused"))),
        said=_of(events, "said"),
    )


def _row(episode: Episode, place: Place) -> EpisodeRow:
    stats, alarm = episode_stats(episode), episode.column("alarm")
    return EpisodeRow(
        index=episode.index,
        place=place,
        outcome=episode.outcome.value,
        began_utc=str(episode.attributes.get("started_utc", "")),
        steps=episode.steps,
        duration_s=stats.seconds,
        version=max(stats.versions, default=-1),
        expert_steps=stats.steps[Owner.EXPERT],
        interventions_s=list(stats.interventions_s),
        alone=stats.steps[Owner.LEARNER] == episode.steps,
        alarm=float(np.nanmax(alarm)) if np.isfinite(alarm).any() else None,
        alarms=len(episode.attributes.get("alarms", ())),
    )


def _versions(rows: Sequence[EpisodeRow]) -> list[VersionRow]:
    found = []
    for version in sorted({row.version for row in rows}):
        own = [row for row in rows if row.version == version]
        good = [row for row in own if row.outcome == Outcome.SUCCESS.value]
        found.append(
            VersionRow(
                version=version,
                episodes=len(own),
                success=success_rate(len(good), len(own)),
                alone=success_rate(sum(row.alone for row in good), len(own)),
                interventions=sum(len(row.interventions_s) for row in own),
            )
        )
    return found


def _of(events: Sequence[Event], kind: str) -> list[Event]:
    return [event for event in events if event["kind"] == kind]


def _sittings(events: Sequence[Event]) -> list[Sitting]:
    """Return each call of the command: what was noted from its begin to the next one's belongs to it."""
    found: list[Sitting] = []
    for event in events:
        if event["kind"] == "begun":
            found.append(Sitting(event["mode"], event["device"], event["utc"], event["utc"], ""))
        elif found:
            ending = event["sentence"] if event["kind"] == "ended" else found[-1].ending
            found[-1] = Sitting(found[-1].mode, found[-1].device, found[-1].began_utc, event["utc"], ending)
    return found


def _latencies(events: Sequence[Event], collecting: bool) -> list[Latency]:
    """Return what was timed; where demonstrations are collected nobody is there to take over from."""
    taken_s = [event["after_s"] for event in _of(events, "handover") if event["to"] == "expert" and not collecting]
    swapped_s = [event["seconds"] for event in _of(events, "swap")]
    saved_s = [event["save_s"] for event in _of(events, "episode") if event["index"] is not None]
    timed = (
        ("takeover", "from the reading of the device to the gate's decision", taken_s),
        ("swap", "for which a version's weights were loaded, the arm at rest", swapped_s),
        ("save", "from the order to save until the episode was safe on disk", saved_s),
    )
    known = [(name, meaning, [1000 * s for s in seconds if s is not None]) for name, meaning, seconds in timed]
    return [Latency(*latency) for latency in known if latency[2]]


def _cadence(events: Sequence[Event]) -> list[CadenceRow]:
    return [
        CadenceRow(event["index"], loop, **event[loop])
        for event in _of(events, "episode")
        for loop in ("control", "arm")
        if event[loop] is not None
    ]


def _phases_s(events: Sequence[Event]) -> dict[str, float]:
    """Return how long each phase lasted in all; the last one of a sitting until the last thing noted in it."""
    lasted_s: Counter[str] = Counter()
    phase = None
    for event, following in pairwise(events):
        if event["kind"] == "begun":
            phase = None
        phase = event["phase"] if event["kind"] == "phase" else phase
        if phase is not None and following["kind"] != "begun":
            lasted_s[phase] += (following["time_ns"] - event["time_ns"]) / NS_PER_S
    return dict(lasted_s)


def _training(figures: Path) -> list[TrainingRound]:
    """Return the trainer's rounds; runs of an earlier software say less of each."""
    return [
        TrainingRound(
            utc=line.get("utc", ""),
            rounds=line["rounds"],
            updates=line["updates"],
            loss=line["losses"][-1],
            batch_ms=1000 * line.get("round_batch_seconds", line["batch_seconds"]),
            training_s=line["training_seconds"],
            version=line["version"],
            offer=line.get("offer"),
            message=line["message"],
        )
        for line in read_lines(figures, "rounds")
        if line["losses"]
    ]
