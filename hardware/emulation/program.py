"""The control program that the client uploads, interpreted by its register protocol rather than by its text.

Once a cycle the program reads its command register: 0 is idle, real-time commands are executed and answered with READY,
all others are executed once and answered with DONE when finished. Source: ur_rtde 1.6.5, `rtde_control.script`.
Path moves, force mode, jogging, contact detection and torque commands are not emulated: they end the program.
"""

import re
from collections.abc import Callable

import numpy as np

from hardware.arms.ur_pose import pose, six
from hardware.cell.kinematics import IDENTITY
from hardware.emulation.kinematics import inverse, tcp_pose, within_limits
from hardware.emulation.mechanism import LimitExceeded, Mechanism
from hardware.emulation.motions import (
    Motion,
    MoveJoints,
    MoveLine,
    SpeedJoints,
    SpeedLine,
    Unreachable,
    reach_six,
)
from hardware.emulation.registers import Registers
from hardware.poses import Array

READY, DONE = 1, 2
COMMAND, RESULT, PROGRESS = 0, 1, 2
"""Indices of the integer registers that the program speaks through."""
NO_COMMAND, STOP_PROGRAM = 0, 255
REAL_TIME = frozenset({6, 9, 10, 11, 24, 25, 26, 27, 38, 58, *range(66, 72)})
SERVO_JOINTS, SERVO_LINE = 11, 24
_OFFSET = re.compile(r"# int register offset\n\s*(\d+)")


class ProgramEnded(Exception):  # noqa: N818 - an outcome, with its reason
    """The program has ended; the text says why."""


