"""Rollouts of a version without learning, on starts that no other phase uses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.schema import Outcome
from drift_robot.actor import Actor
from drift_robot.collect import Progress
from drift_robot.compute import chosen_device
from drift_robot.config import Config
from drift_robot.lockstep import LockstepCell, run_episodes
from drift_robot.seeds import scene_seed
from drift_robot.statistics import Rate, success_rate
from drift_robot.workers import shared_out

CELLS = 25


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
    seeds = [scene_seed(config.seed, "evaluation", index) for index in range(episodes)]
    parts = [seeds[start : start + CELLS] for start in range(0, episodes, CELLS)]
    outcomes: dict[int, bool] = {}
    steps: list[int] = []
    number = 0
    with shared_out(_run_part, [(config, version, part) for part in parts], workers) as finished:
        for number, results in finished:
            outcomes |= {seed: success for seed, success, _ in results}
            steps += [length for _, success, length in results if success]
            progress(len(outcomes), episodes, f"evaluating version {number}")
    return Evaluation(
        version=number,
        success=success_rate(sum(outcomes.values()), episodes),
        duration_s=float(np.mean(steps)) * config.policy_period_s if steps else float("nan"),
        duration_std_s=float(np.std(steps)) * config.policy_period_s if steps else float("nan"),
        outcomes=dict(sorted(outcomes.items())),
    )


def _run_part(config: Config, version: Path, seeds: list[int]) -> tuple[int, list[tuple[int, bool, int]]]:
    torch.set_num_threads(1)
    actor = Actor.load(version, seeds[0], chosen_device(config.compute))
    actor.alarm = None  # nobody looks
    cells = [LockstepCell(config, "evaluate") for _ in seeds]
    logs = run_episodes(cells, actor, seeds)
    return actor.version, [(log.seed, log.outcome is Outcome.SUCCESS, len(log.steps)) for log in logs]
