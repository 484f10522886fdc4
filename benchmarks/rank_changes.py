"""The training loss around every change of rank: does re-splitting the weights disturb training?

    python benchmarks/rank_changes.py [--out rank_changes.png]

Trains a small policy on 20 simulated demonstrations with the sigmoid schedule. Prints, for each change, the loss on
fixed windows and noise just before and just after the re-split, and the mean training loss over the batches around it.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data.buffer import Batch, ReplayBuffer
from data.episode import Episode
from data.events import EventLog
from data.session import Session
from data.windows import Source
from drift_robot.collect import store_episode
from drift_robot.config import Config
from drift_robot.lockstep import LockstepCell, episode_layout, policy_config, run_episodes
from drift_robot.training import observation_of, train_batch
from policies.optimizer import OptimizerConfig, cosine_learning_rate
from policies.policy import DiffusionPolicy
from policies.schedules import RankSchedule, RankScheduleConfig
from policies.training import TrainingState

EPOCHS, BATCHES, AROUND = 16, 60, 20


def fixed_loss(state: TrainingState, batch: Batch) -> float:
    """Return the loss on a batch with the same noise every time."""
    with torch.no_grad():
        loss = state.policy.loss(
            observation_of(batch),
            torch.from_numpy(batch.actions),
            torch.from_numpy(batch.mask),
            torch.Generator().manual_seed(7),
            8,
        )
    return float(loss.mean())


def demonstrations(folder: Path) -> ReplayBuffer:
    """Record 20 demonstrations and return their windows."""
    config = Config()
    session, layout = Session.create(folder, config.cell.task), episode_layout(config)
    policy = policy_config(config)
    buffer = ReplayBuffer(policy.obs_horizon, policy.pred_horizon)
    with EventLog(folder) as events:
        for log in run_episodes([LockstepCell(config, "collect")], None, range(20)):
            store_episode(session, layout, log, events)
    for path in session.episodes():
        buffer.add(Episode.open(path))
    return buffer


def train(buffer: ReplayBuffer) -> tuple[NDArray[np.float64], list[tuple[int, int, int, float, float]]]:
    """Return the loss of every batch, and of every rank change: batch, ranks and fixed losses before and after."""
    torch.manual_seed(0)
    policy = DiffusionPolicy(policy_config(Config()))
    everything = buffer.gather(buffer.select(Source.DEMONSTRATION))
    policy.fit_normalizer(observation_of(everything), torch.from_numpy(everything.actions))
    optimizer = OptimizerConfig(learning_rate=2e-3)
    state = TrainingState.create(policy, optimizer)
    schedule = RankSchedule(RankScheduleConfig(kind="sigmoid", r_max=128, r_min=16))
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    fixed = buffer.gather(buffer.select(Source.DEMONSTRATION)[::7])
    losses, changes = [], []
    for epoch in range(EPOCHS):
        rank, before = schedule.rank(epoch + 1, EPOCHS), state.rank
        if rank != before:
            loss_before = fixed_loss(state, fixed)
            state.set_rank(rank)
            changes.append((len(losses), before, rank, loss_before, fixed_loss(state, fixed)))
        for _ in range(BATCHES):
            batch = buffer.sample(64, rng, {Source.DEMONSTRATION: 1.0})
            rate = cosine_learning_rate(optimizer, len(losses), EPOCHS * BATCHES)
            losses.append(train_batch(state, batch, rate, generator).loss)
    return np.array(losses), changes


def draw(losses: NDArray[np.float64], changes: list[tuple[int, int, int, float, float]], path: Path) -> None:
    """Draw the loss curve with a line at every rank change."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    axes.plot(losses, color="#8c959f", linewidth=0.6, label="each batch")
    smooth = np.convolve(losses, np.ones(15) / 15, "valid")
    axes.plot(np.arange(len(smooth)) + 7, smooth, color="#1f6feb", label="mean of 15")
    for at, _, rank, _, _ in changes:
        axes.axvline(at, color="#d1570a", linewidth=0.6)
        axes.text(at, axes.get_ylim()[1], f" {rank}", color="#d1570a", fontsize=7, va="top")
    axes.set(yscale="log", xlabel="batch", ylabel="training loss", title="Loss and changes of the trainable rank")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, print a table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("rank_changes.png"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        losses, changes = train(demonstrations(Path(folder) / "session"))
    print("batch  rank         fixed loss before  after      change      mean loss before  after")
    for at, before, rank, old, new in changes:
        around = losses[max(0, at - AROUND) : at].mean() if at else float("nan"), losses[at : at + AROUND].mean()
        print(
            f"{at:5d}  {before:4d} to {rank:4d}  {old:17.6f}  {new:.6f}  {abs(new - old) / old:9.1e}  "
            f"{around[0]:17.4f}  {around[1]:.4f}"
        )
    draw(losses, changes, out)
    print(f"Drawn: {out}")


if __name__ == "__main__":
    main()
