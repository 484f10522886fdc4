"""The emulated controller as a machine of its own: safety, runtime state, program and mechanism, stepped in cycles.

No sockets and no real time: the server hands in what clients wrote and the time, and sends what is published.
"""

from collections import ChainMap, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from hardware.arms.ur_pose import six
from hardware.emulation.admin import UNLOCK_DELAY_S
from hardware.emulation.mechanism import PROGRAM_END_RAD_S2, STOP_RAD_S2, LimitExceeded, Mechanism
from hardware.emulation.motions import Unreachable
from hardware.emulation.program import COMMAND, ControlProgram, ProgramEnded
from hardware.emulation.registers import Registers
from hardware.emulation.robot import Robot
from hardware.emulation.variables import LENGTHS, Version, outputs, rate_hz

COMPILE_S = 0.05
REMOTE_CONTROL_SINCE: tuple[int, int] = (5, 6)
LOG_LENGTH = 100_000


class RuntimeState(IntEnum):
    """What the program player does, as published."""

    STOPPED = 1
    PLAYING = 2
    PAUSED = 4


class RobotMode(IntEnum):
    """What the arm's power and brakes do, as published."""

    POWER_OFF = 3
    IDLE = 5
    RUNNING = 7


@dataclass(frozen=True)
class Event:
    """Something worth knowing that happened, on the controller's clock."""

    time_s: float
    text: str


@dataclass(frozen=True)
class Command:
    """A command of the client: its number and the first double registers."""

    time_s: float
    number: int
    values: tuple[float, ...]


@dataclass
class Settings:
    """How the emulated controller behaves where real ones differ or a person sets them.

    `clock_drift` is seconds that its clock gains on each of the host's.
    """

    compile_s: float = COMPILE_S
    unlock_delay_s: float = UNLOCK_DELAY_S
    remote_control: bool = True
    clock_drift: float = 0.0


