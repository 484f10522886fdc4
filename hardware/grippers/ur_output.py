"""A gripper that is switched by a digital output of the UR controller: pneumatic, magnetic, or an OnRobot in IO mode.

It is open or closed, nothing between. There is no sensor: the opening that is read follows the output as the controller
reports it, over the time that the fingers are known to take.
"""

from collections.abc import Callable
from typing import Annotated, Literal, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hardware.clock import NS_PER_S, Clock, MonotonicClock
from hardware.errors import DeviceError

OPEN_ABOVE = 0.5


class DigitalOutputs(Protocol):
    """What the gripper needs of the arm."""

    @property
    def fault(self) -> str | None:
        """Why outputs are not set until the arm's `recover`, in a sentence; None while they are."""
        ...

    def set_digital_output(self, output: int, level: bool) -> None:
        """Set a standard digital output."""
        ...

    def digital_output(self, output: int) -> bool:
        """Return a digital output as the controller reports it."""
        ...


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UrOutputConfig:
    """Which standard digital output it is, the level that closes the gripper, and how long the fingers travel."""

    output: Annotated[int, Field(ge=0, le=7)]
    closing_level: bool = True
    travel_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.3
    driver: Literal["ur_output"] = "ur_output"


class UrOutputGripper:
    """One gripper on an arm's output."""

    def __init__(self, config: UrOutputConfig, outputs: DigitalOutputs, clock: Clock | None = None) -> None:
        self._config, self._outputs = config, outputs
        self._now_ns: Callable[[], int] = (clock or MonotonicClock()).now_ns
        self._opening = self._end()
        self._read_ns = self._now_ns()

    @property
    def fault(self) -> str | None:
        """The arm's: while it is not ready, its outputs are not set."""
        return self._outputs.fault

    def recover(self) -> None:
        """Nothing to make ready but the arm."""

    def read(self) -> float:
        """Return the opening, 0 closed and 1 open, as far as the fingers can have come since the output changed."""
        now_ns = self._now_ns()
        reach = (now_ns - self._read_ns) / NS_PER_S / self._config.travel_s
        self._read_ns = now_ns
        self._opening += min(max(self._end() - self._opening, -reach), reach)
        return self._opening

    def move(self, opening: float) -> None:
        """Open above a half, close below; never blocks. Raises DeviceError if it is not between 0 and 1."""
        if not 0.0 <= opening <= 1.0:
            raise DeviceError(f"A gripper opening of {opening} was asked for; it has to be between 0 and 1.")
        level = self._config.closing_level if opening <= OPEN_ABOVE else not self._config.closing_level
        if level != self._outputs.digital_output(self._config.output):
            self._outputs.set_digital_output(self._config.output, level)

    def close(self) -> None:
        """Nothing to release: the output keeps its level, so the gripper keeps its grip."""

    def _end(self) -> float:
        return float(self._outputs.digital_output(self._config.output) != self._config.closing_level)
