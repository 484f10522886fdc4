"""Small policies, observations and actions for the tests of this folder."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from policies.allocation import Allocation
from policies.optimizer import OptimizerConfig
from policies.policy import DiffusionPolicy, Observation, PolicyConfig
from policies.training import Scope, TrainingState

torch.set_num_threads(1)


def small_config(**changes: object) -> PolicyConfig:
    """A configuration that trains a step in milliseconds."""
    settings: dict[str, object] = {
        "unet_dims": (16, 32),
        "transformer_dim": 32,
        "transformer_layers": 2,
        "step_embedding_dim": 16,
        "object_dim": 4,
        "vision": "small_cnn",
    }
    return PolicyConfig(**(settings | changes))  # type: ignore[arg-type]


def some_observation(batch: int, seed: int = 0, config: PolicyConfig | None = None) -> Observation:
    """Random poses with true rotations, objects, and pictures if the configuration has cameras."""
    config = config or small_config()
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, config.obs_horizon)
    position = 0.4 * torch.rand((*shape, 3), generator=generator)
    rotation = random_rotations(batch * config.obs_horizon, generator).view(*shape, 3, 3)
    tcp = torch.cat([position, rotation[..., 0], rotation[..., 1]], dim=-1)
    return Observation(
        tcp=tcp,
        commanded=tcp[:, -1].clone(),
        gripper=torch.rand((*shape, 1), generator=generator),
        objects=torch.randn((*shape, config.object_dim), generator=generator),
        images={
            name: torch.randint(0, 256, (*shape, *size, 3), generator=generator, dtype=torch.uint8)
            for name, size in config.cameras.items()
        },
    )


def some_actions(observation: Observation, horizon: int = 16, seed: int = 0) -> Tensor:
    """Smooth chunks (B, H, 10) that start at the commanded pose and go towards what the objects say."""
    batch = len(observation.commanded)
    towards = 0.1 * torch.tanh(observation.objects[:, -1, :3])
    ramp = torch.linspace(0, 1, horizon)[None, :, None]
    position = observation.commanded[:, None, :3] + ramp * towards[:, None]
    six = observation.commanded[:, None, 3:].expand(batch, horizon, 6)
    gripper = (observation.objects[:, -1, 3] > 0).float()[:, None, None].expand(batch, horizon, 1)
    return torch.cat([position, six, gripper], dim=-1)


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Rotation matrices (count, 3, 3)."""
    q, _ = torch.linalg.qr(torch.randn((count, 3, 3), generator=generator))
    return q * torch.linalg.det(q)[:, None, None]


def some_training(
    seed: int = 0,
    batch: int = 32,
    scope: Scope = "backbone",
    allocation: Allocation = "uniform",
    **changes: object,
) -> tuple[TrainingState, Observation, Tensor]:
    """A fresh training state with normalisers fitted to the observation and actions beside it."""
    torch.manual_seed(seed)
    config = small_config(**changes)
    observation = some_observation(batch, seed, config)
    actions = some_actions(observation, config.pred_horizon)
    policy = DiffusionPolicy(config)
    policy.fit_normalizer(observation, actions)
    optimizer = OptimizerConfig(learning_rate=2e-3)
    return TrainingState.create(policy, optimizer, scope=scope, allocation=allocation), observation, actions


def train(
    state: TrainingState, observation: Observation, actions: Tensor, updates: int, seed: int = 0, repeats: int = 1
) -> list[float]:
    """Train on one batch, each sample at `repeats` diffusion steps; return the losses."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(actions.shape[:2])
    losses = []
    for _ in range(updates):
        loss = state.policy.loss(observation, actions, mask, generator, repeats).mean()
        state.update(loss)
        losses.append(loss.item())
    return losses


def fixed_loss(state: TrainingState, observation: Observation, actions: Tensor) -> float:
    """The loss at fixed noise: it changes only if the policy does."""
    with torch.no_grad():
        mask = torch.ones(actions.shape[:2])
        generator = torch.Generator().manual_seed(99)
        return float(state.policy.loss(observation, actions, mask, generator, repeats=16).mean())


class Recorder(TorchDispatchMode):
    """Lists every operation with the sizes of the tensors that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[int]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        results = result if isinstance(result, tuple | list) else (result,)
        sizes = [] if func.is_view else [item.numel() for item in results if isinstance(item, Tensor)]
        self.calls.append((func._schema.name, sizes))
        return result

    def count(self, *words: str) -> int:
        return sum(any(word in name for word in words) for name, _ in self.calls)
