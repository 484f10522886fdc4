"""Affine maps of observations and actions to about [-1, 1], fitted once and saved with the policy."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from policies.errors import PolicyError


class Normalizer(nn.Module):
    """y = (x - centre) / half_range per dimension; the fit takes the data's range, with a floor under it.

    Of shape (H, dim) it has maps of its own for each of H steps; a shorter sequence uses the first ones.
    `limit` bounds |y|, so that a reading outside all experience cannot drive the network anywhere.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, shape: int | tuple[int, int], limit: float) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(shape))
        self.register_buffer("half_range", torch.ones(shape))
        self.limit = limit

    @torch.no_grad()
    def fit(self, data: Tensor, floors: Tensor, groups: Sequence[slice] = (), margin: float = 1.0) -> None:
        """Fit to data (..., *shape); `floors` (dim,) are the smallest half-ranges, in the data's units.

        The dimensions of a group share the largest of their half-ranges, so that directions of space stay
        comparable; `margin` widens every range. Raises PolicyError if the data are empty or not finite.
        """
        data = data.reshape(-1, *self.centre.shape)
        if len(data) == 0 or not bool(torch.isfinite(data).all()):
            raise PolicyError("normaliser: the data to fit are empty or hold values that are not finite.")
        low, high = data.amin(0), data.amax(0)
        half_range = margin * (high - low) / 2
        for group in groups:
            half_range[..., group] = half_range[..., group].amax(-1, keepdim=True)
        self.centre.copy_((low + high) / 2)
        self.half_range.copy_(torch.maximum(half_range, floors.to(half_range)))

    def normalize(self, x: Tensor) -> Tensor:
        """Return y, clamped to the limit."""
        centre, half_range = self._maps(x)
        return ((x - centre) / half_range).clamp(-self.limit, self.limit)

    def denormalize(self, y: Tensor) -> Tensor:
        """Return x for y."""
        centre, half_range = self._maps(y)
        return y * half_range + centre

    def _maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.centre.dim() == 1:
            return self.centre, self.half_range
        steps = x.shape[-2]
        return self.centre[:steps], self.half_range[:steps]
