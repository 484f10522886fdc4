"""A real cell to be calibrated, or an emulated one: its cameras here, its arm in a process of its own.

The arm is driven by `SlowArm` in that process, which holds when nobody has been heard of for `SILENT_S`; or it is only
read while a person guides it, which needs the robot's own freedrive.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from calibration.lag import Signal
from calibration.rig import CameraSite, Log, SlowArm
from hardware.arms.limits import ArmLimits
from hardware.arms.ur_pose import pose, six
from hardware.arms.ur_reader import UrObserver
from hardware.cameras.config import RealSenseConfig
from hardware.cameras.lens import Lens
from hardware.clock import NS_PER_S, MonotonicClock
from hardware.devices import DevicesConfig, open_arm, open_camera, open_gripper
from hardware.errors import DeviceError
from hardware.interfaces import Arm, ArmState, Frame, Gripper, Safety
from hardware.poses import Pose
from hardware.rings import Record, Ring, RingHandle, RingReader, RingWriter

SILENT_S = 0.5
START_S = 30.0
STOP_S = 5.0
TURN_S = 0.01
PICTURE_S = 10.0
PRIORITY = 30
STATE_SLOTS = 4096
STATE = np.dtype(
    [
        ("capture_ns", np.int64),
        ("joints", np.float64, 6),
        ("joint_velocities", np.float64, 6),
        ("measured", np.float64, 6),
        ("commanded", np.float64, 6),
        ("wrench", np.float64, 6),
        ("safety", np.int8),
        ("goal", np.int64),
        ("arrived", np.bool_),
        ("command_ns", np.int64),
        ("reached_ns", np.int64),
        ("commanded_opening", np.float64),
        ("opening", np.float64),
        ("touched", np.float64, 6),
    ]
)
"""The arm at every servo period: poses base_from_tcp as position in m and rotation vector in rad, in `six` numbers.

Commands were sent at `command_ns`, a pose to be reached at `reached_ns`. Openings are 1 where no gripper is open.
`touched` is NaN while nothing has been felt.
"""
UNTOUCHED = np.full(6, np.nan)


@runtime_checkable
class _KnowsItsLens(Protocol):
    @property
    def factory_lens(self) -> Lens:
        """What the camera's maker says of its lens."""
        ...


class RealRig:
    """A `Rig` and a `TimingRig`: some cameras, and the arm, driven (`drives`) or read while a person guides it.

    With `grips` the gripper is opened too, which may move its fingers once.
    """

    def __init__(
        self,
        devices: DevicesConfig,
        cameras: Sequence[str],
        arm_cameras: Sequence[str],
        limits: ArmLimits,
        drives: bool,
        grips: bool = False,
    ) -> None:
        """Open cameras and arm; the arm does not move. Raises DeviceError."""
        self.drives, self.limits, self.serial = drives, limits, devices.arm.host
        self.flange_from_tcp = pose(devices.arm.flange_from_tcp)
        with ExitStack() as opened:
            self._cameras = {}
            for name in cameras:
                self._cameras[name] = open_camera(name, devices.cameras[name], devices.emulator)
                opened.callback(self._cameras[name].close)
            self._arm = _DrivenArm(devices, limits, grips) if drives else None
            if self._arm is not None:
                opened.callback(self._arm.close)
            self._observer = None if drives else UrObserver(devices.arm.host, devices.arm.flange_from_tcp)
            if self._observer is not None:
                opened.callback(self._observer.close)
            self._opened = opened.pop_all()
        self.cameras: Mapping[str, CameraSite] = {
            name: CameraSite(
                name in arm_cameras,
                config.serial if isinstance(config := devices.cameras[name], RealSenseConfig) else str(config.source),
                camera.factory_lens if isinstance(camera := self._cameras[name], _KnowsItsLens) else None,
            )
            for name in cameras
        }

    @property
    def arrived(self) -> bool:
        """Whether the arm is where it was last told to go."""
        return self._arm is None or self._arm.arrived

    def turn(self) -> None:
        """Show that somebody is there."""
        if self._arm is not None:
            self._arm.tell({})
        time.sleep(TURN_S)

    def look(self, camera: str) -> Frame:
        """Return a camera's next picture."""
        try:
            return self._cameras[camera].read(PICTURE_S)
        except TimeoutError as error:
            raise DeviceError(str(error)) from error

    def arm(self) -> ArmState:
        """Return the arm's newest state."""
        if self._arm is not None:
            return self._arm.state()
        if self._observer is None:
            raise DeviceError("The arm has not been opened.")
        return self._observer.read()

    def go(self, base_from_tcp: Pose) -> None:
        """Begin to move there."""
        if self._arm is None:
            raise DeviceError("The arm is only read, not driven.")
        self._arm.go(base_from_tcp)

    def touch(self, depth_m: float) -> None:
        """Begin to move straight down, until something is touched or that far."""
        if self._arm is None:
            raise DeviceError("The arm is only read, not driven.")
        self._arm.touch(depth_m)

    @property
    def touched(self) -> Pose | None:
        """Where the TCP was when the last `touch` felt something."""
        return None if self._arm is None else self._arm.touched

    def hold(self) -> None:
        """Decelerate and hold."""
        if self._arm is not None:
            self._arm.tell({"hold": True})

    @property
    def swaying(self) -> bool:
        """Whether the small motion goes on."""
        return self._arm is not None and not self._arm.arrived

    def now_ns(self) -> int:
        """Return the host's time."""
        return time.monotonic_ns()

    def sway(self, grips: bool, again: bool = False) -> None:
        """Begin the small motion."""
        if self._arm is None:
            raise DeviceError("The arm is only read, not driven.")
        self._arm.sway(grips, again)

    def log(self) -> Log:
        """Return what was commanded and reported since the sway began."""
        if self._arm is None:
            raise DeviceError("The arm is only read, not driven.")
        return self._arm.log()

    def screen(self, picture: NDArray[np.uint8] | None) -> None:
        """The camera sees the screen by itself."""

    def close(self) -> None:
        """Stop the arm, and release everything."""
        self._opened.close()


