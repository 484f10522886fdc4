"""How unusual it is to a policy to go on with its own chunk: the chunk's diffusion loss against a threshold.

The loss is Diff-DAgger's (Lee, Kang and Kuo, 2025, arXiv:2410.14868), of the rest of the chunk that is being executed,
under the newest observation; docs/alarm.md tells why. What follows from a level is the application's.
"""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from policies.errors import PolicyError
from policies.frames import ACTION_DIM
from policies.policy import DiffusionPolicy, Observation

DRAWS = 8


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Alarm:
    """How a version's chunks are judged; stored with the version, so that it is judged as its threshold was found.

    `threshold` is the `quantile` of the losses at `windows` windows of its demonstrations. A loss is the denoising
    error averaged over the draws, one for each of `timesteps` with noise from `seed`, the same for every chunk.
    """

    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    quantile: Annotated[float, Field(gt=0, lt=1)]
    windows: Annotated[int, Field(ge=1)]
    timesteps: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=64)]
    seed: int = 0

    def levels(
        self, policy: DiffusionPolicy, condition: Tensor, commanded: Tensor, rest: Tensor, new: Tensor
    ) -> Tensor:
        """Return loss / threshold (B,) of what is left of chunks, (B, r, 10) with 0 < r <= H.

        `condition` (B, C) is the newest observation, encoded, `commanded` (B, 9) its commanded pose, and `new`
        (B, H, 10) the chunk made for it, whose end follows the rest. Actions are absolute.
        """
        return losses(policy, condition, commanded, rest, new, self.timesteps, self.seed) / self.threshold


def losses(
    policy: DiffusionPolicy,
    condition: Tensor,
    commanded: Tensor,
    rest: Tensor,
    new: Tensor,
    timesteps: tuple[int, ...],
    seed: int,
) -> Tensor:
    """Return the loss (B,) of what is left of chunks; see `Alarm`."""
    left = rest.shape[1]
    actions = torch.cat([rest, new[:, left:]], dim=1)
    noise = torch.randn((len(timesteps), actions.shape[1], ACTION_DIM), generator=torch.Generator().manual_seed(seed))
    steps = torch.tensor(timesteps, device=actions.device)
    errors = policy.denoising_errors(condition, commanded, actions, steps, noise.to(actions.device))
    return errors[:, :, :left].mean((1, 2))


@torch.no_grad()
def calibrate(
    policy: DiffusionPolicy, windows: Iterable[tuple[Observation, Observation]], quantile: float, committed: int
) -> Alarm | None:
    """Return a version's alarm from observations of its demonstrations, batch by batch.

    Each in two parts: what was seen when a chunk was due and when the next one was, `action_horizon` steps later, which
    goes on from `committed` actions. None if the chunks leave nothing to judge by then. Raises PolicyError if the
    losses give no threshold.
    """
    config = policy.config
    if config.action_horizon == config.pred_horizon:
        return None
    timesteps = spread(config.train_timesteps)
    generator = torch.Generator().manual_seed(0)
    found = []
    for seen, seen_next in windows:
        before, after = seen.to(policy.device), seen_next.to(policy.device)
        rest = policy.act(before, generator)[:, config.action_horizon :]
        condition = policy.encode(after)
        new = policy.act(after, generator, rest[:, :committed] if committed else None, condition=condition)
        found.append(losses(policy, condition, after.commanded, rest, new, timesteps, 0))
    values = torch.cat(found)
    threshold = float(values.quantile(quantile))
    if not 0 < threshold < float("inf"):
        raise PolicyError(f"alarm: the {quantile:g} quantile of {len(values)} losses is {threshold}.")
    return Alarm(threshold, quantile, len(values), timesteps)


def spread(train_timesteps: int) -> tuple[int, ...]:
    """Return the diffusion steps at which a chunk is judged: evenly spread."""
    return tuple(int((index + 0.5) * train_timesteps / DRAWS) for index in range(DRAWS))
