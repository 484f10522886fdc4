"""One training batch, offline or online: the same update on differently drawn windows; and a version's alarm."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.buffer import Batch, ReplayBuffer
from data.windows import Source
from drift_robot.alarm import AlarmConfig
from drift_robot.errors import UserError
from policies.alarm import Alarm, calibrate
from policies.checkpoint import check
from policies.optimizer import set_learning_rate
from policies.policy import DiffusionPolicy, Observation, PolicyConfig
from policies.training import TrainingState

ALARM_WINDOWS, ALARM_BATCH = 512, 32


@dataclass(frozen=True)
class Update:
    """What one batch gave: its loss, and its wall time in seconds."""

    loss: float
    seconds: float


class DivergedError(UserError):
    """The loss is no longer finite; the weights are those before the batch."""


def observation_of(batch: Batch) -> Observation:
    """Return the observations of a batch as tensors that share its memory."""
    return Observation(
        tcp=torch.from_numpy(batch.tcp),
        commanded=torch.from_numpy(batch.commanded),
        gripper=torch.from_numpy(batch.gripper),
        objects=torch.from_numpy(batch.objects),
        images={name: torch.from_numpy(image) for name, image in batch.images.items()},
    )


def train_batch(
    state: TrainingState,
    batch: Batch,
    learning_rate: float,
    generator: torch.Generator,
    loss_of: Callable[..., Tensor] | None = None,
) -> Update:
    """Take one step on a batch. Raises DivergedError if its loss is not finite.

    With the `loss_of` that a team's member gets from `Team.loss_of`, the batch is its share of the team's.
    """
    began = time.perf_counter()
    set_learning_rate(state.optimizer, learning_rate)
    loss = (loss_of or state.policy.loss)(
        observation_of(batch),
        torch.from_numpy(batch.actions),
        torch.from_numpy(batch.mask),
        generator,
        denoising_share=state.phase.denoising_share,
    ).mean()
    value = float(loss.detach())
    if not torch.isfinite(loss):
        raise DivergedError(
            f"The loss of a training batch is {value}; a lower 'learning_rate' in the configuration helps."
        )
    state.update(loss)
    if state.policy.device.type == "cuda":
        torch.cuda.synchronize()  # a GPU is still at it
    return Update(value, time.perf_counter() - began)


def calibrated_alarm(
    weights: Mapping[str, Tensor],
    config: PolicyConfig,
    buffer: ReplayBuffer,
    settings: AlarmConfig,
    committed: int,
    device: torch.device,
    beat: Callable[[], None] = lambda: None,
) -> Alarm | None:
    """Return the alarm of a version with these acting weights, found on a device at demonstrations: `policies.alarm`.

    None where none is wanted. `beat` is called before each of its pieces. Raises PolicyError if a weight is unfit or
    there is no threshold.
    """
    pairs = buffer.pairs(Source.DEMONSTRATION, config.action_horizon)
    if not settings.enabled or not len(pairs):
        return None
    policy = DiffusionPolicy(config).eval()
    check(weights, policy.state_dict(), "acting weights")
    policy.load_state_dict(weights)
    policy.to(device)
    chosen = np.random.default_rng(0).permutation(pairs)[:ALARM_WINDOWS]

    def windows() -> Iterator[tuple[Observation, Observation]]:
        for start in range(0, len(chosen), ALARM_BATCH):
            beat()
            before, after = (observation_of(buffer.gather(part)) for part in chosen[start : start + ALARM_BATCH].T)
            yield before, after

    return calibrate(policy, windows(), settings.quantile, committed)