class ControlProgram:
    """One run of an uploaded program. Times in seconds on the controller's clock."""

    def __init__(self, text: str, registers: Registers, mechanism: Mechanism, cycle_s: float, now_s: float) -> None:
        offset = _OFFSET.search(text)
        registers.offset = int(offset.group(1)) if offset else 0
        self._registers, self._arm, self._cycle_s = registers, mechanism, cycle_s
        self._waiting: Motion | None = None
        self._background: Motion | None = None
        self._executed = False
        self._writes = self._operations = 0
        self._watchdog_s: float | None = None
        self._fed_s = now_s
        self._servo_pose: tuple[float, ...] | None = None
        self._servo_joints = mechanism.target_joints
        self._commands: dict[int, Callable[[], None]] = {
            1: self._move_joints,
            2: self._move_joints_to_pose,
            3: self._move_line,
            4: self._move_line_to_joints,
            8: lambda: None,  # zero_ftsensor: the emulated sensor has no offset
            9: self._speed_joints,
            10: self._speed_line,
            SERVO_JOINTS: self._servo_joints_command,
            15: lambda: self._wait(mechanism.stop_line(registers.read_double(0))),
            16: lambda: self._wait(mechanism.stop_line(registers.read_double(0))),
            17: self._set_payload,
            SERVO_LINE: self._servo_line_command,
            26: lambda: registers.put_doubles([cycle_s]),
            29: lambda: mechanism.set_tcp(registers.read_doubles(0)),
            30: lambda: self._inverse(np.array(registers.read_doubles(6))),
            31: self._protective_stop,
            33: lambda: self._wait_or_background(mechanism.stop_line(registers.read_double(0))),
            34: lambda: self._wait_or_background(mechanism.stop_joints(registers.read_double(0))),
            35: self._set_watchdog,
            36: self._pose_within_limits,
            37: lambda: registers.put_int(RESULT, int(within_limits(np.array(registers.read_doubles(0))))),
            39: self._chain_poses,
            40: lambda: registers.put_doubles(six(mechanism.flange_from_tcp)),
            43: lambda: registers.put_doubles(six(mechanism.base_from_tcp)),
            44: self._forward,
            46: lambda: self._inverse(mechanism.target_joints),
            47: lambda: registers.put_int(RESULT, int(mechanism.steady)),
            58: lambda: registers.put_doubles(six(tcp_pose(mechanism.robot.joints, IDENTITY))),
        }
        self._signal_progress(None)
        registers.put_int(COMMAND, READY)

    def feed(self, now_s: float) -> None:
        """The command register has been written, which is what the watchdog waits for."""
        self._fed_s = now_s

    def starved(self, now_s: float) -> bool:
        """Tell whether the watchdog has expired."""
        return self._watchdog_s is not None and now_s - self._fed_s > self._watchdog_s

    def cycle(self) -> int | None:
        """Run one cycle; return the command that was executed in it. Raises ProgramEnded, LimitExceeded."""
        if self._background is not None and self._background.done:
            self._end_background()
        if self._waiting is not None:
            if self._waiting.done:
                self._waiting = None
                self._registers.put_int(COMMAND, DONE)
            return None
        command = self._registers.read_int(COMMAND)
        if command == NO_COMMAND:
            self._executed = False
            self._registers.put_int(COMMAND, READY)
            return None
        if command in REAL_TIME:
            self._execute(command)
            self._registers.put_int(COMMAND, READY)
            return command
        if self._executed:
            return None
        self._executed = True
        self._execute(command)
        if self._waiting is None:
            self._registers.put_int(COMMAND, DONE)
        return command

    def _execute(self, command: int) -> None:
        if command == STOP_PROGRAM:
            raise ProgramEnded("the client stopped it")
        action = self._commands.get(command)
        if action is None:
            raise ProgramEnded(f"command {command} is not emulated")
        try:
            action()
        except Unreachable as problem:
            raise ProgramEnded(str(problem)) from problem

    # Motions

    def _target_joints(self, start: int = 0) -> Array:
        joints = np.array(self._registers.read_doubles(start))
        if not np.isfinite(joints).all():
            raise LimitExceeded("a joint target is not a number")
        return joints

    def _start(self, motion: Motion) -> None:
        self._arm.motion = motion
        self._wait_or_background(motion)

    def _end_background(self) -> None:
        if self._background is not None:
            self._background = None
            self._signal_progress(None)

    def _wait(self, motion: Motion) -> None:
        self._waiting = motion

    def _wait_or_background(self, motion: Motion) -> None:
        self._end_background()
        if self._registers.read_int(1) == 1:
            self._background = motion
            self._signal_progress(0)
        else:
            self._wait(motion)

    def _signal_progress(self, progress: int | None) -> None:
        """Encode as the client decodes: operation id in bits 24-30, a change count from 16, running in bit 15."""
        self._writes = (self._writes + 1) % 128
        if progress == 0:
            self._operations = (self._operations + 1) % 128
        value = self._writes << 16 | self._operations << 24
        self._registers.put_int(PROGRESS, value if progress is None else value | 1 << 15 | progress)

    def _move_joints(self) -> None:
        self._move_to(self._target_joints())

    def _move_joints_to_pose(self) -> None:
        arm = self._arm
        self._move_to(reach_six(self._registers.read_doubles(0), arm.target_joints, arm.flange_from_tcp))

    def _move_to(self, target: Array) -> None:
        speed, acceleration = self._registers.read_doubles(6, 2)
        self._start(MoveJoints(self._arm.target_joints, target, speed, acceleration))

    def _move_line(self) -> None:
        speed, acceleration = self._registers.read_doubles(6, 2)
        arm, values = self._arm, self._registers.read_doubles(0)
        reach_six(values, arm.target_joints, arm.flange_from_tcp)
        self._start(MoveLine(arm.base_from_target_tcp, pose(values), speed, acceleration, arm.flange_from_tcp))

    def _move_line_to_joints(self) -> None:
        speed, acceleration = self._registers.read_doubles(6, 2)
        arm = self._arm
        target = tcp_pose(self._target_joints(), arm.flange_from_tcp)
        self._start(MoveLine(arm.base_from_target_tcp, target, speed, acceleration, arm.flange_from_tcp))

    def _servo_joints_command(self) -> None:
        self._arm.servo(self._target_joints(), self._registers.read_double(9))

    def _servo_line_command(self) -> None:
        values = self._registers.read_doubles(0)
        if values != self._servo_pose:
            self._servo_joints = reach_six(values, self._arm.target_joints, self._arm.flange_from_tcp)
            self._servo_pose = values
        self._arm.servo(self._servo_joints, self._registers.read_double(9))

    def _speed_joints(self) -> None:
        self._arm.motion = SpeedJoints(self._target_joints(), self._registers.read_double(6))

    def _speed_line(self) -> None:
        arm = self._arm
        running = arm.motion.twist if isinstance(arm.motion, SpeedLine) else arm.target_twist()
        arm.motion = SpeedLine(self._target_joints(), self._registers.read_double(6), arm.flange_from_tcp, running)

    # Settings and questions

    def _set_payload(self) -> None:
        mass, *cog = self._registers.read_doubles(0, 4)
        self._arm.payload_kg, self._arm.payload_cog_m = mass, tuple(cog)

    def _set_watchdog(self) -> None:
        frequency = self._registers.read_double(0)
        self._watchdog_s = 1.0 / frequency if frequency > 0 else None

    def _protective_stop(self) -> None:
        raise LimitExceeded("the program asked for it")

    def _inverse(self, near: Array) -> None:
        self._registers.put_doubles(reach_six(self._registers.read_doubles(0), near, self._arm.flange_from_tcp))

    def _forward(self) -> None:
        tcp = pose(self._registers.read_doubles(6))
        self._registers.put_doubles(six(tcp_pose(self._target_joints(), tcp)))

    def _pose_within_limits(self) -> None:
        arm = self._arm
        joints = inverse(pose(self._registers.read_doubles(0)), arm.target_joints, arm.flange_from_tcp)
        self._registers.put_int(RESULT, int(joints is not None and within_limits(joints)))

    def _chain_poses(self) -> None:
        first, second = self._registers.read_doubles(0), self._registers.read_doubles(6)
        self._registers.put_doubles(six(pose(first) @ pose(second)))
