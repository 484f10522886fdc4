"""The controller's general-purpose registers and the input variables, as the control program sees them."""

from collections.abc import Iterable, Mapping
from typing import Any

from hardware.emulation.variables import INPUTS, LENGTHS, REGISTERS

Number = float | int


class Registers:
    """Inputs that clients write and outputs that the control program writes, by variable name.

    `offset` is added to every register index that the program uses: 24 for clients on the upper range.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {
            name: (0.0,) * LENGTHS[kind] if kind in LENGTHS else 0 for name, kind in INPUTS.items()
        }
        self.outputs: dict[str, Number] = {
            **{f"output_int_register_{index}": 0 for index in REGISTERS},
            **{f"output_double_register_{index}": 0.0 for index in REGISTERS},
        }
        self.offset = 0

    def write(self, values: Mapping[str, Any]) -> bool:
        """Take over what a client wrote; tell whether the command register was among it."""
        self.inputs.update(values)
        return f"input_int_register_{self.offset}" in values

    def read_int(self, index: int) -> int:
        """Return an input integer register."""
        return int(self.inputs[f"input_int_register_{index + self.offset}"])

    def read_double(self, index: int) -> float:
        """Return an input double register."""
        return float(self.inputs[f"input_double_register_{index + self.offset}"])

    def read_doubles(self, start: int, count: int = 6) -> tuple[float, ...]:
        """Return a run of input double registers."""
        return tuple(self.read_double(index) for index in range(start, start + count))

    def put_int(self, index: int, value: int) -> None:
        """Set an output integer register."""
        self.outputs[f"output_int_register_{index + self.offset}"] = value

    def put_doubles(self, values: Iterable[float]) -> None:
        """Set the output double registers from 0 on."""
        for index, value in enumerate(values):
            self.outputs[f"output_double_register_{index + self.offset}"] = float(value)
