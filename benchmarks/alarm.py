"""How well the alarm tells failures from successes, on simulated failures.

    python benchmarks/alarm.py [--seeds 0 1 2] [--conditions ...] [--out alarm.png] [--json FILE]

Collects demonstrations and bootstraps a policy for each seed as `drift-robot` does, and lets it act alone:

    training   as it was trained
    shifted    with the configuration's deployment shift
    knocked    with a cube that is knocked up to 8 cm away while the arm approaches it
    adapted    shifted, but after the whole online phase, which takes its time
    newest     shifted, and judged is the newest chunk instead of what is left of the one before it, as in Diff-DAgger;
               its threshold is found at the recorded actions of training windows

An episode is alarmed if the alarm was ever raised. The picture shows what other thresholds would give; its x axis is of
the first condition. With `--runs FOLDER` an interrupted run goes on, or is used again.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from measuring import Row, percentiles, report
from numpy.typing import NDArray
from torch import Tensor

from data.schema import Outcome
from data.windows import Source
from drift_robot.actor import Actor
from drift_robot.adapt import adapt
from drift_robot.bootstrap import bootstrap, load_demonstrations
from drift_robot.collect import collect
from drift_robot.config import Config, load_config
from drift_robot.lockstep import EpisodeLog, LockstepCell, run_episodes
from drift_robot.run_folder import RunFolder
from drift_robot.seeds import scene_seed
from drift_robot.statistics import success_rate
from drift_robot.training import observation_of
from hardware.cell.tasks import TASKS
from hardware.poses import Pose
from policies.alarm import spread
from policies.checkpoint import load_policy
from policies.policy import DiffusionPolicy

CELLS = 25
KNOCK_M = 0.08
KNOCK_STEPS = (8, 30)
CONDITIONS = ("training", "shifted", "knocked", "adapted", "newest")
CONFIG = Path(__file__).resolve().parent.parent / "configs" / "demo.yaml"
Levels: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """An episode as the alarm saw it: the levels of its windows, and the time from its first alarm to its end."""

    success: bool
    timed_out: bool
    levels: Levels
    lead_s: float | None


class KnockedCell(LockstepCell):
    """A cell whose cube is knocked away once, at a random step, unless it has been lifted by then."""

    def start(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._until, self._by_m = int(rng.integers(*KNOCK_STEPS)), rng.uniform(-KNOCK_M, KNOCK_M, 2)
        super().start(seed)

    def advance(self) -> None:
        self._until -= 1
        (cube,) = self._cell._objects
        pose = cube.pose()
        if self._until == 0 and pose.position[2] < 0.025:
            x, y = np.clip(pose.position[:2] + self._by_m, (0.36, -0.25), (0.64, 0.25))
            cube.place(Pose(np.array([x, y, pose.position[2]]), pose.rotation))
        super().advance()


@dataclass(frozen=True)
class NewestChunk:
    """Judges the newest chunk itself, without its committed actions, which are the last one's."""

    threshold: float
    committed: int
    timesteps: tuple[int, ...]

    def levels(
        self, policy: DiffusionPolicy, condition: Tensor, commanded: Tensor, rest: Tensor, new: Tensor
    ) -> Tensor:
        return self.losses(policy, condition, commanded, new) / self.threshold

    def losses(self, policy: DiffusionPolicy, condition: Tensor, commanded: Tensor, actions: Tensor) -> Tensor:
        noise = torch.randn((len(self.timesteps), *actions.shape[1:]), generator=torch.Generator().manual_seed(0))
        errors = policy.denoising_errors(condition, commanded, actions, torch.tensor(self.timesteps), noise)
        return errors[:, :, self.committed :].mean((1, 2))


def newest_chunk(policy: DiffusionPolicy, config: Config, run: RunFolder) -> NewestChunk:
    """Return how it judges with its threshold at the training windows."""
    buffer = load_demonstrations(config, run.demonstrations)
    chosen = np.random.default_rng(0).permutation(buffer.select(Source.DEMONSTRATION))[:512]
    batch = buffer.gather(chosen)
    observation = observation_of(batch)
    judge = NewestChunk(1.0, config.inference_steps, spread(policy.config.train_timesteps))
    condition, actions = policy.encode(observation), torch.from_numpy(batch.actions)
    losses = judge.losses(policy, condition, observation.commanded, actions)
    return replace(judge, threshold=float(losses.quantile(config.alarm.quantile)))


def judged(config: Config, run: RunFolder, condition: str, episodes: int) -> Iterator[Judged]:
    """Let a version act alone on evaluation starts."""
    version = adapt(config, run, lambda *_: None, print).final_version if condition == "adapted" else 0
    if condition in ("training", "knocked"):
        config = replace(config, cell=replace(config.cell, deployment_offset_m=(0.0, 0.0, 0.0)))
    kind = KnockedCell if condition == "knocked" else LockstepCell
    actor = Actor.load(run.versions().path(version), 0, torch.device("cpu"))
    if condition == "newest":
        policy, _ = load_policy(run.versions().path(version))
        actor.alarm = newest_chunk(policy.requires_grad_(False), config, run)  # type: ignore[assignment]
    seeds = [scene_seed(config.seed, "evaluation", index) for index in range(episodes)]
    for first in range(0, episodes, CELLS):
        part = seeds[first : first + CELLS]
        cells = [kind(config, "evaluate") for _ in part]
        actor.reseed(part[0])
        for log in run_episodes(cells, actor, part):
            yield judgement(log, config)