@dataclass
class Controller:
    """A UR controller with its arm. `tick` once a cycle; everything else happens between ticks.

    `packages` are the commands that came, when they were read; `commands` those that the control program executed, by
    the cycle.
    """

    version: Version
    robot: Robot
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.cycle_s = 1.0 / rate_hz(self.version)
        self.offered = outputs(self.version)
        self.registers = Registers()
        self.mechanism = Mechanism(self.robot)
        self.runtime = RuntimeState.STOPPED
        self.robot_mode = RobotMode.RUNNING
        self.protective_stop = False
        self.emergency_stop = False
        self.speed_fraction = 1.0
        self.digital_outputs = 0
        self.analog_outputs = [0.0, 0.0]
        self.events: deque[Event] = deque(maxlen=LOG_LENGTH)
        self.packages: deque[Command] = deque(maxlen=LOG_LENGTH)
        self.commands: deque[Command] = deque(maxlen=LOG_LENGTH)
        self._program: ControlProgram | None = None
        self._uploaded: tuple[float, str] | None = None
        self._stopped_s = -np.inf
        self._start_s: float | None = None
        self._now_s = 0.0
        self._sources = self._computed()
        constants = {
            **{name: (0,) * LENGTHS[kind] if kind in LENGTHS else 0 for name, kind in self.offered.items()},
            "joint_mode": (253,) * 6,
            "joint_temperatures": (25.0,) * 6,
            "actual_main_voltage": 48.0,
            "actual_robot_voltage": 48.0,
            "actual_joint_voltage": (48.0,) * 6,
            "actual_tool_accelerometer": (0.0, 0.0, 9.81),
        }
        self._others: Mapping[str, Any] = ChainMap(self.registers.outputs, constants)

    @property
    def ready(self) -> bool:
        """Whether the arm may move: powered, and neither kind of stop."""
        return self.robot_mode is RobotMode.RUNNING and not self.protective_stop and not self.emergency_stop

    # What clients and faults do

    def write(self, values: dict[str, Any], now_s: float) -> None:
        """Take over the input variables that a client wrote."""
        if self.registers.write(values):
            self.packages.append(self._command(self.registers.read_int(COMMAND), now_s))
            if self._program is not None:
                self._program.feed(now_s)
        for bank, shift in (("standard", 0), ("configurable", 8), ("tool", 16)):
            if (mask := values.get(f"{bank}_digital_output_mask")) is not None:
                level = values[f"{bank}_digital_output"]
                self.digital_outputs = self.digital_outputs & ~(mask << shift) | (level & mask) << shift
        if values.get("speed_slider_mask"):
            self.speed_fraction = min(max(float(values["speed_slider_fraction"]), 0.0), 1.0)
        for index in range(2):
            if values.get("standard_analog_output_mask", 0) & 1 << index:
                self.analog_outputs[index] = float(values[f"standard_analog_output_{index}"])

    def upload(self, text: str, now_s: float) -> None:
        """Take a program from the script port; it replaces the running one and starts after the compile time."""
        name = text.split("\n", 1)[0].removeprefix("def ").split("(")[0]
        if not self.ready:
            self._log("a program was refused: the arm is not ready")
        elif self.version[:2] >= REMOTE_CONTROL_SINCE and not self.settings.remote_control:
            self._log("a program was refused: the robot is in local control")
        elif name != "rtde_control":
            self._log(f"program '{name}' was refused: only the rtde_control program is emulated")
        else:
            self.end_program("replaced by another")
            self._uploaded = (now_s + self.settings.compile_s, text)

    def end_program(self, reason: str) -> None:
        """Stop the program; the arm comes to rest."""
        self._uploaded = None
        if self._program is not None:
            self._log(f"program ended: {reason}")
            self._program = None
            self.mechanism.stop_joints(PROGRAM_END_RAD_S2)
        self.runtime = RuntimeState.STOPPED

    def trip(self, reason: str) -> None:
        """Protective stop: brake hard; the program pauses until the watchdog or a person ends it."""
        self._log(f"protective stop: {reason}")
        self.protective_stop, self._stopped_s = True, self._now_s
        self._brake()

    def unlock(self) -> str | None:
        """Release a protective stop; return why not if it is too early."""
        if self.protective_stop and self._now_s - self._stopped_s < self.settings.unlock_delay_s:
            return f"Cannot unlock protective stop until {self.settings.unlock_delay_s:g}s after occurrence"
        if self.protective_stop:
            self._log("protective stop unlocked")
            self.protective_stop = False
            self.end_program("protective stop")
        return None

    def press_emergency_stop(self, pressed: bool) -> None:
        """Press or release the button. Released, the arm is without power until it is switched on."""
        self._log("emergency stop pressed" if pressed else "emergency stop released")
        self.emergency_stop = pressed
        if pressed:
            self._brake()
            self.end_program("emergency stop")
            self.robot_mode = RobotMode.POWER_OFF

    def power(self, mode: RobotMode) -> None:
        """Switch the arm's power or brakes; nothing happens while the emergency stop is pressed."""
        if self.emergency_stop:
            return
        if mode is RobotMode.RUNNING and self.robot_mode is RobotMode.POWER_OFF:
            return
        self.robot_mode = mode
        if mode is not RobotMode.RUNNING:
            self._brake()
            self.end_program("powered down")

    # Time

    def tick(self, now_s: float) -> None:
        """Run one controller cycle."""
        if self._start_s is None:
            self._start_s = now_s
        self._now_s = now_s - self._start_s
        self._play(now_s)
        try:
            self.mechanism.tick(self.cycle_s)
        except LimitExceeded as problem:
            self.trip(str(problem))
            self.mechanism.rest(self.cycle_s)
        except Unreachable as problem:
            self.end_program(str(problem))
            self.mechanism.rest(self.cycle_s)

    def published(self, names: Iterable[str]) -> dict[str, Any]:
        """Return some of the output variables that this version offers, by name."""
        sources, others = self._sources, self._others
        return {name: sources[name]() if name in sources else others[name] for name in names}

    def _play(self, now_s: float) -> None:
        if self._uploaded is not None and now_s >= self._uploaded[0]:
            text, self._uploaded = self._uploaded[1], None
            self._program = ControlProgram(text, self.registers, self.mechanism, self.cycle_s, now_s)
            self.runtime = RuntimeState.PLAYING
            self._log("program started")
        if self._program is None:
            return
        if self._program.starved(now_s):
            self.end_program("the watchdog expired")
            return
        if self.runtime is not RuntimeState.PLAYING:
            return
        try:
            command = self._program.cycle()
        except ProgramEnded as problem:
            self.end_program(str(problem))
        except LimitExceeded as problem:
            self.trip(str(problem))
        else:
            if command is not None:
                self.commands.append(self._command(command, now_s))

    def _computed(self) -> dict[str, Callable[[], Any]]:
        """Return how the output variables that change are computed, as a client that wants few pays for few."""
        arm, robot = self.mechanism, self.robot
        return {
            "timestamp": lambda: self._now_s * (1.0 + self.settings.clock_drift),
            "target_q": lambda: arm.target_joints,
            "target_qd": lambda: arm.target_velocities,
            "actual_q": lambda: robot.joints,
            "actual_qd": lambda: robot.joint_velocities,
            "actual_TCP_pose": lambda: six(arm.base_from_tcp),
            "target_TCP_pose": lambda: six(arm.base_from_target_tcp),
            "actual_TCP_speed": arm.twist,
            "target_TCP_speed": arm.target_twist,
            "actual_TCP_force": lambda: robot.wrench,
            "ft_raw_wrench": lambda: robot.wrench,
            "robot_mode": lambda: int(self.robot_mode),
            "safety_mode": lambda: 7 if self.emergency_stop else 3 if self.protective_stop else 1,
            "runtime_state": lambda: int(self.runtime),
            "robot_status_bits": self._robot_status,
            "safety_status_bits": self._safety_status,
            "speed_scaling": lambda: self.speed_fraction,
            "target_speed_fraction": lambda: self.speed_fraction,
            "actual_digital_output_bits": lambda: self.digital_outputs,
            "standard_analog_output0": lambda: self.analog_outputs[0],
            "standard_analog_output1": lambda: self.analog_outputs[1],
            "tcp_offset": lambda: six(arm.flange_from_tcp),
            "payload": lambda: arm.payload_kg,
            "payload_cog": lambda: arm.payload_cog_m,
        }

    def _command(self, number: int, now_s: float) -> Command:
        return Command(now_s, number, self.registers.read_doubles(0, 7))

    def _brake(self) -> None:
        self.mechanism.stop_joints(STOP_RAD_S2)
        if self.runtime is RuntimeState.PLAYING:
            self.runtime = RuntimeState.PAUSED

    def _robot_status(self) -> int:
        powered = self.robot_mode is not RobotMode.POWER_OFF
        return int(powered) | (self.runtime is RuntimeState.PLAYING) << 1

    def _safety_status(self) -> int:
        if self.emergency_stop:
            return 1 << 6 | 1 << 7 | 1 << 10
        if self.protective_stop:
            return 1 << 2 | 1 << 10
        return 1

    def _log(self, text: str) -> None:
        self.events.append(Event(self._now_s, text))
