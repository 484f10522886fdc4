"""How a trainable rank is shared out among layers: the same for all, or by their spectra, for no more numbers."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Allocation = Literal["uniform", "spectrum"]


# Factors of more than 0.3 of a weight's numbers cost a wide layer more time than the dense weight does, because
# each step merges them anew; see docs/speed.md. In a narrow layer time is no matter, and any number saved is.
WIDE_ROWS, WIDE_SHARE = 128, 0.3


def is_dense(rows: int, columns: int, rank: int) -> bool:
    """Whether a matrix (rows, columns) is trained as it is at a rank, because its factors would save nothing."""
    share = WIDE_SHARE if rows >= WIDE_ROWS else 1.0
    return rank * (rows + columns + 1) >= share * rows * columns


def trained_numbers(rows: int, columns: int, rank: int) -> int:
    """Return how many numbers are trained of a matrix at a rank: its factors, or itself where it is dense."""
    return rows * columns if is_dense(rows, columns, rank) else rank * (rows + columns + 1)


@dataclass(frozen=True)
class Spectrum:
    """A layer's matrix by its size and `energies` (min(rows, columns),), its squared singular values, descending."""

    rows: int
    columns: int
    energies: Tensor

    def kept(self) -> list[float]:
        """Return the share of the energy in the first 1, 2, ... directions."""
        total = self.energies.sum()
        shares = self.energies.cumsum(0) / total if total > 0 else torch.ones_like(self.energies)
        return shares.tolist()


def ranks_by_spectrum(spectra: Mapping[str, Spectrum], rank: int) -> dict[str, int]:
    """Return for each layer the least rank that keeps a share of its energy, the same share for all.

    It is the largest share at which no more numbers are trained than with `rank` >= 1 in every layer.
    """
    kept = {name: spectrum.kept() for name, spectrum in spectra.items()}
    budget = sum(trained_numbers(s.rows, s.columns, rank) for s in spectra.values())

    def ranks(share: float) -> dict[str, int]:
        return {name: min(1 + sum(k < share for k in shares), len(shares)) for name, shares in kept.items()}

    def spent(share: float) -> int:
        return sum(trained_numbers(spectra[name].rows, spectra[name].columns, r) for name, r in ranks(share).items())

    shares = sorted({share for layer in kept.values() for share in layer})
    return ranks(shares[bisect_right(shares, budget, key=spent) - 1])
