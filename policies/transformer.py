"""A small diffusion transformer: it predicts the noise in an action chunk by attending to the condition.

Pre-norm decoder layers after Chi et al. (2023, "time-series diffusion transformer"); every weight matrix is an
nn.Linear, so that the rank of each can be modulated.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from policies.errors import PolicyError
from policies.unet import StepEmbedding

INITIAL_STD = 0.02


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al., 2017)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Return (B, H, dim): each of x (B, H, dim) attends to all of memory (B, N, dim)."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(memory), self.value(memory))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return y


class DecoderLayer(nn.Module):
    """Self-attention over the chunk, attention to the condition, and a two-layer perceptron, each with a shortcut."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Return (B, H, dim) for a chunk x (B, H, dim) and condition tokens (B, N, dim)."""
        normed = self.self_norm(x)
        x = x + self.self_attention(normed, normed)
        x = x + self.cross_attention(self.cross_norm(x), memory)
        y: Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class DiffusionTransformer(nn.Module):
    """Predicts noise (B, H, A) from a noisy chunk, a diffusion step and a condition.

    The condition (B, C) is `condition_tokens` equal parts, one token each, and the diffusion step is one token more.
    """

    def __init__(
        self,
        action_dim: int,
        condition_dim: int,
        condition_tokens: int,
        horizon: int,
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise PolicyError(f"transformer: width {dim} must be a multiple of its {heads} heads.")
        self.condition_tokens = condition_tokens
        self.step_embedding = StepEmbedding(dim)
        self.action_input = nn.Linear(action_dim, dim)
        self.condition_input = nn.Linear(condition_dim // condition_tokens, dim)
        self.action_position = nn.Parameter(INITIAL_STD * torch.randn(horizon, dim))
        self.condition_position = nn.Parameter(INITIAL_STD * torch.randn(condition_tokens + 1, dim))
        self.memory_norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads) for _ in range(layers))
        self.final_norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, action_dim)

    def forward(self, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """Return the predicted noise (B, H, A) for noisy (B, H, A), timestep (B,) and condition (B, C)."""
        tokens = self.condition_input(condition.view(len(condition), self.condition_tokens, -1))
        step = self.step_embedding(timestep)[:, None]
        memory = self.memory_norm(torch.cat([step, tokens], dim=1) + self.condition_position)
        x = self.action_input(noisy) + self.action_position
        for layer in self.layers:
            x = layer(x, memory)
        noise: Tensor = self.output(self.final_norm(x))
        return noise
