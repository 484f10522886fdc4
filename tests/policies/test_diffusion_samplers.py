import math
from typing import Any

import policy_samples  # noqa: F401  (sets the number of threads)
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from policies.diffusion import Diffusion, SamplerKind
from policies.errors import PolicyError

SHAPE = (3, 8, 4)
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 100,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
    "clip_sample": True,
    "timestep_spacing": "trailing",
}


def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
    """A made-up network: smooth in both arguments, and large enough that clipping matters."""
    return torch.sin(3 * noisy) + torch.cos(timestep / 10)[:, None, None]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("steps", [1, 5, 10, 20, 100])
def test_ddim_equals_diffusers(steps: int) -> None:
    scheduler = DDIMScheduler(**SCHEDULE)
    scheduler.set_timesteps(steps)
    x = torch.randn(SHAPE, generator=seeded())
    for t in scheduler.timesteps:
        noise = predict(x, t.expand(SHAPE[0]))
        x = scheduler.step(noise, t, x, use_clipped_model_output=True).prev_sample
    found = Diffusion(100).sample(predict, SHAPE, seeded(), steps, "ddim")
    torch.testing.assert_close(found, x, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("steps", [1, 10, 100])
def test_ddpm_equals_diffusers(steps: int) -> None:
    scheduler = DDPMScheduler(**SCHEDULE, variance_type="fixed_small")
    scheduler.set_timesteps(steps)
    generator = seeded()
    x = torch.randn(SHAPE, generator=generator)
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t.expand(SHAPE[0])), t, x, generator=generator).prev_sample
    found = Diffusion(100).sample(predict, SHAPE, seeded(), steps, "ddpm")
    torch.testing.assert_close(found, x, rtol=1e-5, atol=2e-5)


def test_the_forward_process_equals_diffusers() -> None:
    clean, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([0, 42, 99])
    expected = DDPMScheduler(**SCHEDULE).add_noise(clean, noise, t)
    torch.testing.assert_close(Diffusion(100).q_sample(clean, t, noise), expected, rtol=1e-5, atol=1e-6)


def test_the_noise_is_recovered_from_the_clean_chunk() -> None:
    clean, noise, t = torch.randn(SHAPE), torch.randn(SHAPE), torch.tensor([3, 42, 99])
    diffusion = Diffusion(100)
    found = diffusion.noise_from_clean(diffusion.q_sample(clean, t, noise), clean, t)
    torch.testing.assert_close(found, noise, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
@pytest.mark.parametrize("steps", [8, 16])
def test_a_perfect_predictor_recovers_the_chunk_and_holds_the_prefix_exactly(kind: SamplerKind, steps: int) -> None:
    diffusion = Diffusion(100)
    truth = torch.rand(SHAPE, generator=seeded()) * 2 - 1
    seen = []

    def perfect(noisy: Tensor, timestep: Tensor) -> Tensor:
        seen.append((int(timestep[0]), noisy[:, :3].clone()))
        alpha = float(diffusion.alphas_cumulative[timestep[0]])
        return (noisy - math.sqrt(alpha) * truth) / math.sqrt(1 - alpha)

    prefix = truth[:, :3] * 0.5
    chunk = diffusion.sample(perfect, SHAPE, seeded(), steps, kind, prefix)
    assert torch.equal(chunk[:, :3], prefix)
    torch.testing.assert_close(chunk[:, 3:], truth[:, 3:], rtol=0, atol=1e-3)
    first_noise = torch.randn(SHAPE, generator=seeded())[:, :3]
    for step, held in seen:  # at every step the network sees the prefix at that step's noise level
        expected = diffusion.q_sample(prefix, torch.full((3,), step), first_noise)
        torch.testing.assert_close(held, expected)


@pytest.mark.parametrize("steps", [0, 101])
def test_an_impossible_number_of_steps_is_an_error(steps: int) -> None:
    with pytest.raises(PolicyError, match="between 1 and 100"):
        Diffusion(100).sampling_steps(steps)


@pytest.mark.parametrize("steps", [1, 3, 8, 16, 99, 100])
def test_the_steps_visited_fall_from_the_last_one_without_repeating(steps: int) -> None:
    visited = Diffusion(100).sampling_steps(steps)
    assert visited[0] == 99
    assert len(set(visited)) == steps
    assert visited == sorted(visited, reverse=True)
    assert visited[-1] >= 0
