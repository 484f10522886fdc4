"""LoRA (Hu et al., arXiv 2106.09685): a frozen layer W beside a trainable path of rank r, y = W x + B A x.

The second path is an operation of its own (that is what it costs). Seen as a matrix (m, n), as rank modulation sees it,
the layer's weight is W + B A with B (m, r) zero at first and A (r, n): the scale, alpha / r there, is 1. Schedules live
elsewhere.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from policies.errors import PolicyError

Plain = nn.Linear | nn.Conv1d | nn.ConvTranspose1d


class LowRankAdapted(nn.Module):
    """A plain layer, frozen but for its bias, with the trainable factors `a` (r, n) and `b` (m, r)."""

    def __init__(self, plain: Plain, rank: int) -> None:
        super().__init__()
        self.plain = plain
        self._shape = plain.weight.shape  # a quantised weight is restored whenever it is looked at
        plain.weight.requires_grad_(False)
        rows, columns = plain.weight.shape[0], plain.weight.shape[1:].numel()
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(plain.weight.new_empty(rank, columns).uniform_(-bound, bound))
        self.b = nn.Parameter(plain.weight.new_zeros(rows, rank))

    @property
    def rank(self) -> int:
        """The trainable rank."""
        return len(self.a)

    @property
    def bias(self) -> Tensor | None:
        """The plain layer's bias, which is trained."""
        return self.plain.bias

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """Return W + B A in the plain layer's shape, without gradient."""
        weight = self.plain.weight
        return torch.addmm(weight.flatten(1), self.b, self.a).view(weight.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the plain layer and the path beside it."""
        y: Tensor = self.plain(x)
        return y + self._path(x)

    def _path(self, x: Tensor) -> Tensor:
        """Return B A x."""
        plain = self.plain
        if isinstance(plain, nn.Linear):
            return F.linear(F.linear(x, self.a), self.b)
        kernel = self.a.view(-1, *self._shape[1:])
        if isinstance(plain, nn.ConvTranspose1d):  # its matrix is (in, out * kernel), so the thin signal comes first
            thin = F.conv1d(x, self.b.T[:, :, None])
            return F.conv_transpose1d(thin, kernel, None, plain.stride, int(plain.padding[0]))
        return F.conv1d(F.conv1d(x, kernel, None, plain.stride, plain.padding), self.b[:, :, None])


def adapt(module: nn.Module, rank: int, exclude: Iterable[str] = ()) -> list[str]:
    """Put a path of a rank beside every plain Conv1d, ConvTranspose1d and Linear below a module; outputs stay the same.

    A layer whose own maximal rank is smaller uses that. Weights are frozen; biases and norms stay as they are. Returns
    the names of the layers. Raises PolicyError for a rank below 1, a name in `exclude` that is no such layer, or a
    convolution with groups, dilation or odd padding.
    """
    if rank < 1:
        raise PolicyError(f"LoRA: the rank must be at least 1, not {rank}.")
    excluded = set(exclude)
    found = {name: child for name, child in module.named_modules() if isinstance(child, Plain)}
    if unknown := excluded - found.keys():
        raise PolicyError(f"LoRA: no layer is called {sorted(unknown)}; layers are {sorted(found)}.")
    chosen = [name for name in found if name not in excluded]
    if unfit := [name for name in chosen if not _supported(found[name])]:
        raise PolicyError(f"LoRA: {unfit} have groups, dilation or odd padding, which is not supported.")
    for name in chosen:
        layer = found[name]
        maximum = min(layer.weight.shape[0], layer.weight.shape[1:].numel())
        module.set_submodule(name, LowRankAdapted(layer, min(rank, maximum)))
    return chosen


@torch.no_grad()
def merge(module: nn.Module) -> None:
    """Make every adapted layer below a module plain again, the path added to its weight, which can be trained again."""
    for name, layer in list(adapted_layers(module)):
        layer.plain.weight.copy_(layer.merged_weight())
        layer.plain.weight.requires_grad_(True)
        module.set_submodule(name, layer.plain)


def adapted_layers(module: nn.Module) -> Iterator[tuple[str, LowRankAdapted]]:
    """Yield the adapted layers below a module with their names."""
    for name, child in module.named_modules():
        if isinstance(child, LowRankAdapted):
            yield name, child


def _supported(layer: Plain) -> bool:
    if isinstance(layer, nn.Linear):
        return True
    plain = layer.groups == 1 and layer.dilation == (1,) and layer.output_padding == (0,)
    return plain and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
