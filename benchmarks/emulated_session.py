"""The processes of a real-time session on an emulated robot, with the benchmark in the place of all others.

Arm process, UR process, gamepad and cameras are the real ones, started as the supervisor starts them. This process is
supervisor and control at once: it confirms, starts the episode, and writes a chunk of waypoints at 10 Hz.
"""

import dataclasses
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from data.schema import EpisodeLayout
from drift_robot.gate import FaultCleared, Phase, ResetDone
from drift_robot.realtime import records
from drift_robot.realtime.arm_process import SESSION, ArmSetup, run_arm
from drift_robot.realtime.child import NICENESS, Child, Life
from drift_robot.realtime.lines import Lines, open_lines
from drift_robot.realtime.messages import Failed, Listener, Pressed, Ready, Said, Speaker
from drift_robot.realtime.teleop_process import PRIORITY as TELEOP_PRIORITY
from drift_robot.realtime.teleop_process import TeleopSetup, run_teleop
from hardware.arms import rotations
from hardware.clock import NS_PER_S
from hardware.emulation.process import EmulatedController
from hardware.errors import DeviceError
from hardware.interfaces import Verb
from hardware.poses import Array, Pose, action_vector
from hardware.rings import RingReader, RingWriter

if TYPE_CHECKING:
    from drift_robot.config import Config
    from hardware.emulation.gamepad import VirtualPad

CONFIG = Path(__file__).resolve().parent.parent / "configs/ur5e.yaml"
VERSIONS = {500: "5.12.0.0", 125: "3.15.0.0"}
"""Of the emulated controller, by its rate in Hz."""
RATES_HZ = tuple(VERSIONS)
PERIOD_S = 0.1
HORIZON = 16
PATIENCE_S = 60.0
Process: TypeAlias = tuple[Callable[[Any, Life], None], object]
"""A process' body and its setup."""


def emulated_config(host: str, real_time: bool = True) -> "Config":
    """Return configs/ur5e.yaml for an emulated robot, with more patience for silence.

    Where robot and session share their cores the emulator may be late, which is no fault of the session's; by its usual
    20 ms the arm would be stopped, and the measurement with it.
    """
    from drift_robot.config import load_config

    config = load_config(CONFIG)
    if config.devices is None:
        raise DeviceError(f"{CONFIG} has no devices.")
    arm = dataclasses.replace(config.devices.arm, host=host, max_age_s=0.5, watchdog_hz=1.0, realtime=real_time)
    limits = dataclasses.replace(config.limits, arm_timeout_s=1.0, device_timeout_s=1.0, command_timeout_s=0.5)
    return dataclasses.replace(config, devices=dataclasses.replace(config.devices, arm=arm), limits=limits)


def arm_setup(config: "Config") -> ArmSetup:
    """Return what the arm process is told."""
    return ArmSetup(config.gate, config.limits, config.devices, config.cell.servo_period_s)


def path(time_s: float) -> Pose:
    """Return where a smooth learner is at a time: about the start pose, up to 0.11 m/s and 0.22 rad/s."""
    t = np.array([0.7, 0.9, 1.3]) * time_s
    position = np.array([0.48, 0.0, 0.30]) + np.array([0.06, 0.09, 0.04]) * np.sin(t)
    turn = np.array([0.1, 0.1, 0.2]) * np.sin(t[::-1])
    return Pose(position, rotations.exp(turn) @ np.diag([1.0, -1.0, -1.0]))


