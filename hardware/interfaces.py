"""What the control code knows of a device: small Protocols and the values that they exchange.

Drivers and doubles live in the neighbouring packages; nothing here imports a device library.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hardware.input_devices import DeviceKind
from hardware.poses import Array, Pose


class Safety(IntEnum):
    """The state of the arm's own safety system, worst last."""

    NORMAL = 0
    PROTECTIVE_STOP = 1
    EMERGENCY_STOP = 2
    DISCONNECTED = 3


@dataclass(frozen=True)
class ArmState:
    """A reading of the arm. `joints` and `joint_velocities` (6,) rad, rad/s; `wrench` (6,) N, Nm at TCP in base."""

    capture_ns: int
    joints: Array
    joint_velocities: Array
    base_from_tcp: Pose
    wrench: Array
    safety: Safety = Safety.NORMAL


class Arm(Protocol):
    """A position-servoed arm. After a fault it does not move until `recover`, which is the operator's word."""

    @property
    def servo_period_s(self) -> float:
        """The time between two servo commands."""
        ...

    @property
    def fault(self) -> str | None:
        """Why the arm does not move until `recover`, in a sentence; None while it may."""
        ...

    def recover(self) -> None:
        """Begin to make the arm ready again; never blocks, `fault` tells whether it worked."""
        ...

    def read(self) -> ArmState:
        """Return the newest state; its capture time tells how old it is."""
        ...

    def servo(self, base_from_tcp: Pose) -> None:
        """Move to a target within one servo period and hold it until the next command."""
        ...

    def stop(self) -> None:
        """Decelerate and hold."""
        ...

    def close(self) -> None:
        """Stop, and release the device."""
        ...


class Gripper(Protocol):
    """A parallel gripper; opening 0 is closed and 1 is open. After a fault it does not move until `recover`."""

    @property
    def fault(self) -> str | None:
        """Why the gripper does not move until `recover`, in a sentence; None while it may."""
        ...

    def recover(self) -> None:
        """Begin to make the gripper ready again; never blocks, `fault` tells whether it worked."""
        ...

    def read(self) -> float:
        """Return the opening measured last."""
        ...

    def move(self, opening: float) -> None:
        """Start moving to an opening; never blocks, and has no effect after a fault."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


@dataclass(frozen=True)
class Frame:
    """A camera picture: `image` (height, width, 3) uint8 RGB, stamped at capture."""

    capture_ns: int
    image: NDArray[np.uint8]


class Camera(Protocol):
    """A camera that is read at its own rate."""

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame. Raises TimeoutError if none comes in time."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Verb(StrEnum):
    """What an operator can ask for, from any input device."""

    TAKEOVER = "takeover"
    HANDBACK = "handback"
    HOLD = "hold"
    RESUME = "resume"
    RECOVERED = "recovered"
    SUCCEED = "succeed"
    FAIL = "fail"
    DISCARD = "discard"
    RESET = "reset"
    DROP_LAST = "drop_last"
    TRAIN_NOW = "train_now"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Teleop:
    """One reading of an input device: `twist` (6,) m/s and rad/s in base, a gripper opening, verbs pressed since."""

    capture_ns: int
    twist: Array = field(default_factory=lambda: np.zeros(6))
    gripper: float = 1.0
    verbs: tuple[Verb, ...] = ()
    deadman: bool = False


class InputDevice(Protocol):
    """A device with which a person (or a script in her place) drives the arm."""

    @property
    def kind(self) -> DeviceKind:
        """What kind of device it is, by which its ready map is found."""
        ...

    @property
    def problem(self) -> str:
        """What is wrong with the device now, in one sentence, or nothing."""
        ...

    def adopt_gripper(self, opening: float) -> None:
        """Go on from the opening that the arm is commanded to, so that a takeover drops nothing."""
        ...

    def offer(self, verbs: tuple[Verb, ...]) -> None:
        """Take note of the verbs that would be followed now, for controls that do the first of several."""
        ...

    def read(self) -> Teleop:
        """Return the newest reading; verbs are handed out once."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...
