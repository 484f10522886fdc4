"""The cell as a calibration sees it: cameras to look through, an arm to read, and to drive slowly where that is wanted.

The real cell is in `real_rig.py`, the simulated one in `simulated_rig.py`. Whatever moves the arm here passes the same
controller and limits as in a session, at a slower pace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from calibration.lag import Signal
from calibration.sway import SWAY_S, sway_path
from hardware.arms.controller import ArmController, Authority, Start
from hardware.arms.limits import ArmLimits
from hardware.cameras.lens import Lens
from hardware.clock import NS_PER_S, Clock
from hardware.errors import DeviceError
from hardware.interfaces import Arm, ArmState, Frame, Gripper, Teleop
from hardware.poses import Array, Pose

SLOW_M_S, SLOW_RAD_S = 0.10, 0.4
TOUCH_M_S = 0.010
TOUCH_N = 10.0
"""Something is touched when the force has changed by so much since the descent began: well above a UR5e's noise."""
UNTOUCHED_S = 0.3
"""How long at the beginning of a descent the force counts as that of the free arm."""
RELIEF_M = 0.002
"""How far the arm goes up again at once: its command is ahead of it by its lag, and would press."""
BLIND_S = 0.02
"""On a state older than this a descent pauses, lest it press on what it has not felt yet."""


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

    def touch(self, depth_m: float) -> None:
        """Begin to move straight down, until something is touched, and let go of, or that far: then `arrived`."""
        ...

    @property
    def touched(self) -> Pose | None:
        """Where the TCP was (base_from_tcp) when the last `touch` felt something; None if it has not."""
        ...

    def hold(self) -> None:
        """Decelerate and hold."""
        ...

    def close(self) -> None:
        """Stop the arm, and release everything."""
        ...


@dataclass
class _Descent:
    """A way down: how far, where and when it began, and the forces (3,) that were felt before anything was touched."""

    depth_m: float
    start_ns: int
    start_m: float | None = None
    free: list[Array] = field(default_factory=list)

    def feels(self, state: ArmState) -> bool:
        """Take in the arm's state, and tell whether the force is no longer that of the free arm."""
        force = state.wrench[:3]
        if state.capture_ns - self.start_ns < UNTOUCHED_S * NS_PER_S or not self.free:
            self.free.append(force)
            return False
        return float(np.linalg.norm(force - np.mean(self.free, axis=0))) > TOUCH_N

    def is_over(self, state: ArmState) -> bool:
        """Tell whether it has gone as far as it should."""
        height = float(state.base_from_tcp.position[2])
        self.start_m = height if self.start_m is None else self.start_m
        return self.start_m - height >= self.depth_m


class TimingRig(Protocol):
    """What a measurement of latencies uses of a cell. Any method may raise DeviceError. `turn` has to be called often.

    Times are the host's in ns.
    """

    @property
    def cameras(self) -> Mapping[str, CameraSite]:
        """The cameras by name."""
        ...

    @property
    def limits(self) -> ArmLimits:
        """What the arm may do."""
        ...

    @property
    def serial(self) -> str:
        """The arm's serial number or address."""
        ...

    @property
    def swaying(self) -> bool:
        """Whether the small motion goes on."""
        ...

    def now_ns(self) -> int:
        """Return the time."""
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

    def sway(self, grips: bool, again: bool = False) -> None:
        """Begin the small motion of calibration/sway.py, of the arm or of the gripper, about where it is.

        The log begins anew unless it is done `again`.
        """
        ...

    def log(self) -> "Log":
        """Return what was commanded and reported."""
        ...

    def screen(self, picture: NDArray[np.uint8] | None) -> None:
        """Take note of what the screen before the camera shows now: a real camera sees it by itself."""
        ...

    def close(self) -> None:
        """Stop the arm, and release everything."""
        ...


@dataclass(frozen=True)
class Log:
    """A motion as commanded and as reported: the TCP's positions (n, 3) in base in m, the gripper's openings (n, 1).

    A position is commanded for the end of its servo period, an opening at once. Reports have their state's stamp.
    """

    commanded: Signal
    reported: Signal
    commanded_opening: Signal
    reported_opening: Signal


