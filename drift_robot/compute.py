"""Where the policy acts and learns: on a GPU if there is one, else on the CPU."""

import platform
from typing import TYPE_CHECKING, Literal

from drift_robot.errors import UserError
from policies.processor import about_processor

if TYPE_CHECKING:
    import torch

DeviceChoice = Literal["auto", "cpu", "cuda"]


def chosen_device(choice: DeviceChoice) -> "torch.device":
    """Return the device of a configuration's `compute` key. Raises UserError if there is no GPU that torch can use."""
    import torch  # here, as the command line takes its choices from this module

    if choice == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"compute is cuda, but torch {torch.__version__} finds no GPU here; set it to auto or cpu, or install a "
            "build of torch for CUDA."
        )
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(choice)


def processor_name(device: "torch.device") -> str:
    """Return the name of the GPU, or of the CPU, that a device is; with its model where the name tells of no one."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name, family, model = map(about_processor, ("model name", "cpu family", "model"))
    return f"{name} ({family}/{model})" if name and model else name or f"{platform.machine()} CPU"
