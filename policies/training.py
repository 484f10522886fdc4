"""A policy in training: the modulated policy, its optimiser and the average of its merged weights, kept in step.

The loop, its data and its decisions are the application's; here is only what must change together.
"""

import dataclasses
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from policies.allocation import Allocation
from policies.average import WeightAverage
from policies.forms import set_form
from policies.methods import MODULATED, Phase
from policies.optimizer import OptimizerConfig, make_optimizer
from policies.policy import DiffusionPolicy
from policies.rank import full_rank, modulate, orthonormalise

Scope = Literal["backbone", "policy"]
"""What is modulated: as in the paper the backbone, or all of the policy, with what encodes observations."""


@dataclasses.dataclass
class TrainingState:
    """What training changes; `excluded` names the modulated part's layers that are always dense."""

    policy: DiffusionPolicy
    optimizer: torch.optim.AdamW
    optimizer_config: OptimizerConfig
    average: WeightAverage
    rank: int
    excluded: tuple[str, ...]
    scope: Scope = "backbone"
    allocation: Allocation = "uniform"
    phase: Phase = MODULATED

    @staticmethod
    def create(
        policy: DiffusionPolicy,
        config: OptimizerConfig,
        decay: float = 0.995,
        excluded: Iterable[str] = (),
        scope: Scope = "backbone",
        allocation: Allocation = "uniform",
    ) -> "TrainingState":
        """Start training a plain policy, at full rank; its backbone, or all of it, is modulated in place."""
        excluded = tuple(excluded)
        part = modulated_part(policy, scope)
        modulate(part, excluded)
        return TrainingState(
            policy,
            make_optimizer(policy, config),
            config,
            WeightAverage(policy, decay),
            full_rank(part),
            excluded,
            scope,
            allocation,
        )

    @property
    def modulated(self) -> nn.Module:
        """The part of the policy whose rank is modulated."""
        return modulated_part(self.policy, self.scope)

    def enter(self, phase: Phase, rank: int) -> None:
        """Train from here on as a phase of a method says, at a rank; see `forms.set_form` for what carries over."""
        if (phase.form, rank) != (self.phase.form, self.rank):
            self.rank = set_form(self.modulated, self.optimizer, phase.form, rank, self.excluded, self.allocation)
        self.phase = phase

    def set_rank(self, rank: int) -> None:
        """Change the trainable rank, within the present phase."""
        self.enter(self.phase, rank)

    def update(self, loss: Tensor) -> None:
        """Back-propagate a scalar loss, clip, step the optimiser, and take the new weights into the average."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.step()
        self.average.update(self.policy)

    def step(self) -> None:
        """Clip the gradients and step the optimiser."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.optimizer_config.gradient_norm)
        self.optimizer.step()
        if self.phase.orthonormal:
            orthonormalise(self.modulated, self.optimizer)

    def acting_weights(self) -> dict[str, Tensor]:
        """Return the plain state dict that acts: the averaged merged weights and the normalisers."""
        return self.average.state_dict(self.policy)

    def trainable_parameters(self) -> int:
        """Return how many numbers the optimiser holds."""
        return sum(parameter.numel() for group in self.optimizer.param_groups for parameter in group["params"])


def modulated_part(policy: DiffusionPolicy, scope: Scope) -> nn.Module:
    """Return the part of a policy that a scope means."""
    return policy if scope == "policy" else policy.backbone
