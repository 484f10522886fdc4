"""What sessions hold, in figures: episodes by outcome, steps by owner, interventions, labels, versions, hours.

Reading and adding up only; `data.report` prints it, and `data.stats_picture` draws it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.episode import Episode
from data.errors import DataError
from data.schema import Outcome, Owner
from data.session import Session

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class EpisodeStats:
    """One whole episode.

    `drives` says who drove from when to when, in seconds since the first step; `interventions_s` are the lengths of the
    stretches without the learner in which the expert drove; `versions` are those that acted.
    """

    number: int
    outcome: Outcome
    relabelled: bool
    seconds: float
    steps: dict[Owner, int]
    drives: tuple[tuple[float, float, Owner], ...]
    interventions_s: tuple[float, ...]
    versions: tuple[int, ...]


@dataclass(frozen=True)
class SessionStats:
    """One session, or several added up: their whole episodes, and how many others there are.

    `binned`: in the bin; `damaged`: why an episode cannot be read, a sentence each.
    """

    name: str
    task: str
    episodes: tuple[EpisodeStats, ...]
    interrupted: int
    binned: int
    damaged: tuple[str, ...]


def session_stats(folder: Path) -> SessionStats:
    """Read a session. Raises DataError if there is none; an episode that cannot be read is named, not counted."""
    session = Session.open(folder)
    episodes, damaged = [], []
    for path in session.episodes():
        try:
            episodes.append(episode_stats(Episode.open(path)))
        except DataError as error:
            damaged.append(str(error))
    interrupted, binned = len(session.partial_episodes()), len(session.binned_episodes())
    return SessionStats(str(folder), session.info.task, tuple(episodes), interrupted, binned, tuple(damaged))


def total(sessions: Sequence[SessionStats]) -> SessionStats:
    """Return sessions added up."""
    return SessionStats(
        name="total",
        task=", ".join(dict.fromkeys(session.task for session in sessions)),
        episodes=tuple(chain.from_iterable(session.episodes for session in sessions)),
        interrupted=sum(session.interrupted for session in sessions),
        binned=sum(session.binned for session in sessions),
        damaged=tuple(chain.from_iterable(session.damaged for session in sessions)),
    )


def episode_stats(episode: Episode) -> EpisodeStats:
    """Read an episode's labels. Raises DataError if they are damaged."""
    owner, versions = episode.column("owner"), np.unique(episode.column("policy.version"))
    edges_s = step_edges_s(episode.column("time.step"))
    return EpisodeStats(
        number=episode.index,
        outcome=episode.outcome,
        relabelled=any(change.undone is None for change in episode.relabellings),
        seconds=float(edges_s[-1]),
        steps={kind: int((owner == kind).sum()) for kind in Owner},
        drives=tuple((float(edges_s[start]), float(edges_s[stop]), kind) for start, stop, kind in turns(owner)),
        interventions_s=tuple(float(edges_s[stop] - edges_s[start]) for start, stop in interventions(owner)),
        versions=tuple(int(version) for version in versions if version >= 0),
    )


def step_edges_s(time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return where n steps begin and end (n + 1,), in seconds from the first; the last lasts as long as is usual."""
    spans = np.diff(time_ns)
    lasting = [*spans.tolist(), float(np.median(spans)) if len(spans) else 0.0]
    return np.concatenate([[0.0], np.cumsum(lasting[: len(time_ns)]) / NS_PER_S])


def turns(owner: NDArray[np.uint8]) -> Iterator[tuple[int, int, Owner]]:
    """Yield (first step, step after the last, owner) for each stretch with one owner."""
    start = 0
    for kind, steps in groupby(owner.tolist()):
        stop = start + len(list(steps))
        yield start, stop, Owner(kind)
        start = stop


def takeovers(owner: NDArray[np.uint8]) -> int:
    """Return how often the arm went from the learner to the expert."""
    learner = owner == Owner.LEARNER
    return int((learner[:-1] & ~learner[1:]).sum())


def interventions(owner: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Yield (first step, step after the last) of each stretch without the learner in which the expert drove.

    Where the learner never drove, the episode is a demonstration, and there are none.
    """
    if not (owner == Owner.LEARNER).any():
        return
    stretches = groupby(turns(owner), key=lambda turn: turn[2] is Owner.LEARNER)
    for is_learner, parts in stretches:
        stretch = list(parts)
        if not is_learner and any(kind is Owner.EXPERT for _, _, kind in stretch):
            yield stretch[0][0], stretch[-1][1]


def figures(stats: SessionStats) -> dict[str, Any]:
    """Return the figures of a session as plain JSON values; rates and lengths are None where there is nothing."""
    episodes = stats.episodes
    outcomes = Counter(episode.outcome for episode in episodes)
    judged = outcomes[Outcome.SUCCESS] + outcomes[Outcome.FAILURE]
    steps = {kind: sum(episode.steps[kind] for episode in episodes) for kind in Owner}
    lengths = [length for episode in episodes for length in episode.interventions_s]
    acted = Counter(version for episode in episodes for version in episode.versions)
    return {
        "session": stats.name,
        "task": stats.task,
        "episodes": len(episodes),
        "outcomes": {outcome.value: outcomes[outcome] for outcome in Outcome if outcome is not Outcome.DISCARDED},
        "success_rate": outcomes[Outcome.SUCCESS] / judged if judged else None,
        "learner_alone": sum(_only(episode, Owner.LEARNER) for episode in episodes),
        "demonstrations": sum(episode.steps[Owner.LEARNER] == 0 < episode.steps[Owner.EXPERT] for episode in episodes),
        "interrupted": stats.interrupted,
        "in_bin": stats.binned,
        "damaged": list(stats.damaged),
        "relabelled": sum(episode.relabelled for episode in episodes),
        "hours": sum(episode.seconds for episode in episodes) / 3600,
        "steps": sum(steps.values()),
        "steps_by_owner": {kind.name.lower(): count for kind, count in steps.items()},
        "expert_labels": steps[Owner.EXPERT],
        "interventions": {
            "count": len(lengths),
            "episodes": sum(len(episode.interventions_s) > 0 for episode in episodes),
            "total_s": sum(lengths),
            "median_s": float(np.median(lengths)) if lengths else None,
            "longest_s": max(lengths, default=None),
        },
        "versions": {str(version): count for version, count in sorted(acted.items())},
    }


def document(sessions: Iterable[SessionStats]) -> dict[str, Any]:
    """Return the figures of sessions, of each of their episodes and of all together, as plain JSON values."""
    read = list(sessions)
    return {
        "sessions": [figures(stats) | {"each_episode": [_row(item) for item in stats.episodes]} for stats in read],
        "total": figures(total(read)),
    }


def _row(episode: EpisodeStats) -> dict[str, Any]:
    return {
        "number": episode.number,
        "outcome": episode.outcome.value,
        "relabelled": episode.relabelled,
        "seconds": episode.seconds,
        "steps_by_owner": {kind.name.lower(): count for kind, count in episode.steps.items()},
        "interventions_s": list(episode.interventions_s),
        "versions": list(episode.versions),
    }


def _only(episode: EpisodeStats, kind: Owner) -> bool:
    return 0 < episode.steps[kind] == sum(episode.steps.values())
