"""Where the policy acts and learns: on a GPU if there is one, else on the CPU."""

from typing import TYPE_CHECKING, Literal

from drift_robot.errors import UserError

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
