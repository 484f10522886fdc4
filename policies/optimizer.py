"""The optimiser and the learning-rate curve of every training loop."""

import math
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class OptimizerConfig:
    """AdamW as in Diffusion Policy (Chi et al., 2023), and the norm to which a gradient is clipped."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    beta_1: Annotated[float, Field(ge=0, lt=1)] = 0.95
    beta_2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    warmup_updates: Annotated[int, Field(ge=0)] = 100
    final_fraction: Annotated[float, Field(ge=0, le=1)] = 0.02


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters of a module.

    The fused step does not count up its parameters' versions, by which a modulated layer knows that its merged
    weight is out of date; so a hook does.
    """
    optimizer = torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        betas=(config.beta_1, config.beta_2),
        weight_decay=config.weight_decay,
        fused=True,
    )
    optimizer.register_step_post_hook(_count_versions)
    return optimizer


def cosine_learning_rate(config: OptimizerConfig, update: int, updates: int) -> float:
    """Return the learning rate of update k of N: linear warm-up, then half a cosine down to the final fraction."""
    warmup = min(1.0, (update + 1) / max(1, config.warmup_updates))
    done = min(1.0, update / max(1, updates))
    fraction = config.final_fraction + (1 - config.final_fraction) * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * warmup * fraction


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def _count_versions(optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for group in optimizer.param_groups:
        torch.autograd.graph.increment_version(group["params"])
