"""The exponential moving average of merged weights: what acts. It outlives every change of rank.

An average over factors would mean nothing once their basis turns, so the plain weights are averaged.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from policies.rank import merged_parameters, merged_state_dict


class WeightAverage:
    """The running average of a module's merged parameters, with the decay warmed up: min(decay, (1 + k) / (10 + k))."""

    def __init__(self, module: nn.Module, decay: float = 0.995) -> None:
        self.decay = decay
        self.updates = 0
        self._average = {name: value.clone() for name, value in merged_parameters(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the module's present merged weights into the average."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        merged = merged_parameters(module)
        torch._foreach_lerp_(list(self._average.values()), [merged[name] for name in self._average], 1 - decay)

    def parameters(self) -> dict[str, Tensor]:
        """Return the averaged parameters under their plain names."""
        return self._average

    def restore(self, parameters: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a stored average."""
        for name, value in self._average.items():
            value.copy_(parameters[name])
        self.updates = updates

    def state_dict(self, module: nn.Module) -> dict[str, Tensor]:
        """Return a plain state dict for acting: the averaged parameters with the module's buffers."""
        return merged_state_dict(module) | self._average
