"""The diffusion process over action chunks: noise schedule, forward process, DDPM and DDIM samplers.

Noise prediction with the squared-cosine schedule (Nichol and Dhariwal, 2021) and samples clipped to [-1, 1]. The
network is passed in as a function; nothing here knows what a chunk means.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from policies.errors import PolicyError

Predict = Callable[[Tensor, Tensor], Tensor]
SamplerKind = Literal["ddim", "ddpm"]


class Diffusion(nn.Module):
    """The process with T training steps; `alphas_cumulative[t]` is the product of 1 - beta up to step t."""

    alphas_cumulative: Tensor

    def __init__(self, train_timesteps: int = 100) -> None:
        super().__init__()

        def signal(step: int) -> float:
            return math.cos((step / train_timesteps + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [min(1 - signal(step + 1) / signal(step), 0.999) for step in range(train_timesteps)]
        alphas = torch.cumprod(1 - torch.tensor(betas, dtype=torch.float32, device="cpu"), dim=0)
        self.register_buffer("alphas_cumulative", alphas, persistent=False)
        self.train_timesteps = train_timesteps
        self._alphas: list[float] = alphas.tolist()  # so that no step of the sampler waits for a GPU

    def q_sample(self, clean: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Return x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise for clean (B, H, A) and timestep (B,)."""
        alpha = self.alphas_cumulative[timestep][:, None, None]
        return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise

    def noise_from_clean(self, x: Tensor, clean: Tensor, timestep: Tensor) -> Tensor:
        """Return the noise in x_t (B, H, A) if its clean chunk is `clean`: the inverse of `q_sample`."""
        alpha = self.alphas_cumulative[timestep][:, None, None]
        return (x - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    def sampling_steps(self, steps: int) -> list[int]:
        """Return the training steps visited, last step first, evenly spaced ("trailing", Lin et al., 2024)."""
        if not 1 <= steps <= self.train_timesteps:
            raise PolicyError(f"sampler: steps must be between 1 and {self.train_timesteps}, not {steps}.")
        return [round(self.train_timesteps * (steps - i) / steps) - 1 for i in range(steps)]

    @torch.no_grad()
    def sample(
        self,
        predict: Predict,
        shape: tuple[int, int, int],
        generator: torch.Generator,
        steps: int,
        kind: SamplerKind = "ddim",
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Return chunks (B, H, A) in [-1, 1], denoised from noise with `predict(noisy, timestep (B,)) -> noise`.

        `prefix` (B, p, A) is held: before each prediction the first p actions are the prefix at that step's noise
        level (inpainting), and in the result they are the prefix itself.
        """
        x = self._noise(shape, generator)
        held = 0 if prefix is None else prefix.shape[1]
        prefix_noise = x[:, :held].clone()
        visited = self.sampling_steps(steps)
        for step, following in zip(visited, [*visited[1:], -1], strict=True):
            timestep = torch.full((shape[0],), step, device=x.device)
            if prefix is not None:
                x[:, :held] = self.q_sample(prefix, timestep, prefix_noise)
            update = self.ddim_step if kind == "ddim" else self.ddpm_step
            x = update(x, predict(x, timestep), step, following, generator)
        if prefix is not None:
            x[:, :held] = prefix
        return x

    def ddim_step(
        self, x: Tensor, noise: Tensor, step: int, following: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return x at the following step (-1: clean), deterministic (Song et al., 2021, eta = 0).

        The noise is recomputed from the clipped sample, so that x stays on the line between the two.
        """
        alpha, next_alpha = self._alpha(step), self._alpha(following)
        clean = self._clean(x, noise, alpha)
        noise = (x - math.sqrt(alpha) * clean) / math.sqrt(1 - alpha)
        return math.sqrt(next_alpha) * clean + math.sqrt(1 - next_alpha) * noise

    def ddpm_step(self, x: Tensor, noise: Tensor, step: int, following: int, generator: torch.Generator) -> Tensor:
        """Return a sample of x at the following step (-1: clean), smaller variance (Ho et al., 2020, eq. 7)."""
        alpha, next_alpha = self._alpha(step), self._alpha(following)
        kept = alpha / next_alpha
        clean = self._clean(x, noise, alpha)
        mean = (math.sqrt(next_alpha) * (1 - kept) * clean + math.sqrt(kept) * (1 - next_alpha) * x) / (1 - alpha)
        if following < 0:
            return mean
        variance = max((1 - next_alpha) / (1 - alpha) * (1 - kept), 1e-20)
        return mean + math.sqrt(variance) * self._noise(tuple(x.shape), generator)

    def _alpha(self, step: int) -> float:
        return self._alphas[step] if step >= 0 else 1.0

    def _clean(self, x: Tensor, noise: Tensor, alpha: float) -> Tensor:
        return ((x - math.sqrt(1 - alpha) * noise) / math.sqrt(alpha)).clamp(-1, 1)

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device).to(self.alphas_cumulative.device)
