"""In which form the matrices of a network are trained: every change of form keeps the network's function.

Modulated layers and adapters are defined elsewhere; here they are put in place of each other, in network and optimiser.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from policies.allocation import Allocation
from policies.lora import adapt, adapted_layers, merge
from policies.methods import Form
from policies.quantization import store_plain, store_quantized
from policies.rank import demodulate, full_rank, modulate, set_rank


def set_form(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    form: Form,
    rank: int,
    exclude: Iterable[str] = (),
    allocation: Allocation = "uniform",
) -> int:
    """Train the modulated or adapted matrices below a module in a form; return the rank, the full one if dense.

    A modulated layer's own rank follows from `allocation`.

    The outputs stay the same, but for what four bits cannot hold. Adam's moments carry over between dense and
    modulated; adapters start without, and those that are there are merged and drawn anew. `exclude` names the layers
    that were excluded from modulation.
    """
    exclude = tuple(exclude)
    if any(adapted_layers(module)):
        with _exchanged(module, optimizer):
            for _, layer in adapted_layers(module):
                store_plain(layer.plain)
            merge(module)
            modulate(module, exclude)
    full = full_rank(module)
    if form == "modulated":
        set_rank(module, optimizer, rank, allocation)
    else:
        set_rank(module, optimizer, full)
    if form in ("lora", "qlora"):
        with _exchanged(module, optimizer), torch.random.fork_rng():
            torch.manual_seed(rank)  # so that a run that was interrupted draws the same adapters
            demodulate(module)
            adapt(module, rank, exclude)
            for _, layer in adapted_layers(module):
                if form == "qlora":
                    store_quantized(layer.plain)
    return full if form == "dense" else rank


@contextmanager
def _exchanged(module: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Afterwards hand the optimiser what is trained below a module then, in place of what was before."""
    before = {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
    yield
    after = [parameter for parameter in module.parameters() if parameter.requires_grad]
    gone = before - {id(parameter) for parameter in after}
    (group,) = optimizer.param_groups
    for parameter in group["params"]:
        if id(parameter) in gone:
            optimizer.state.pop(parameter, None)
    kept = [parameter for parameter in group["params"] if id(parameter) not in gone]
    group["params"] = kept + [parameter for parameter in after if id(parameter) not in before]