class EmulatedSession:
    """A session that runs. Records are what a process has published while the learner drove, oldest first."""

    def __init__(self, robot: EmulatedController, lines: Lines, children: Mapping[str, Child[Any]]) -> None:
        self.robot = robot
        self.lines = lines
        self.children = children
        self.arm_records: list[Any] = []
        self.teleop_records: list[Any] = []
        self._arm = RingReader(lines.arm)
        self._teleop = RingReader(lines.teleop)
        self._chunks = RingWriter(lines.chunks)
        self._control = Speaker(lines.words["control"])
        self._listeners = {name: Listener(lines.words[name], True) for name in children}
        self._arm_read = self._teleop_read = 0

    def await_ready(self) -> None:
        """Wait until every process has come up. Raises DeviceError if one cannot."""
        self._until("every process has come up", lambda: all(child.ready for child in self.children.values()))

    def begin(self) -> None:
        """Take the arm to its start as an operator does, and let the learner drive. Raises DeviceError."""
        self.await_ready()
        self._control.say(FaultCleared(SESSION))
        self._until("the return to the start has begun", self._pressed(Verb.RESET, Phase.RESETTING))
        self._until("the arm is at its start", lambda: bool(self._newest()["at_start"]))
        self._control.say(ResetDone())
        self._until("the learner drives", self._pressed(Verb.RESUME, Phase.LEARNER))
        self._arm_read, self._teleop_read = self._newest_number(self._arm), self._newest_number(self._teleop)

    def press(self, verb: Verb) -> None:
        """Press a verb, as the scripted expert does."""
        self._control.say(Pressed(verb))

    def drive(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Be the learner for some time. Raises DeviceError if a process or the arm breaks off."""
        began_ns = due_ns = time.monotonic_ns()
        while due_ns < began_ns + seconds * NS_PER_S and not until():
            self._chunk(due_ns)
            self._collect()
            self._listen()
            due_ns += round(PERIOD_S * NS_PER_S)
            time.sleep(max(0.0, (due_ns - time.monotonic_ns()) / NS_PER_S))
        self._collect()

    def has_real_time(self) -> dict[str, bool]:
        """Tell which process has been granted real-time priority."""
        return {name: os.sched_getscheduler(child.pid) == os.SCHED_FIFO for name, child in self.children.items()}

    def stop(self) -> None:
        """End the processes; the robot goes on."""
        Speaker(self.lines.stop).say(Said("The measurement is done."))
        asked_s = time.monotonic()
        for child in self.children.values():
            child.join(asked_s)

    def logged(self, name: str) -> tuple[Array, NDArray[np.int64], list[tuple[float, ...]]]:
        """Return the robot's log `packages` or `commands`: times in s (n,), numbers (n,), and targets of six numbers.

        Ask after `stop`: the robot stands still meanwhile.
        """
        log = self.robot.do(name)[name]
        times, numbers = np.array([item["time_s"] for item in log]), np.array([item["number"] for item in log])
        return times, numbers, [tuple(item["values"][:6]) for item in log]

    def _chunk(self, now_ns: int) -> None:
        times_ns = now_ns + round(PERIOD_S * NS_PER_S) * np.arange(1, HORIZON + 1)
        actions = np.stack([action_vector(path(time_ns / NS_PER_S), 1.0) for time_ns in times_ns.tolist()])
        self._chunks.write({"observation_ns": now_ns, "times_ns": times_ns, "actions": actions, "version": 0})

    def _collect(self) -> None:
        for record in self._arm.since(self._arm_read):
            if record.sequence != self._arm_read + 1:
                raise DeviceError("The benchmark came too late for the arm's records; run it on a quieter machine.")
            self._arm_read = record.sequence
            self.arm_records.append(record.value)
        for record in self._teleop.since(self._teleop_read):
            self._teleop_read = record.sequence
            self.teleop_records.append(record.value)

    def _listen(self) -> None:
        for name, listener in self._listeners.items():
            for message in listener.hear():
                if isinstance(message, Ready):
                    self.children[name].ready = True
                elif isinstance(message, Failed):
                    raise DeviceError(message.sentence)
            if self.children[name].exit_code is not None:
                raise DeviceError(f"The {name} process has died.")
        newest = self._arm.latest()
        if self._arm_read and newest is not None and records.phase_of(newest.value) is Phase.FAULT:
            events = "; ".join(self.robot.events()[-3:])
            raise DeviceError(f"The arm stopped: {newest.value['stopped'].decode()} The robot said: {events}.")

    def _newest(self) -> Any:
        newest = self._arm.latest()
        if newest is None:
            raise DeviceError("The arm process has sent nothing yet.")
        return newest.value

    @staticmethod
    def _newest_number(ring: RingReader) -> int:
        newest = ring.latest()
        return newest.sequence if newest else 0

    def _pressed(self, verb: Verb, phase: Phase) -> Callable[[], bool]:
        """Return whether a phase is reached, and press a verb as long as it is offered."""
        pressed_s = 0.0

        def reached() -> bool:
            nonlocal pressed_s
            newest = self._newest()
            if records.phase_of(newest) is phase:
                return True
            if verb in records.offered_of(newest) and time.monotonic() - pressed_s > 0.5:
                pressed_s = time.monotonic()
                self.press(verb)
            return False

        return reached

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            self._listen()
            with suppress(DeviceError):
                if condition():
                    return
            if time.monotonic() > deadline_s:
                raise DeviceError(f"Within {PATIENCE_S:g} s it did not come about that {what}.")
            time.sleep(0.02)


@contextmanager
def emulated_session(
    config: "Config", rate_hz: int, processes: Mapping[str, Process], *robot_options: str
) -> Iterator[EmulatedSession]:
    """Start an emulated robot with the lift task's cell behind it, and processes by name. Raises DeviceError.

    This process takes the precedence that the control process has.
    """
    assert config.devices is not None
    layout = EpisodeLayout(0, {name: (size.height, size.width) for name, size in config.cell.cameras.items()})
    names = ("arm", "control", "recorder", "teleop", "window", "supervisor", *processes)
    with ExitStack() as stack:
        robot = stack.enter_context(
            EmulatedController(
                config.devices.arm.host,
                *("--controller-version", VERSIONS[rate_hz], "--task", "lift", "--realtime", *robot_options),
            )
        )
        lines = stack.enter_context(open_lines(tuple(dict.fromkeys(names)), layout, HORIZON))
        children = {
            name: Child(name, body, functools.partial(_given, setup), lines)
            for name, (body, setup) in processes.items()
        }
        session = EmulatedSession(robot, lines, children)
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        try:
            yield session
        finally:
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
            session.stop()


def _given(setup: object) -> object:
    return setup


@dataclass(frozen=True)
class PlayedPad:
    """The teleop process' setup, and who plays on its virtual gamepad; `play` gets the pad, the life, and its end."""

    teleop: TeleopSetup
    play: "Callable[[VirtualPad, Life, threading.Event], None]"


def run_played_pad(setup: PlayedPad, life: Life) -> None:
    """Be the teleop process of a person with a gamepad, which a thread beside the real loop plays."""
    from hardware.emulation.gamepad import VirtualPad

    pad, over = VirtualPad(), threading.Event()

    def play() -> None:
        life.ask_for_real_time(TELEOP_PRIORITY)  # or the loop would wait for the interpreter lock of a paused thread
        setup.play(pad, life, over)

    player = threading.Thread(target=play)
    player.start()
    try:
        run_teleop(setup.teleop, life)
    finally:
        over.set()
        player.join()
        pad.unplug()


def played_pad(config: "Config", play: "Callable[[VirtualPad, Life, threading.Event], None]") -> Process:
    """Return the teleop process with a player."""
    emulator = config.devices.emulator if config.devices else None
    teleop = TeleopSetup("gamepad", config.input.mapping, config.gate.style, config.cell.task, 1, 0, emulator)
    return run_played_pad, PlayedPad(teleop, play)


def arm_process(config: "Config") -> Process:
    """Return the arm process as it is."""
    return run_arm, arm_setup(config)
