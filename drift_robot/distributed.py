"""Training on several GPUs or processes: `torchrun` starts a process for each, and each takes its share of every batch.

Together they do what one process alone does with the whole batch, up to rounding: they draw the same windows, noise and
crops, and DistributedDataParallel averages their gradients, so that weights, optimiser and average stay equal.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from drift_robot.compute import DeviceChoice, chosen_device
from drift_robot.errors import UserError
from policies.policy import DiffusionPolicy, Observation
from policies.shares import WHOLE, Share


@dataclass(frozen=True)
class Team:
    """The processes that train together, as one of them sees it: its share of every batch, and its device."""

    share: Share
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes what all of them have trained."""
        return self.share.index == 0

    def loss_of(self, policy: DiffusionPolicy) -> Callable[..., Tensor]:
        """Return the policy's loss on this share; its gradients are averaged over the team.

        To be asked for anew when the policy's parameters were exchanged, after the last one was dropped.
        """
        if self.share == WHOLE:
            return policy.loss
        return DistributedDataParallel(_Loss(policy, self.share), broadcast_buffers=False)

    def mean(self, value: float) -> float:
        """Return the mean of a value over the team, which all of it have to ask for."""
        if self.share == WHOLE:
            return value
        total = torch.tensor(value, device=self.device, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total) / self.share.count

    def wait(self) -> None:
        """Wait until all of the team have come here."""
        if self.share != WHOLE:
            distributed.barrier()


class _Loss(nn.Module):
    """The loss as a module's forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, policy: DiffusionPolicy, share: Share) -> None:
        super().__init__()
        self.policy, self.share = policy, share

    def forward(
        self,
        observation: Observation,
        actions: Tensor,
        mask: Tensor,
        generator: torch.Generator,
        denoising_share: float = 1.0,
    ) -> Tensor:
        return self.policy.loss(
            observation, actions, mask, generator, denoising_share=denoising_share, share=self.share
        )


@contextmanager
def team(choice: DeviceChoice, batch_size: int) -> Iterator[Team]:
    """Join the team that torchrun's environment variables name, or be alone without them, and leave it at the end.

    Raises UserError if the batch cannot be shared equally, or there are fewer GPUs than processes on this machine.
    """
    device, count = chosen_device(choice), int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Team(WHOLE, device)
        return
    if batch_size % count:
        raise UserError(
            f"bootstrap.batch_size is {batch_size}, which {count} processes cannot share equally; make it a multiple "
            f"of {count}, or start another number of processes."
        )
    if device.type == "cuda":
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise UserError(f"torchrun started process {local + 1} here for {gpus} GPUs; lower --nproc-per-node.")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(Share(distributed.get_rank(), count), device)
    finally:
        distributed.destroy_process_group()
