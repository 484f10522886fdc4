"""From an observation to an action chunk: what merged weights and few denoising steps are worth.

The baseline is the published way: a low-rank path of three convolutions beside the frozen part in every layer, at all
100 steps. It is built favourably: the frozen part is one convolution here, by whichever way is faster.
"""

import gc
import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from drift_robot.benchmark.turns import Candidate, Row, compared, in_turns, made_up, milliseconds, percentiles
from policies.errors import PolicyError
from policies.frames import ACTION_DIM
from policies.policy import DiffusionPolicy, Observation, PolicyConfig
from policies.rank import (
    ModulatedConv1d,
    ModulatedConvTranspose1d,
    RankModulated,
    modulate,
    modulated_layers,
)

PUBLISHED_STEPS = 100
STEPS = (8, 10, 16, 100)
BASELINE = f"unmerged factors, DDIM {PUBLISHED_STEPS}"


def inference(
    config: PolicyConfig, rank: int, rounds: int, device: torch.device, compiling: bool = True
) -> Iterator[str | list[Row]]:
    """Yield all rows, or before them a sentence on what is left out; `compiling` has compiled policies among them."""
    observation, actions = made_up(config, 8)
    policy = DiffusionPolicy(config)
    policy.fit_normalizer(observation, actions)
    policy.to(device).eval().requires_grad_(False)
    observation = made_up(config, 1)[0].to(device)
    published = unmerged(policy, rank)
    wall: dict[str, list[float]] = {}

    def acting(name: str, work: Callable[[], Tensor]) -> Candidate:
        wall[name] = []

        def measured() -> dict[str, float]:
            began = time.perf_counter()
            taken = milliseconds(work, device)
            wall[name].append(1e3 * (time.perf_counter() - began))
            return {"chunk": taken}

        return measured

    def act(which: DiffusionPolicy, steps: int) -> Callable[[], Tensor]:
        return lambda: which.act(observation, torch.Generator().manual_seed(0), steps=steps)

    candidates = {BASELINE: acting(BASELINE, act(published, PUBLISHED_STEPS))}
    ways = {"merged": policy}
    if compiling:
        try:
            ways["merged and compiled"] = _compiled(policy, observation)
        except PolicyError as error:
            yield f"Compiled policies are not measured: {error}"
    for way, which in ways.items():
        for steps in STEPS:
            name = f"{way}, DDIM {steps}"
            candidates[name] = acting(name, act(which, steps))
    if find_spec("diffusers") is None:
        yield "diffusers is not installed, so its loop is not measured; pip install diffusers, and it is."
    else:
        for steps in STEPS:
            name = f"merged, diffusers' DDIM {steps}"
            candidates[name] = acting(name, partial(diffusers_chunk, policy, observation, steps))
    told = in_turns(candidates, rounds)
    sizes: dict[str, str | float] = {
        "unet": " ".join(map(str, config.unet_dims)),
        "cameras": float(len(config.cameras)),
        "rank": float(rank),
    }
    del published
    gc.collect()
    yield [
        {**row, **percentiles(wall[name][-rounds:])}
        for name, row in zip(told, compared(told, BASELINE, sizes), strict=True)
    ]


def _compiled(policy: DiffusionPolicy, observation: Observation) -> DiffusionPolicy:
    """Return the same policy with its backbone compiled, after its first chunk. Raises PolicyError."""
    twin = copy(policy)
    twin.compiled = True
    twin.act(observation, torch.Generator().manual_seed(0), steps=1)
    return twin


@torch.no_grad()
def diffusers_chunk(policy: DiffusionPolicy, observation: Observation, steps: int) -> Tensor:
    """Return a normalised chunk denoised by diffusers' scheduler, as diffusion_policy's loop does."""
    import diffusers

    make: Any = diffusers.DDIMScheduler  # it has types here and none there
    scheduler = make(
        num_train_timesteps=policy.config.train_timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=policy.config.prediction,
        clip_sample=True,
    )
    scheduler.set_timesteps(steps)
    condition = policy.encode(observation)
    generator = torch.Generator().manual_seed(0)
    chunk = torch.randn((len(condition), policy.config.pred_horizon, ACTION_DIM), generator=generator)
    chunk = chunk.to(policy.device)
    for step in scheduler.timesteps:
        predicted = policy.backbone(chunk, step.to(policy.device).expand(len(chunk)), condition)
        chunk = scheduler.step(predicted, step, chunk).prev_sample
    return chunk


def unmerged(policy: DiffusionPolicy, rank: int) -> DiffusionPolicy:
    """Return a policy with the same function that applies its factors one after the other."""
    split = DiffusionPolicy(policy.config)
    split.load_state_dict(policy.state_dict())
    split.to(policy.device).eval()
    modulate(split.backbone)
    for _, layer in modulated_layers(split.backbone):
        layer.split(rank)  # also where our own training would rather be dense
        if layer.factors() is not None:
            layer.forward = partial(chained, layer)  # type: ignore[method-assign]
    return split.requires_grad_(False)


@torch.no_grad()
def chained(layer: RankModulated, x: Tensor) -> Tensor:
    """Apply a layer below its full rank as published: V, S and U one after the other, and the frozen part beside."""
    factors, frozen = layer.factors(), layer.frozen
    if factors is None or frozen is None:
        raise ValueError("a layer at full rank has no factors to apply")
    u, s, v = factors.u, factors.s, factors.v
    beside = layer.operate(x, frozen.view(layer.shape), layer.bias)
    if isinstance(layer, ModulatedConv1d):
        thin = F.conv1d(x, v.T.reshape(-1, *layer.shape[1:]), None, layer.stride, layer.padding)
        return beside + F.conv1d(thin * s[:, None], u[:, :, None])
    if isinstance(layer, ModulatedConvTranspose1d):
        thin = F.conv1d(x, u.T[:, :, None]) * s[:, None]
        kernels = v.T.reshape(-1, *layer.shape[1:])
        return beside + F.conv_transpose1d(thin, kernels, None, layer.stride, layer.padding)
    return beside + ((x @ v) * s) @ u.T