def judgement(log: EpisodeLog, config: Config) -> Judged:
    """Return what is told of an episode."""
    levels = np.array([step.alarm for step in log.steps], dtype=np.float64)
    limit = round(TASKS[config.cell.task].time_limit_s / config.policy_period_s)
    return Judged(
        success=log.outcome is Outcome.SUCCESS,
        timed_out=len(log.steps) >= limit,
        levels=levels[np.isfinite(levels)],
        lead_s=(len(log.steps) - log.alarms[0]) * config.policy_period_s if log.alarms else None,
    )


def row(name: str, told: Sequence[Judged]) -> Row:
    """Return the figures of a condition."""
    good = [episode for episode in told if episode.success]
    late = [episode for episode in told if not episode.success and episode.timed_out]
    stopped = [episode for episode in told if not episode.success and not episode.timed_out]
    above = np.concatenate([np.zeros(0), *(episode.levels > 1 for episode in good)])
    leads = [episode.lead_s for episode in late if episode.lead_s is not None]
    return {
        "condition": name,
        "episodes": len(told),
        "successes alarmed": share(good),
        "their windows above": f"{above.mean():.1%}" if len(above) else "",
        "time-outs alarmed": share(late),
        "force stops alarmed": share(stopped),
        "lead before time-out, s, p10 / p50": " / ".join(
            f"{v:.1f}" for v in list(percentiles(leads, 10, 50).values())[:2]
        ),
    }


def share(episodes: Sequence[Judged]) -> str:
    """Return how many of them were alarmed, with the 95 % Wilson interval."""
    if not episodes:
        return "none"
    rate = success_rate(sum(episode.lead_s is not None for episode in episodes), len(episodes))
    return f"{round(rate.rate * rate.episodes)} of {rate.episodes} [{rate.low:.0%}, {rate.high:.0%}]"


def reach(levels: Levels, windows: int) -> float:
    """Return the largest threshold, in units of the present one, at which the alarm would have been raised."""
    if len(levels) < windows:
        return 0.0
    return float(np.lib.stride_tricks.sliding_window_view(levels, windows).min(axis=1).max())


def draw(told: dict[str, list[Judged]], windows: int, path: Path) -> None:
    """Draw the share of alarmed time-outs against that of alarmed successes of the first condition, over thresholds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    calm = np.array([reach(e.levels, windows) for e in next(iter(told.values())) if e.success])
    thresholds = np.geomspace(0.02, 20, 400)
    figure, (curves, levels) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    false = [(calm > threshold).mean() for threshold in thresholds]
    for name, episodes in told.items():
        failed = {
            "time-outs": np.array([reach(e.levels, windows) for e in episodes if not e.success and e.timed_out]),
            "force stops": np.array([reach(e.levels, windows) for e in episodes if not e.success and not e.timed_out]),
        }
        for kind, values in failed.items():
            if len(values) >= 5:
                style = "-" if kind == "time-outs" else ":"
                curves.plot(false, [(values > t).mean() for t in thresholds], style, label=f"{name}: {kind}")
        highest = np.sort([reach(e.levels, windows) for e in episodes])
        levels.plot(highest, np.linspace(0, 1, len(highest)), label=name)
    curves.axvline((calm > 1).mean(), color="#8c959f", linewidth=0.8)
    curves.set(xlabel="successes in training conditions alarmed", ylabel="failures alarmed", xlim=(-0.01, 0.5))
    curves.legend(frameon=False, loc="center right")
    levels.axvline(1, color="#8c959f", linewidth=0.8)
    levels.set(xscale="log", xlabel="highest level of two windows on end", ylabel="share of all episodes")
    levels.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train, measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG, help="a simulated cell (default configs/demo.yaml)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--episodes", type=int, default=100, help="episodes a seed and condition (default %(default)s)")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS[:3], help="see above")
    parser.add_argument("--runs", type=Path, help="keep the runs in this folder")
    parser.add_argument("--out", type=Path, help="draw to this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, list[Judged]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in chosen.seeds:
            config = replace(load_config(chosen.config), seed=seed)
            run = RunFolder((chosen.runs or Path(scratch)) / str(seed))
            collect(config, run, lambda *_: None)
            bootstrap(config, run, lambda *_: None)
            for name in chosen.conditions:
                told.setdefault(name, []).extend(judged(config, run, name, chosen.episodes))
                print(f"seed {seed}, {name}: done", flush=True)
    rows = [row(name, episodes) for name, episodes in told.items()]
    report({"seeds": ", ".join(map(str, chosen.seeds))}, {"The alarm": rows}, chosen.json)
    if chosen.out is not None:
        draw(told, config.alarm.windows, chosen.out)


if __name__ == "__main__":
    main()
