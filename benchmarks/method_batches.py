"""What a training batch of each phase of each method costs, measured in turns on the same data.

    python benchmarks/method_batches.py [--dims 32 64] [--rank 16] [--rounds 60]

One thread, CPU time, median over rounds in which every phase takes one batch: other work on the machine changes it
little. Memory: the numbers that the optimiser holds.
"""

import argparse
import time

import torch

from drift_robot.benchmark.turns import made_up
from policies.methods import METHODS, Phase
from policies.optimizer import OptimizerConfig
from policies.policy import DiffusionPolicy, PolicyConfig
from policies.training import TrainingState

WARM_UP = 5


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dims", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=60)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = PolicyConfig(unet_dims=tuple(chosen.dims), condition_width=128, prediction="sample")
    observation, actions = made_up(config, chosen.batch)
    mask = torch.ones(actions.shape[:2])
    phases: dict[Phase, list[str]] = {}
    for name, method in METHODS.items():
        for which, phase in (("offline", method.offline), ("online", method.online)):
            if phase is not None:
                phases.setdefault(phase, []).append(f"{name} {which}")
    states: dict[Phase, TrainingState] = {}
    for phase in phases:
        policy = DiffusionPolicy(config)
        policy.fit_normalizer(observation, actions)
        states[phase] = TrainingState.create(policy, OptimizerConfig())
        states[phase].enter(phase, chosen.rank)
    generator = torch.Generator().manual_seed(0)
    seconds: dict[Phase, list[float]] = {phase: [] for phase in phases}
    for turn in range(WARM_UP + chosen.rounds):
        for phase, state in states.items():
            began = time.process_time()
            share = phase.denoising_share
            state.update(state.policy.loss(observation, actions, mask, generator, denoising_share=share).mean())
            if turn >= WARM_UP:
                seconds[phase].append(time.process_time() - began)
    medians = {phase: 1e3 * float(torch.tensor(taken).median()) for phase, taken in seconds.items()}
    full = medians[Phase("dense")]
    print(f"U-Net {tuple(chosen.dims)}, rank {chosen.rank}, batch {chosen.batch}, {chosen.rounds} rounds")
    print("| phase | batch, ms of CPU | of full rank | trained numbers |\n|---|---|---|---|")
    for phase, names in phases.items():
        trained = states[phase].trainable_parameters()
        print(f"| {', '.join(names)} | {medians[phase]:.1f} | {medians[phase] / full:.2f} | {trained:,} |")


if __name__ == "__main__":
    main()
