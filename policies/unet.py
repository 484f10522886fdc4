"""The 1-D convolutional U-Net of Diffusion Policy (Chi et al., RSS 2023): it predicts the noise in an action chunk."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from policies.convolution import Conv1d, ConvTranspose1d
from policies.errors import PolicyError

KERNEL = 5
GROUPS = 8


class StepEmbedding(nn.Module):
    """A diffusion step (B,) as `dim` sines and cosines, then two linear layers (Ho et al., 2020)."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        steps = torch.arange(half, device="cpu")
        self.register_buffer("frequencies", torch.exp(steps * (-math.log(10_000) / (half - 1))), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * half, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))

    def forward(self, timestep: Tensor) -> Tensor:
        """Return (B, dim)."""
        angles = timestep[:, None].float() * self.frequencies
        embedding: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return embedding


class ConvBlock(nn.Sequential):
    """Convolution, GroupNorm, Mish; the length is kept."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(Conv1d(inputs, outputs, KERNEL, padding=KERNEL // 2), nn.GroupNorm(GROUPS, outputs), nn.Mish())


class ResidualBlock(nn.Module):
    """Two convolutions; the condition scales and shifts what is between them (FiLM, Perez et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, condition_dim: int) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs)
        self.second = ConvBlock(outputs, outputs)
        self.film = nn.Linear(condition_dim, 2 * outputs)
        self.shortcut = Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (B, outputs, L) for x (B, inputs, L) and an activated condition (B, C)."""
        scale, shift = self.film(condition)[:, :, None].chunk(2, dim=1)
        y: Tensor = self.second(torch.addcmul(shift, scale + 1, self.first(x))) + self.shortcut(x)
        return y


class Level(nn.Module):
    """Two residual blocks and a change of length."""

    def __init__(self, inputs: int, outputs: int, condition_dim: int, resample: nn.Module) -> None:
        super().__init__()
        self.first = ResidualBlock(inputs, outputs, condition_dim)
        self.second = ResidualBlock(outputs, outputs, condition_dim)
        self.resample = resample

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the blocks' output, for the skip connection, and the same resampled."""
        x = self.second(self.first(x, condition), condition)
        return x, self.resample(x)


class ConditionalUnet1d(nn.Module):
    """Predicts noise (B, H, A) from a noisy chunk, a diffusion step and a condition; H divisible by 2^(levels - 1)."""

    def __init__(
        self, action_dim: int, condition_dim: int, dims: Sequence[int] = (64, 128), step_embedding_dim: int = 64
    ) -> None:
        super().__init__()
        if any(dim % GROUPS for dim in dims) or not dims:
            raise PolicyError(f"unet: every width of {list(dims)} must be a multiple of {GROUPS}.")
        self.step_embedding = StepEmbedding(step_embedding_dim)
        film_dim = step_embedding_dim + condition_dim
        self.activation = nn.Mish()
        self.down = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(zip([action_dim, *dims[:-1]], dims, strict=True)):
            shrink = Conv1d(outputs, outputs, 3, 2, 1) if level < len(dims) - 1 else nn.Identity()
            self.down.append(Level(inputs, outputs, film_dim, shrink))
        self.middle = nn.ModuleList(ResidualBlock(dims[-1], dims[-1], film_dim) for _ in range(2))
        self.up = nn.ModuleList()
        for inputs, outputs in zip(dims[:0:-1], dims[-2::-1], strict=True):
            self.up.append(Level(2 * inputs, outputs, film_dim, ConvTranspose1d(outputs, outputs, 4, 2, 1)))
        self.final = nn.Sequential(ConvBlock(dims[0], dims[0]), Conv1d(dims[0], action_dim, 1))

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted noise (B, H, A) for noisy (B, H, A), timestep (B,) and condition (B, C)."""
        film = self.activation(torch.cat([self.step_embedding(timestep), condition], dim=-1))
        x = noisy.transpose(1, 2)
        skipped = []
        for level in self.down:
            skip, x = level(x, film)
            skipped.append(skip)
        for block in self.middle:
            x = block(x, film)
        for level in self.up:
            _, x = level(torch.cat([x, skipped.pop()], dim=1), film)
        noise: Tensor = self.final(x)
        return noise.transpose(1, 2)
