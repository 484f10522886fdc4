"""A batch that is a share of a larger one: several processes together train on exactly what one alone would."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Share:
    """One of `count` equal, consecutive shares of a batch. Random numbers are drawn for the whole batch."""

    index: int = 0
    count: int = 1

    def of(self, whole: Tensor, dim: int = 0) -> Tensor:
        """Return this share of a tensor whose length along `dim` is a multiple of `count`."""
        part = self.part(whole.shape[dim])
        return whole.narrow(dim, part.start, part.stop - part.start)

    def part(self, size: int) -> slice:
        """Return where this share is in a batch of a size that is a multiple of `count`."""
        each = size // self.count
        return slice(self.index * each, (self.index + 1) * each)


WHOLE = Share()
