"""Frozen weights in four bits: the NormalFloat levels of QLoRA (Dettmers et al., arXiv 2305.14314), block by block.

A block of 64 numbers has one scale, its largest magnitude, and a level in four bits for each number. Plain torch,
written to be read: a weight is restored whenever it is used, which saves memory and costs time.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

BLOCK = 64
LEVELS = (
    -1.0, -0.6961928, -0.5250730, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip
"""The quantiles of a normal distribution, in units of the block's scale."""
MAX_ERROR = max(high - low for low, high in pairwise(LEVELS)) / 2
"""No number is further from its restored value than this times its block's scale."""


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes (blocks, 32), uint8 with two levels to a byte, and the scales (blocks, 1) of a weight."""
    levels = torch.tensor(LEVELS, device=weight.device)
    flat = weight.detach().flatten()
    blocks = torch.cat([flat, flat.new_zeros(-len(flat) % BLOCK)]).view(-1, BLOCK)
    scales = blocks.abs().amax(1, keepdim=True)
    midpoints = (levels[1:] + levels[:-1]) / 2
    codes = torch.bucketize(blocks / scales.clamp(min=torch.finfo(scales.dtype).tiny), midpoints).to(torch.uint8)
    return codes[:, ::2] * 16 + codes[:, 1::2], scales


def dequantize(codes: Tensor, scales: Tensor, shape: torch.Size) -> Tensor:
    """Return the weight of a shape that codes and scales stand for."""
    levels = torch.tensor(LEVELS, device=scales.device, dtype=scales.dtype)
    unpacked = torch.stack([codes // 16, codes % 16], dim=-1).flatten(1)
    return (levels[unpacked.long()] * scales).flatten()[: shape.numel()].view(shape)


class FourBits(nn.Module):
    """What torch calls a parametrisation: a weight of a shape that is stored as codes and scales."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Return the weight."""
        return dequantize(codes, scales, self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is stored for a weight."""
        return quantize(weight)


def store_quantized(layer: nn.Module) -> None:
    """Store a layer's frozen weight in four bits from here on."""
    weight = layer.get_parameter("weight")
    parametrize.register_parametrization(layer, "weight", FourBits(weight.shape), unsafe=True)


@torch.no_grad()
def store_plain(layer: nn.Module) -> None:
    """Store a layer's weight as plain numbers again, those that the four bits stood for."""
    if not parametrize.is_parametrized(layer, "weight"):
        return
    parametrize.remove_parametrizations(layer, "weight")
    weight = layer.get_buffer("weight")
    del layer.weight
    layer.register_parameter("weight", nn.Parameter(weight, requires_grad=False))
