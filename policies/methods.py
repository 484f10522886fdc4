"""The methods that are compared (DRIFT, arXiv 2502.03822): each is one training procedure with other settings.

A method says for each of its two phases in which form the backbone's matrices are trained. How a form is entered is
`policies/forms.py`; what a rank is at an epoch, `policies/schedules.py`.
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["dense", "modulated", "lora", "qlora"]
"""dense: every weight. modulated: r leading singular directions. lora: adapters of rank r beside frozen weights; qlora:
the same with the frozen weights in four bits."""

MethodName = Literal["BC", "HG", "D(L)", "D(LR)", "D(RR)", "FPMO", "MPLO", "QR", "DSR", "QLoRA"]


@dataclass(frozen=True)
class Phase:
    """How a phase trains.

    `orthonormal` makes modulated factors orthonormal again after every step. `denoising_share` is the share of the
    denoising steps that is trained, counted from the last one, which gives the clean chunk.
    """

    form: Form
    orthonormal: bool = False
    denoising_share: float = 1.0


@dataclass(frozen=True)
class Method:
    """The offline phase, in which the rank follows the schedule, and the online phase, if any, at r_min."""

    offline: Phase
    online: Phase | None


DENSE, MODULATED, LORA = Phase("dense"), Phase("modulated"), Phase("lora")
ORTHONORMAL = Phase("modulated", orthonormal=True)

METHODS: dict[MethodName, Method] = {
    "BC": Method(DENSE, None),
    "HG": Method(DENSE, DENSE),
    "D(L)": Method(DENSE, LORA),
    "D(LR)": Method(LORA, LORA),
    "D(RR)": Method(MODULATED, MODULATED),
    "FPMO": Method(DENSE, MODULATED),
    "MPLO": Method(MODULATED, LORA),
    "QR": Method(ORTHONORMAL, ORTHONORMAL),
    "DSR": Method(DENSE, Phase("dense", denoising_share=0.1)),
    "QLoRA": Method(DENSE, Phase("qlora")),
}
