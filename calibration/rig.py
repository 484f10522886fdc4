"""The cell as a calibration sees it: cameras to look through, an arm to read, and to drive slowly where that is wanted.

The real cell is in `real_rig.py`, the simulated one in `simulated_rig.py`. Whatever moves the arm here passes the same
controller and limits as in a session, at a slower pace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from hardware.arms.controller import ArmController, Authority, Start
from hardware.arms.limits import ArmLimits
from hardware.cameras.lens import Lens
from hardware.clock import Clock
from hardware.interfaces import Arm, ArmState, Frame
from hardware.poses import Pose

SLOW_M_S, SLOW_RAD_S = 0.10, 0.4


@dataclass(frozen=True)
class CameraSite:
    """A camera: whether it rides on the arm, its serial number or address, and what its maker says of its lens."""

    on_arm: bool
    serial: str
    factory: Lens | None = None


class Rig(Protocol):
    """What a calibration uses of a cell. Any method may raise DeviceError. `turn` has to be called all the time."""

    @property
    def cameras(self) -> Mapping[str, CameraSite]:
        """The cameras by name."""
        ...

    @property
    def drives(self) -> bool:
        """Whether `go` moves the arm; otherwise a person guides it by hand."""
        ...

    @property
    def limits(self) -> ArmLimits:
        """What the arm may do."""
        ...

    @property
    def flange_from_tcp(self) -> Pose:
        """The tool."""
        ...

    @property
    def arrived(self) -> bool:
        """Whether the arm is where it was last told to go."""
        ...

    def turn(self) -> None:
        """Let a moment pass, and show that somebody is there: without that the arm holds."""
        ...

    def look(self, camera: str) -> Frame:
        """Return a camera's newest picture."""
        ...

    def arm(self) -> ArmState:
        """Return the arm's newest state."""
        ...

    def go(self, base_from_tcp: Pose) -> None:
        """Begin to move there slowly: straight up to its height if it is higher, then straight to it."""
        ...

    def hold(self) -> None:
        """Decelerate and hold."""
        ...

    def close(self) -> None:
        """Stop the arm, and release everything."""
        ...


class SlowArm:
    """Drives an `Arm` from pose to pose, in somebody's servo loop: the session's controller at a slow pace."""

    def __init__(self, arm: Arm, limits: ArmLimits, clock: Clock) -> None:
        slow = replace(
            limits,
            slew_speed_m_s=min(limits.slew_speed_m_s, SLOW_M_S),
            slew_rotation_speed_rad_s=min(limits.slew_rotation_speed_rad_s, SLOW_RAD_S),
        )
        self._arm, self._clock = arm, clock
        self._controller = ArmController(slow, arm.servo_period_s)

    @property
    def arrived(self) -> bool:
        """Whether the arm is where it was last told to go."""
        return self._controller.authority is not Authority.RETURN or self._controller.at_start

    @property
    def commanded(self) -> Pose | None:
        """The last command."""
        return self._controller.commanded

    def go(self, base_from_tcp: Pose) -> None:
        """Begin to move there."""
        self._controller.return_to(Start(base_from_tcp), self._clock.now_ns())

    def hold(self) -> None:
        """Decelerate and hold."""
        self._controller.hold(self._clock.now_ns())

    def tick(self) -> tuple[ArmState, str | None]:
        """Send the command of one servo period; return the arm's state, and why it was stopped if so."""
        state = self._arm.read()
        command = self._controller.tick(self._clock.now_ns(), state, 1.0)
        self._arm.servo(command.base_from_tcp)
        return state, command.stopped
