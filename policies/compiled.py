"""The backbone compiled by torch: one function of weights and inputs, so that every version of a policy shares it.

Compiling takes up to a minute, once in a process; a new version brings other weights and compiles nothing.
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from policies.errors import UnusableHereError

Denoise = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
"""A backbone's prediction (B, H, A) for a noisy chunk (B, H, A), a diffusion step (B,) and a condition (B, C)."""


def plain(backbone: nn.Module, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
    """Return the prediction, operation by operation."""
    predicted: Tensor = backbone(noisy, timestep, condition)
    return predicted


@cache
def compiled() -> Denoise:
    """Return the same as one compiled function; whoever calls it first with sizes of tensors waits for the compiler.

    Its first use raises UnusableHereError where nothing can be compiled.
    """
    from torch._dynamo.exc import TorchDynamoException  # importing the compiler alone takes seconds
    from torch._inductor import config

    config.compile_threads = 1  # no processes beside ours
    run = torch.compile(plain, dynamic=False)

    def denoise(backbone: nn.Module, noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        try:
            return run(backbone, noisy, timestep, condition)
        except TorchDynamoException as error:
            cause = str(error).partition("\n")[0]
            raise UnusableHereError(
                f"the policy cannot be compiled here ({cause}): set 'compile_policy' to false, or install a C++ "
                "compiler such as g++."
            ) from error

    return denoise


def compile_no_more() -> None:
    """From here on use what is compiled and compile nothing: whatever it does not fit runs plain, and nobody waits."""
    torch.compiler.set_stance("eager_on_recompile")
