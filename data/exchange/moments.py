"""Statistics of a column over steps, added up block by block: least, greatest, mean, standard deviation, count."""

from typing import Any

import numpy as np

from data.exchange.table import is_picture
from data.schema import Array


class Moments:
    """What LeRobot normalises with; of pictures for each colour, in shares of full brightness."""

    def __init__(self) -> None:
        self._count = 0
        self._picture = False
        self._low: Array = np.array(np.inf)
        self._high: Array = np.array(-np.inf)
        self._sum: Array = np.array(0.0)
        self._squares: Array = np.array(0.0)
        self._weight = 0

    def add(self, rows: Array) -> None:
        """Add rows (n, *shape)."""
        self._picture = is_picture(rows.shape[1:], rows.dtype)
        values = rows.reshape(-1, 3) / 255.0 if self._picture else rows.reshape(len(rows), -1).astype(np.float64)
        self._count += len(rows)
        self._weight += len(values)
        self._low = np.minimum(self._low, values.min(0))
        self._high = np.maximum(self._high, values.max(0))
        self._sum = self._sum + values.sum(0)
        self._squares = self._squares + np.square(values).sum(0)

    def merge(self, other: "Moments") -> None:
        """Add what another has added."""
        self._picture = other._picture
        self._count += other._count
        self._weight += other._weight
        self._low = np.minimum(self._low, other._low)
        self._high = np.maximum(self._high, other._high)
        self._sum = self._sum + other._sum
        self._squares = self._squares + other._squares

    def figures(self) -> dict[str, Any]:
        """Return the figures as plain JSON values, of pictures as (3, 1, 1)."""
        mean = self._sum / self._weight
        std = np.sqrt(np.maximum(self._squares / self._weight - np.square(mean), 0))
        found = {"min": self._low, "max": self._high, "mean": mean, "std": std}
        shape = (3, 1, 1) if self._picture else (-1,)
        return {name: values.reshape(shape).tolist() for name, values in found.items()} | {"count": [self._count]}