class _DrivenArm:
    """The arm's process as seen from here. Messages are JSON; its states come through a ring."""

    def __init__(self, devices: DevicesConfig, limits: ArmLimits, grips: bool) -> None:
        self._ring = Ring(STATE, STATE_SLOTS)
        self._states = RingReader(self._ring.handle)
        self._goal = 0
        self._rows: list[Any] | None = None
        self._read = 0
        context = get_context("spawn")
        self._line, theirs = context.Pipe()
        arguments = (theirs, self._ring.handle, devices, limits, grips, os.getpid())
        self._process = context.Process(target=_drive, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        deadline_s = time.monotonic() + START_S + devices.arm.connect_timeout_s
        try:
            while self._states.latest() is None:
                self._listen()
                if time.monotonic() > deadline_s:
                    raise DeviceError(f"The arm at {devices.arm.host} did not become ready.")
                time.sleep(TURN_S)
        except DeviceError:
            self.close()
            raise

    @property
    def arrived(self) -> bool:
        """Whether the arm is where it was last told to go."""
        newest = self._newest()
        return bool(newest["goal"] == self._goal and newest["arrived"])

    def state(self) -> ArmState:
        """Return the newest state."""
        newest = self._newest()
        return ArmState(
            int(newest["capture_ns"]),
            newest["joints"].copy(),
            newest["joint_velocities"].copy(),
            pose(newest["measured"]),
            newest["wrench"].copy(),
            Safety(int(newest["safety"])),
        )

    def go(self, base_from_tcp: Pose) -> None:
        """Begin to move there."""
        self._goal += 1
        self.tell({"goal": self._goal, "six": six(base_from_tcp).tolist()})

    def sway(self, grips: bool, again: bool) -> None:
        """Begin the small motion of arm or gripper; it has arrived when it is over."""
        self._goal += 1
        if self._rows is None or not again:
            self._rows, self._read = [], self._latest().sequence
        self.tell({"goal": self._goal, "sway": grips})

    def log(self) -> Log:
        """Return what was commanded and reported since the sway began."""
        self._take()
        rows = np.array(self._rows or [], dtype=STATE)
        stamped = rows["capture_ns"]
        return Log(
            Signal(rows["reached_ns"], rows["commanded"][:, :3]),
            Signal(stamped, rows["measured"][:, :3]),
            Signal(rows["command_ns"], rows["commanded_opening"][:, None]),
            Signal(stamped, rows["opening"][:, None]),
        )

    def _take(self) -> None:
        """Keep the states that have come since the last call; the ring holds eight seconds at 500 Hz."""
        if self._rows is None:
            return
        for record in self._states.since(self._read):
            self._read = record.sequence
            self._rows.append(record.value)

    def touch(self, depth_m: float) -> None:
        """Begin to move down until something is felt."""
        self._goal += 1
        self.tell({"goal": self._goal, "depth": depth_m})

    @property
    def touched(self) -> Pose | None:
        """Where something was felt since the arm was last told to feel for it."""
        newest = self._newest()
        felt = newest["goal"] == self._goal and not np.isnan(newest["touched"]).any()
        return pose(newest["touched"]) if felt else None

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message, if only to be heard. Raises DeviceError once the arm has stopped by itself."""
        self._listen()
        self._take()
        with suppress(OSError):
            self._line.send_bytes(json.dumps(message).encode())

    def close(self) -> None:
        """End the process, which stops the arm, and delete the ring."""
        self._line.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._states.close()
        self._ring.close()

    def _newest(self) -> Any:
        return self._latest().value

    def _latest(self) -> Record:
        newest = self._states.latest()
        if newest is None:
            raise DeviceError("The arm has not reported any state.")
        return newest

    def _listen(self) -> None:
        try:
            while self._line.poll():
                raise DeviceError(json.loads(self._line.recv_bytes())["stopped"])
        except (EOFError, OSError) as error:
            raise DeviceError("The process that drives the arm has ended; the arm holds.") from error


def _drive(
    line: Connection, ring: RingHandle, devices: DevicesConfig, limits: ArmLimits, grips: bool, parent: int
) -> None:
    """Be the arm's process: drive until the line is closed or something stops the arm, and say what."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ExitStack() as opened:
        try:
            arm = open_arm(devices)
            opened.callback(arm.close)
            gripper = open_gripper(devices, arm) if grips else None
            if gripper is not None:
                opened.callback(gripper.close)
        except DeviceError as error:
            line.send_bytes(json.dumps({"stopped": str(error)}).encode())
            sys.exit(1)
        _serve(line, RingWriter(ring), SlowArm(arm, limits, MonotonicClock(), gripper), arm, gripper, parent)


def _serve(line: Connection, states: RingWriter, slow: SlowArm, arm: Arm, gripper: Gripper | None, parent: int) -> None:
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    clock = MonotonicClock()
    period_ns = round(arm.servo_period_s * NS_PER_S)
    goal, holding = 0, True
    deadline_ns = heard_ns = clock.now_ns()
    try:
        while os.getppid() == parent:
            deadline_ns = max(deadline_ns + period_ns, clock.now_ns())
            clock.sleep_until_ns(deadline_ns)
            while line.poll():
                message, heard_ns = json.loads(line.recv_bytes()), clock.now_ns()
                if "goal" in message:
                    goal, holding = int(message["goal"]), False
                    if "sway" in message:
                        slow.sway(grips=bool(message["sway"]))
                    elif "depth" in message:
                        slow.touch(float(message["depth"]))
                    else:
                        slow.go(pose(message["six"]))
                elif "hold" in message:
                    slow.hold()
            if not holding and clock.now_ns() - heard_ns > SILENT_S * NS_PER_S:
                holding = True
                slow.hold()
            command_ns = clock.now_ns()
            state, stopped = slow.tick()
            if stopped := arm.fault or (gripper.fault if gripper else None) or stopped:
                line.send_bytes(json.dumps({"stopped": stopped}).encode())
                return
            states.write(
                {
                    "capture_ns": state.capture_ns,
                    "joints": state.joints,
                    "joint_velocities": state.joint_velocities,
                    "measured": six(state.base_from_tcp),
                    "commanded": six(slow.commanded or state.base_from_tcp),
                    "wrench": state.wrench,
                    "safety": int(state.safety),
                    "goal": goal,
                    "arrived": slow.arrived and not holding,
                    "command_ns": command_ns,
                    "reached_ns": command_ns + period_ns,
                    "commanded_opening": slow.commanded_opening,
                    "opening": gripper.read() if gripper else 1.0,
                    "touched": UNTOUCHED if slow.touched is None else six(slow.touched),
                }
            )
    except DeviceError as error:
        line.send_bytes(json.dumps({"stopped": str(error)}).encode())
    except (EOFError, OSError):
        return  # whoever gave the orders has closed the line
