"""Rank schedules: the trainable rank as a function of the epoch (DRIFT, arXiv 2502.03822, section on rank scheduling).

Every curve is rescaled so that it starts at exactly r_max and ends at exactly r_min; nothing here knows of a network.
"""

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from policies.errors import PolicyError

ScheduleKind = Literal["linear", "cosine", "sigmoid", "exponential", "logarithmic"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RankScheduleConfig:
    """Which curve, between which ranks.

    `steepness` is tau per epoch of the sigmoid and the exponential, and the base of the logarithm less one;
    `midpoint` is where the sigmoid falls, as a fraction of all epochs.
    """

    kind: ScheduleKind = "sigmoid"
    r_max: Annotated[int, Field(ge=1)] = 128
    r_min: Annotated[int, Field(ge=1)] = 16
    steepness: Annotated[float, Field(ge=1e-6, le=1e3)] = 0.5
    midpoint: Annotated[float, Field(ge=0, le=1)] = 0.5


class RankSchedule:
    """The trainable rank r(i) of epoch i = 0..T: r(0) = r_max, r(T) = r_min, never rising, for every T >= 1."""

    def __init__(self, config: RankScheduleConfig) -> None:
        if config.r_min > config.r_max:
            raise PolicyError(f"rank schedule: r_min ({config.r_min}) is above r_max ({config.r_max}); swap them.")
        self.config = config

    def rank(self, epoch: int, epochs: int) -> int:
        """Return floor(r_min + (r_max - r_min) f(i)) for epoch i of T, with f rescaled to f(0) = 1 and f(T) = 0.

        Epochs beyond T keep r_min. Raises PolicyError for a negative epoch or fewer than one epoch.
        """
        if epoch < 0 or epochs < 1:
            raise PolicyError(
                f"rank schedule: epoch {epoch} of {epochs} does not exist; epochs count from 0 to T >= 1."
            )
        r_max, r_min = self.config.r_max, self.config.r_min
        if epoch == 0:
            return r_max
        if epoch >= epochs:
            return r_min
        first, last = self._curve(0, epochs), self._curve(epochs, epochs)
        share = (self._curve(epoch, epochs) - last) / (first - last)
        return r_min + math.floor((r_max - r_min) * min(max(share, 0.0), 1.0) + 1e-9)

    def _curve(self, epoch: float, epochs: int) -> float:
        tau = self.config.steepness
        curves: dict[ScheduleKind, Callable[[], float]] = {
            "linear": lambda: 1 - epoch / epochs,
            "cosine": lambda: (1 + math.cos(math.pi * epoch / epochs)) / 2,
            "sigmoid": lambda: 1 - _logistic(tau * (epoch - self.config.midpoint * epochs)),
            "exponential": lambda: math.exp(-tau * epoch),
            "logarithmic": lambda: 1 / (1 + math.log(epoch + 1) / math.log1p(tau)),
        }
        return curves[self.config.kind]()


def online_rank(rank: int, r_min: int, r_max: int, demanded: bool) -> int:
    """Return the rank that follows one online: twice as high where that is demanded, else half, in [r_min, r_max]."""
    return min(2 * rank, r_max) if demanded else max(rank // 2, r_min)


def _logistic(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))
