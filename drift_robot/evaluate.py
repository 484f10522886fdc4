"""Rollouts of a version without learning, on starts that no other phase uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.episode import Episode
from data.schema import JUDGEMENTS, Outcome
from data.session import Session
from drift_robot.actor import Actor
from drift_robot.collect import Progress, noted, store_episode
from drift_robot.compute import chosen_device
from drift_robot.config import Config, config_to_dict
from drift_robot.errors import UserError
from drift_robot.fitting import fitting_manifest
from drift_robot.lockstep import EpisodeLog, LockstepCell, episode_layout, run_episodes
from drift_robot.run_folder import RunFolder, open_session
from drift_robot.seeds import scene_seed
from drift_robot.statistics import Rate, success_rate
from drift_robot.workers import shared_out
from policies.checkpoint import POLICY_FILE, load_manifest

CELLS = 25
BEARING = ("cell", "limits", "policy", "policy_period_s", "inference_steps", "seed")
"""The sections of the configuration on which a rollout depends."""
ACTED = "policy_sha256"
"""The attribute of a rollout that tells whose weights acted."""


@dataclass(frozen=True)
class Rollout:
    """How one episode ended, and its length in steps."""

    success: bool
    steps: int


@dataclass(frozen=True)
class Evaluation:
    """How a version did: its success rate, and mean and deviation of successful episodes' durations in seconds."""

    version: int
    success: Rate
    duration_s: float
    duration_std_s: float
    outcomes: dict[int, bool]


def evaluate(config: Config, version: Path, episodes: int, workers: int, progress: Progress) -> Evaluation:
    """Run a version on the first evaluation starts, shared among worker processes. Reproducible for any `workers`."""
    rollouts: dict[int, Rollout] = {}
    number = load_manifest(version).version
    with shared_out(_run_part, [(config, version, part) for part in _parts(config, episodes)], workers) as finished:
        for part in finished:
            rollouts |= part
            progress(len(rollouts), episodes, f"evaluating version {number}")
    return _evaluation(config, number, rollouts)


def record_evaluation(
    config: Config, run: RunFolder, version: int, episodes: int, workers: int, progress: Progress
) -> Evaluation:
    """Evaluate a version of a run likewise, and record every episode; go on where an earlier call stopped.

    Raises UserError if the version does not fit the configuration, or the recorded episodes are of another one, or of
    other weights.
    """
    sha256 = fitting_manifest(config, run.versions(), version).files[POLICY_FILE]
    session, layout = open_rollouts(config, run.rollouts(version), sha256), episode_layout(config)
    rollouts = _recorded(session)
    parts = [part for part in _parts(config, episodes) if not rollouts.keys() >= set(part)]
    jobs = [(config, run.versions().path(version), part) for part in parts]
    with noted(session, "evaluate", episodes) as events, shared_out(_logs_of_part, jobs, workers) as finished:
        for logs in finished:
            for log in logs:
                if log.seed not in rollouts:
                    store_episode(session, layout, log, events, {ACTED: sha256})
                    rollouts[log.seed] = _rollout(log)
            progress(min(len(rollouts), episodes), episodes, f"evaluating version {version}")
    wanted = {seed for part in _parts(config, episodes) for seed in part}
    return _evaluation(config, version, {seed: rollouts[seed] for seed in wanted})


def open_rollouts(config: Config, folder: Path, sha256: str | None = None) -> Session:
    """Open a session of rollouts that make one figure, or begin it.

    Raises UserError if it was begun with another configuration, or an episode is of other weights than those of a hash.
    """
    session = open_session(folder, config)
    begun, now = session.info.configuration, config_to_dict(config)
    for key in BEARING:
        if begun.get(key) != now[key]:
            raise UserError(f"{folder} was recorded with another '{key}'; move it away to evaluate anew.")
    if sha256 is not None:
        for path in session.episodes():
            if Episode.open(path).attributes.get(ACTED, sha256) != sha256:
                raise UserError(f"{folder} was recorded with other weights; move it away to evaluate anew.")
    return session


def _recorded(session: Session) -> dict[int, Rollout]:
    """Return the rollouts of a session by the seed of their start, as far as it is known how they ended."""
    episodes = map(Episode.open, session.episodes())
    return {
        episode.attributes["scene_seed"]: Rollout(episode.outcome is Outcome.SUCCESS, episode.steps)
        for episode in episodes
        if episode.outcome in JUDGEMENTS
    }


def _parts(config: Config, episodes: int) -> list[list[int]]:
    """Return the seeds of the first starts, in parts that are run side by side."""
    seeds = [scene_seed(config.seed, "evaluation", index) for index in range(episodes)]
    return [seeds[start : start + CELLS] for start in range(0, episodes, CELLS)]


def _evaluation(config: Config, version: int, rollouts: Mapping[int, Rollout]) -> Evaluation:
    lengths = [rollout.steps for rollout in rollouts.values() if rollout.success]
    return Evaluation(
        version=version,
        success=success_rate(len(lengths), len(rollouts)),
        duration_s=float(np.mean(lengths)) * config.policy_period_s if lengths else float("nan"),
        duration_std_s=float(np.std(lengths)) * config.policy_period_s if lengths else float("nan"),
        outcomes={seed: rollouts[seed].success for seed in sorted(rollouts)},
    )


def _run_part(config: Config, version: Path, seeds: list[int]) -> dict[int, Rollout]:
    return {log.seed: _rollout(log) for log in _logs_of_part(config, version, seeds)}


def _rollout(log: EpisodeLog) -> Rollout:
    return Rollout(log.outcome is Outcome.SUCCESS, len(log.steps))


def _logs_of_part(config: Config, version: Path, seeds: list[int]) -> list[EpisodeLog]:
    torch.set_num_threads(1)
    actor = Actor.load(version, seeds[0], chosen_device(config.compute))
    actor.alarm = None  # nobody looks
    return list(run_episodes([LockstepCell(config, "evaluate") for _ in seeds], actor, seeds))
