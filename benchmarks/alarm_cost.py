"""What judging a chunk costs, against the policy's period and against the chunk itself.

    python benchmarks/alarm_cost.py [--chunks 200] [--episodes 4] [--json FILE]

First policies with weights at random in one thread, as in a session: making a chunk and judging a window, in turns.
Then whole real-time sessions of the simulated cell with its real processes, a policy of the demo's size and a scripted
operator, in turns with and without the alarm, and how regularly their control loops observed.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measuring import Row, conditions, figures, report

from data.episode import Episode
from data.session import finished_episodes
from drift_robot.bootstrap import bootstrap
from drift_robot.collect import collect
from drift_robot.config import Config, load_config
from drift_robot.lockstep import policy_config
from drift_robot.realtime.supervisor import run_session
from drift_robot.run_folder import RunFolder
from policies.alarm import Alarm, spread
from policies.checkpoint import load_policy, save
from policies.frames import ACTION_DIM
from policies.policy import DiffusionPolicy, resting_observation

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
LONGEST_S = 30.0
NAMES = ("demo", "demo_images", "ur5e")


def time_chunks(name: str, chunks: int) -> list[Row]:
    """Make and judge so many chunks in turns, or as many as there is time for; return a row for each of the two."""
    config = load_config(CONFIGS / f"{name}.yaml")
    settings = policy_config(config)
    policy = DiffusionPolicy(settings).eval().requires_grad_(False)
    observation, generator = resting_observation(settings), torch.Generator().manual_seed(0)
    alarm = Alarm(1.0, 0.99, 1, spread(settings.train_timesteps))
    made, judged = [], []
    prefix = torch.cat([observation.commanded, torch.ones(1, 1)], dim=1).expand(1, config.inference_steps, ACTION_DIM)
    started_s = time.perf_counter()
    while len(made) <= chunks and (len(made) < 3 or time.perf_counter() - started_s < LONGEST_S):
        began_s = time.perf_counter()
        condition = policy.encode(observation)
        actions = policy.act(observation, generator, prefix, condition=condition)
        made.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        alarm.levels(policy, condition, observation.commanded, actions[:, settings.action_horizon :], actions)
        judged.append(time.perf_counter() - began_s)
    period_s, rows = config.policy_period_s, list[Row]()
    for what, taken_s in (("make a chunk", made[1:]), ("judge a window", judged[1:])):
        share = float(np.median(taken_s)) / period_s
        rows.append(
            {
                "policy": name,
                "work": what,
                "times": len(taken_s),
                **figures("ms", 1e3 * np.array(taken_s), 50, 99),
                "of a period": share,
            }
        )
    return rows


def prepared(folder: Path, episodes: int) -> tuple[Config, dict[bool, RunFolder]]:
    """Return a configuration and a run with an alarm and one without, otherwise the same."""
    config = load_config(CONFIGS / "demo.yaml")
    config = replace(
        config,
        collect=replace(config.collect, episodes=4),
        bootstrap=replace(config.bootstrap, epochs=1, batches_per_epoch=2),
        evaluate=replace(config.evaluate, episodes=episodes),
        gating="none",
    )
    runs = {alarm: RunFolder(folder / ("with" if alarm else "without")) for alarm in (True, False)}
    collect(config, runs[True], lambda *_: None)
    bootstrap(config, runs[True], lambda *_: None)
    policy, manifest = load_policy(runs[True].versions().path(0))
    save(runs[False].versions().path(0), replace(manifest, alarm=None, files={}), policy.state_dict())
    return config, runs


def time_sessions(episodes: int) -> list[Row]:
    """Run sessions in turns with the alarm and without; return a row for each."""
    rows = list[Row]()
    with TemporaryDirectory() as folder:
        config, runs = prepared(Path(folder), episodes)
        for done in range(1, episodes + 1):
            so_far = replace(config, evaluate=replace(config.evaluate, episodes=done))
            for run in runs.values():
                run_session(so_far, run, "evaluate", "scripted", False, lambda _: None)
        for alarm, run in runs.items():
            recorded = [Episode.open(path) for path in finished_episodes(run.evaluation(0))]
            rows.append({"alarm": "on" if alarm else "off", **regularity(recorded, config.policy_period_s)})
    return rows


def regularity(recorded: list[Episode], period_s: float) -> dict[str, Any]:
    """Return how late each observation came after the one before and a period, and how many windows were judged."""
    late_s = np.concatenate([np.diff(episode.column("time.step")) / 1e9 - period_s for episode in recorded])
    levels = np.concatenate([episode.column("alarm") for episode in recorded])
    return {
        "periods": len(late_s),
        "windows judged": int(np.isfinite(levels).sum()),
        **figures("interval beyond the period, ms", 1e3 * late_s, 50, 99),
        "skipped": int((late_s > 0.5 * period_s).sum()),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=200, help="chunks a policy (default %(default)s)")
    parser.add_argument("--episodes", type=int, default=4, help="episodes with and without (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with conditions(load=False) as told:
        chunks = [row for name in NAMES for row in time_chunks(name, chosen.chunks)]
        sessions = time_sessions(chosen.episodes)
    report(told, {"A chunk": chunks, "A session's control loop": sessions}, chosen.json)


if __name__ == "__main__":
    main()
