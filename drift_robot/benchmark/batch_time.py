"""What a training batch costs at full rank, at lower ranks and with LoRA, and where its time goes.

The baseline is full rank with torch's own layers: the network as everybody has it. "Full rank" is the same with this
project's layers (policies/convolution.py). "Naive" builds the weight of a rank within autograd, as is obvious to do.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from drift_robot.benchmark.turns import Row, Times, compared, in_turns, made_up, now_ms
from policies.methods import DENSE, LORA, MODULATED, Phase
from policies.optimizer import OptimizerConfig
from policies.policy import DiffusionPolicy, PolicyConfig
from policies.rank import ModulatedConv1d, ModulatedConvTranspose1d, RankModulated, modulated_layers
from policies.training import TrainingState

BASELINE = "full rank, torch's layers"
Forward = Callable[[RankModulated, Tensor], Tensor]


@dataclass(frozen=True)
class Sizes:
    """A network and how it is measured; `picture` is the side of the two cameras' pictures, 0 without cameras."""

    dims: tuple[int, ...]
    batch: int = 64
    picture: int = 0

    def policy(self) -> PolicyConfig:
        """Return the policy: horizon 16, ResNet-18 a camera."""
        cameras = dict.fromkeys(("front", "wrist"), (self.picture, self.picture)) if self.picture else {}
        return PolicyConfig(unet_dims=self.dims, condition_width=128, cameras=cameras)


def batch_time(sizes: Sizes, ranks: Sequence[int], rounds: int, device: torch.device) -> Iterator[list[Row]]:
    """Yield the rows of each candidate, the baseline's first; each is measured in turns with the baseline."""
    base = _Subject(sizes, device, DENSE, forward=_torchs)
    yield _rows({BASELINE: base}, sizes, rounds)
    candidates: list[tuple[str, Phase, int, Forward | None]] = [("full rank", DENSE, 0, None)]
    for rank in ranks:
        candidates += [(f"rank {rank}", MODULATED, rank, None), (f"LoRA {rank}", LORA, rank, None)]
    candidates.append((f"naive, rank {ranks[0]}", MODULATED, ranks[0], _naive))
    for name, phase, rank, forward in candidates:
        subject = _Subject(sizes, device, phase, rank, forward)
        rows = _rows({BASELINE: base, name: subject}, sizes, rounds)
        del subject
        gc.collect()
        yield rows


def _rows(subjects: "dict[str, _Subject]", sizes: Sizes, rounds: int) -> list[Row]:
    told = in_turns({name: subject.batch for name, subject in subjects.items()}, rounds)
    about: dict[str, str | float] = {
        "unet": " ".join(map(str, sizes.dims)),
        "batch": float(sizes.batch),
        "observation": f"two cameras {sizes.picture}x{sizes.picture}" if sizes.picture else "low-dimensional",
    }
    name = list(subjects)[-1]
    rows = [row for row in compared(told, BASELINE, about) if str(row["measured"]).startswith(f"{name}: ")]
    return [row | {"held_mb": subjects[name].held_mb()} for row in rows]


class _Subject:
    """A policy in training."""

    def __init__(
        self, sizes: Sizes, device: torch.device, phase: Phase, rank: int = 0, forward: Forward | None = None
    ) -> None:
        config = sizes.policy()
        self._device = device
        observation, actions = made_up(config, sizes.batch)
        policy = DiffusionPolicy(config)
        policy.fit_normalizer(observation, actions)
        self._state = TrainingState.create(policy.to(device), OptimizerConfig())
        self._state.enter(phase, rank or self._state.rank)
        for _, layer in modulated_layers(policy):
            if forward is not None:
                layer.forward = partial(forward, layer)  # type: ignore[method-assign]
        self._generator = torch.Generator().manual_seed(0)
        self._observation, self._actions = observation.to(device), actions.to(device)
        self._mask = torch.ones(actions.shape[:2], device=device)

    def batch(self) -> Times:
        """Take one batch; return the times of its parts in ms."""
        state, times = self._state, [now_ms(self._device)]

        def mark() -> None:
            times.append(now_ms(self._device))

        loss = state.policy.loss(self._observation, self._actions, self._mask, self._generator).mean()
        mark()
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        mark()
        state.step()
        mark()
        state.average.update(state.policy)
        mark()
        parts = ("forward", "backward", "optimiser", "average of weights")
        taken = {part: end - start for part, start, end in zip(parts, times, times[1:], strict=False)}
        return {**taken, "whole batch": times[-1] - times[0]}

    def held_mb(self) -> float:
        """Return what weights, gradients, moments and average hold; activations, the same for all, are not counted."""
        policy = self._state.policy
        parameters = list(policy.parameters())
        held: list[Tensor] = [*parameters, *policy.buffers(), *self._state.average.parameters().values()]
        held += [parameter.grad for parameter in parameters if parameter.grad is not None]
        held += [value for moments in self._state.optimizer.state.values() for value in moments.values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in held) / 1e6


def _torchs(layer: RankModulated, x: Tensor) -> Tensor:
    """Apply a layer at full rank as torch does."""
    weight = layer.get_parameter("weight")
    if isinstance(layer, ModulatedConv1d):
        return F.conv1d(x, weight, layer.bias, layer.stride, layer.padding)
    if isinstance(layer, ModulatedConvTranspose1d):
        return F.conv_transpose1d(x, weight, layer.bias, layer.stride, layer.padding)
    return F.linear(x, weight, layer.bias)


def _naive(layer: RankModulated, x: Tensor) -> Tensor:
    """Build the weight from its factors and let autograd find their gradients."""
    factors, frozen = layer.factors(), layer.frozen
    if factors is None or frozen is None:
        return type(layer).forward(layer, x)
    weight = torch.addmm(frozen, factors.u * factors.s, factors.v.T).view(layer.shape)
    return layer.operate(x, weight, layer.bias)