class SlowArm:
    """Drives an `Arm` from pose to pose, in somebody's servo loop: the session's controller at a slow pace.

    A `gripper` stays as it is found until a sway moves it.
    """

    def __init__(self, arm: Arm, limits: ArmLimits, clock: Clock, gripper: Gripper | None = None) -> None:
        slow = replace(
            limits,
            slew_speed_m_s=min(limits.slew_speed_m_s, SLOW_M_S),
            slew_rotation_speed_rad_s=min(limits.slew_rotation_speed_rad_s, SLOW_RAD_S),
        )
        self._arm, self._clock, self._gripper = arm, clock, gripper
        self._controller = ArmController(slow, arm.servo_period_s)
        self._sent_opening: float | None = None
        self._sway_end_ns = 0
        self._descent: _Descent | None = None
        self.touched: Pose | None = None

    @property
    def arrived(self) -> bool:
        """Whether the arm is where it was last told to go, or has swayed or felt its way to the end."""
        driving = self._controller.authority is Authority.RETURN and not self._controller.at_start
        return self._descent is None and not driving and not self.swaying

    @property
    def commanded(self) -> Pose | None:
        """The last command."""
        return self._controller.commanded

    @property
    def commanded_opening(self) -> float:
        """The gripper's last command."""
        return self._controller.gripper

    @property
    def swaying(self) -> bool:
        """Whether a sway has not come to its end."""
        return self._controller.authority is Authority.LEARNER and self._clock.now_ns() < self._sway_end_ns

    def go(self, base_from_tcp: Pose) -> None:
        """Begin to move there."""
        self._descent = None
        self._controller.return_to(Start(base_from_tcp), self._clock.now_ns())

    def touch(self, depth_m: float) -> None:
        """Begin to move straight down until something is felt, which `touched` then tells, or that far."""
        self.touched = None
        self._descent = _Descent(depth_m, self._clock.now_ns())
        self._controller.take_over(self._clock.now_ns())

    def hold(self) -> None:
        """Decelerate and hold."""
        self._descent = None
        self._controller.hold(self._clock.now_ns())

    def sway(self, grips: bool) -> None:
        """Begin the small motion about the last command, of the arm or, `grips`, of the gripper. Raises DeviceError."""
        here, now_ns = self.commanded, self._clock.now_ns()
        if here is None:
            raise DeviceError("The arm's state is not known yet, so it cannot move.")
        self._descent = None
        self._controller.hand_back(now_ns)
        refused = self._controller.schedule(sway_path(here, None if grips else self.commanded_opening, now_ns), now_ns)
        if refused is not None:
            raise DeviceError(refused.sentence)
        self._sway_end_ns = now_ns + round(SWAY_S * NS_PER_S)

    def tick(self) -> tuple[ArmState, str | None]:
        """Send the command of one servo period; return the arm's state, and why it was stopped if so."""
        state, opening = self._arm.read(), self._gripper.read() if self._gripper else 1.0
        if self._descent is not None:
            self._descend(self._descent, state)
        command = self._controller.tick(self._clock.now_ns(), state, opening)
        self._arm.servo(command.base_from_tcp)
        if self._gripper is not None and command.gripper != self._sent_opening:
            self._gripper.move(command.gripper)
            self._sent_opening = command.gripper
        return state, command.stopped

    def _descend(self, descent: _Descent, state: ArmState) -> None:
        if descent.feels(state):
            self.touched = here = state.base_from_tcp
            self.go(Pose(here.position + np.array([0.0, 0.0, RELIEF_M]), here.rotation))
        elif descent.is_over(state):
            self.hold()
        else:
            now_ns = self._clock.now_ns()
            speed = 0.0 if now_ns - state.capture_ns > BLIND_S * NS_PER_S else TOUCH_M_S
            self._controller.teleop(Teleop(now_ns, np.array([0.0, 0.0, -speed, 0.0, 0.0, 0.0])))
