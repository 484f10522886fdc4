"""The process that holds the connection to a UR arm and nothing else: `python -m hardware.arms.ur_process`.

Two threads: one publishes every new state, the other obeys commands, kicks the controller's watchdog and arms on
request. It never decides to move by itself: motion needs an arming that the driver asked for and a fresh command under
it. The client library may hang or crash this process at any time; the driver outside judges and kills it (ur.py). The
control program is uploaded only here, never by the library itself, which would do so again after every lost link.
"""

import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from hardware.arms.mailbox import Mailbox
from hardware.arms.ur_config import UrConfig
from hardware.arms.ur_dashboard import UrDashboard
from hardware.arms.ur_guard import Posture, joint_refusal, refusal
from hardware.arms.ur_messages import COMMAND_LAYOUT, STATE_LAYOUT, Command, Kind, Line, State
from hardware.cameras.clock_map import ClockMap
from hardware.clock import NS_PER_S
from hardware.errors import DeviceError
from hardware.interfaces import Safety
from hardware.poses import Array

VARIABLES = [
    "timestamp",
    "actual_q",
    "actual_qd",
    "actual_TCP_pose",
    "target_TCP_pose",
    "actual_TCP_force",
    "safety_status_bits",
    "robot_mode",
    "runtime_state",
    "actual_digital_output_bits",
]
PLAYING, RUNNING = 2, 7
POLL_S = 200e-6
PROGRAM_START_S = 5.0
PROGRAM_END_S = 1.0
UNLOCK_S = 2.0
LEAVE_S = 1.0
RECORDS_FOR_PERIOD = 15
PERIODS_S = (0.002, 0.008)
IN_USE = "already in use"
"""What the library says of registers that another client of the controller holds."""
REALTIME_PRIORITY = 50
FIRST_NICENESS = -20


class Publisher(threading.Thread):
    """Reads every new state from the client library and publishes it."""

    def __init__(self, receiver: Any, mailbox: Mailbox, latency_s: float) -> None:
        super().__init__(daemon=True)
        self._receiver, self._mailbox = receiver, mailbox
        self._latency_ns = round(latency_s * NS_PER_S)
        self._clock = ClockMap()
        self._news = threading.Condition()
        self._count = 0
        self.period_s = _measured_period_s(receiver)
        self.armed = 0
        self.runtime_state = self.robot_mode = 0
        self.state = self._read(receiver.getTimestamp())

    def run(self) -> None:
        """Publish until the process ends."""
        last = None
        while True:
            stamp = self._receiver.getTimestamp()
            if stamp == last:
                time.sleep(POLL_S)
                continue
            state = self._read(stamp)
            if self._receiver.getTimestamp() != stamp:
                continue  # a newer package came in between: its values may be mixed into this one
            last = stamp
            self._mailbox.write(state.record())
            with self._news:
                self.state = state
                self._count += 1
                self._news.notify_all()
            time.sleep(self.period_s / 2)

    def wait(self, seen: int, timeout_s: float) -> int:
        """Return the number of the newest state once it is not `seen` any more, or after the time-out."""
        with self._news:
            self._news.wait_for(lambda: self._count != seen, timeout_s)
            return self._count

    def _read(self, stamp: float) -> State:
        receiver = self._receiver
        receipt_ns = time.monotonic_ns()
        self.runtime_state, self.robot_mode = receiver.getRuntimeState(), receiver.getRobotMode()
        return State(
            receipt_ns,
            self._clock.map(round(stamp * NS_PER_S), receipt_ns) - self._latency_ns,
            np.array(receiver.getActualQ()),
            np.array(receiver.getActualQd()),
            np.array(receiver.getActualTCPPose()),
            np.array(receiver.getTargetTCPPose()),
            np.array(receiver.getActualTCPForce()),
            safety_of(receiver.getSafetyStatusBits(), self.robot_mode),
            self.armed,
            receiver.getActualDigitalOutputBits(),
        )


class Commander:
    """Obeys the driver."""

    def __init__(
        self,
        config: UrConfig,
        control: Any,
        outputs: Any,
        publisher: Publisher,
        commands: Mailbox,
        line: Line,
        realtime: bool,
    ) -> None:
        self._config, self._control, self._outputs = config, control, outputs
        self._publisher, self._commands, self._line, self._realtime = publisher, commands, line, realtime
        self._servoing = False
        self._last_target: Array = publisher.state.base_from_commanded
        self._last_ns = 0

    def run(self) -> None:
        """Obey until the driver says close or is gone."""
        period_s = self._publisher.period_s
        seen = 0
        while True:
            newest = self._publisher.wait(seen, 2 * period_s)
            for message in self._line.receive():
                if "arm" in message:
                    self._arm(int(message["arm"]), bool(message["unlock"]))
                elif "output" in message and self._may_move():
                    self._outputs.setStandardDigitalOut(int(message["output"]), bool(message["level"]))
                elif "close" in message:
                    self._leave()
                    return
            if self._line.closed:
                self._leave()
                return
            if newest != seen and self._publisher.armed:
                self._obey()
            seen = newest

    def _may_move(self) -> bool:
        return bool(self._publisher.armed) and self._publisher.state.safety is Safety.NORMAL

    def _obey(self) -> None:
        """Spend one controller cycle under an arming."""
        state = self._publisher.state
        if state.safety is not Safety.NORMAL:
            self._disarm(state.safety, safety_sentence(state.safety, self._publisher.robot_mode))
            return
        if self._publisher.runtime_state != PLAYING:
            text = "The control program on the robot has stopped, so the arm holds; confirm to start it again."
            self._disarm(Safety.PROTECTIVE_STOP, text)
            return
        command = self._command()
        now_ns = time.monotonic_ns()
        if command is not None and now_ns - command.sent_ns < self._config.command_timeout_s * NS_PER_S:
            if command.kind is Kind.SERVO:
                self._servo(command.base_from_tcp, state, now_ns)
                return
        elif self._servoing and command is not None:
            self._line.send(notice="No command came in time, so the arm decelerates and holds.")
        if self._servoing:
            self._halt()
        self._control.kickWatchdog()

    def _command(self) -> Command | None:
        newest = self._commands.read()
        command = None if newest is None else Command.of(newest[1])
        return command if command is not None and command.armed == self._publisher.armed else None

    def _servo(self, target: Array, state: State, now_ns: int) -> None:
        config = self._config
        if not self._servoing:
            self._last_target, self._last_ns = state.base_from_commanded, now_ns
        posture = Posture(state.joints, state.joint_velocities, state.base_from_tcp)
        elapsed_s = (now_ns - self._last_ns) / NS_PER_S + self._publisher.period_s
        problem = refusal(target, self._last_target, elapsed_s, posture, config)
        if problem is not None:
            self._disarm(Safety.PROTECTIVE_STOP, f"{problem.rstrip('.')}; the arm holds until you confirm.")
            self._halt()
            return
        self._control.servoL(target.tolist(), 0.5, 0.5, self._publisher.period_s, config.lookahead_s, config.gain)
        self._servoing = True
        self._last_target, self._last_ns = target, now_ns

    def _halt(self) -> None:
        if self._servoing:
            self._servoing = False
            self._control.servoStop(self._config.stop_deceleration_m_s2)

    def _disarm(self, safety: Safety, sentence: str) -> None:
        self._publisher.armed = 0
        self._line.send(fault=sentence, safety=int(safety))

    def _arm(self, arming: int, unlock: bool) -> None:
        """Make the arm ready to move: unlock if asked to, start the control program, set it up, start its watchdog."""
        self._publisher.armed = 0
        self._servoing = False
        if self._realtime:
            schedule(realtime=False)  # the library waits for its program in a busy loop
        try:
            self._prepare(unlock)
        except DeviceError as problem:
            self._line.send(refused=arming, fault=str(problem), safety=int(self._publisher.state.safety))
            return
        if self._realtime:
            schedule(realtime=True)
        self._publisher.armed = arming
        self._line.send(armed=arming)

    def _prepare(self, unlock: bool) -> None:
        config, publisher, control = self._config, self._publisher, self._control
        host = config.host
        safety = publisher.state.safety
        if unlock and safety is Safety.PROTECTIVE_STOP:
            with UrDashboard(host) as dashboard:
                dashboard.unlock_protective_stop()
            self._await(lambda: publisher.state.safety is Safety.NORMAL, UNLOCK_S)
            safety = publisher.state.safety
        if safety is not Safety.NORMAL:
            raise DeviceError(safety_sentence(safety, publisher.robot_mode))
        try:
            dashboard = UrDashboard(host)
        except DeviceError:
            remote = (
                True  # PolyScope X has no dashboard server; the upload below fails in words if it is in manual mode
            )
        else:
            with dashboard:
                remote = dashboard.remote_control()
                if remote and publisher.runtime_state != 1:
                    dashboard.stop_program()
        if not remote:
            raise DeviceError(f"The robot at {host} is in local control: switch it to remote control at the pendant.")
        if not self._await(lambda: not control.isProgramRunning(), PROGRAM_END_S):
            raise DeviceError(f"Another program runs on the robot at {host}: stop it at the pendant.")
        # Without a program the library only clears its command register. Else the new program would obey what the last
        # one left there: end again where that had no solution, or servo to where the arm was before somebody moved it.
        control.servoStop()
        if not control.reuploadScript() or not self._await(control.isProgramRunning, PROGRAM_START_S):
            raise DeviceError(
                f"The control program did not start on the robot at {host} within {PROGRAM_START_S:g} s:"
                " look for a message on the pendant."
            )
        set_up = (
            control.setTcp(list(config.flange_from_tcp))
            and control.setPayload(config.payload_kg, list(config.payload_center_m))
            and control.setWatchdog(config.watchdog_hz)
        )
        if not set_up:
            raise DeviceError(f"The robot at {host} did not take tool, payload and watchdog: confirm to try again.")
        count = publisher.wait(-1, 0.0)
        publisher.wait(count, 0.1)  # a state that was measured with the new tool
        if (problem := joint_refusal(_posture(publisher.state), config)) is not None:
            raise DeviceError(problem)

    def _await(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(self._publisher.period_s)
        return True

    def _leave(self) -> None:
        """Leave the robot at rest and its program stopped, as far as that is possible within a second."""
        timer = threading.Timer(LEAVE_S, os._exit, (1,))
        timer.daemon = True
        timer.start()
        self._halt()
        if self._publisher.runtime_state == PLAYING:
            self._control.stopScript()


def safety_of(bits: int, robot_mode: int) -> Safety:
    """Return the state of UR's safety status bits and robot mode."""
    if bits & (1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9) or robot_mode != RUNNING:
        return Safety.EMERGENCY_STOP
    if bits & (1 << 2 | 1 << 3 | 1 << 4 | 1 << 10):
        return Safety.PROTECTIVE_STOP
    return Safety.NORMAL


def safety_sentence(safety: Safety, robot_mode: int) -> str:
    """Return what the operator should know and do."""
    if safety is Safety.PROTECTIVE_STOP:
        return "The robot made a protective stop: remove the cause, then confirm to unlock it and go on."
    if robot_mode != RUNNING:
        return (
            "The robot is stopped or without power: release the emergency stop, switch the robot on and release its"
            " brakes at the pendant, then confirm."
        )
    return "The emergency stop is pressed, or the safety system has failed: release it at the pendant, then confirm."


def _posture(state: State) -> Posture:
    return Posture(state.joints, state.joint_velocities, state.base_from_tcp)


def _measured_period_s(receiver: Any) -> float:
    """Return the controller's cycle, 2 or 8 ms, from how its time stamps step.

    Without data it waits, for the driver to end this process: a cycle that is guessed would be a wrong servo rate.
    """
    stamps = [receiver.getTimestamp()]
    while len(stamps) < RECORDS_FOR_PERIOD:
        if (stamp := receiver.getTimestamp()) != stamps[-1]:
            stamps.append(stamp)
        time.sleep(POLL_S)
    step = statistics.median(np.diff(stamps))
    return min(PERIODS_S, key=lambda period: abs(period - step))


def schedule(*, realtime: bool) -> bool:
    """Put the calling thread, and those that it will start, under SCHED_FIFO or back; return whether it is allowed."""
    policy, priority = (os.SCHED_FIFO, REALTIME_PRIORITY) if realtime else (os.SCHED_OTHER, 0)
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError:
        return False
    return True


@contextmanager
def precedence() -> Iterator[bool]:
    """Let threads that start meanwhile come before all ordinary ones, for good; tell whether that is allowed.

    It is for the library's own threads, which poll every 100 us: as timers are exact under SCHED_FIFO, two of them
    would take half a core there.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST_NICENESS)
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def _connect(config: UrConfig) -> tuple[Any, Any, Any]:
    """Return the library's receive, control and output interfaces; control without upload, so also in a stop."""
    import rtde_control
    import rtde_io
    import rtde_receive

    receiver = rtde_receive.RTDEReceiveInterface(config.host, -1.0, VARIABLES)
    flags = rtde_control.RTDEControlInterface
    control = rtde_control.RTDEControlInterface(
        config.host, flags=int(flags.FLAG_NO_WAIT) | int(flags.FLAG_DISABLE_REMOTE_CONTROL_CHECK)
    )
    outputs = rtde_io.RTDEIOInterface(config.host) if config.digital_outputs else None
    return receiver, control, outputs


def main() -> None:
    """Connect to the robot and obey the driver; arguments are the descriptors of mailboxes and line, and the config."""
    schedule(realtime=False)  # a process that has it hands it on to those it starts
    states_fd, commands_fd, line_fd = (int(value) for value in sys.argv[1:4])
    config = TypeAdapter(UrConfig).validate_python(json.loads(sys.argv[4]))
    line = Line(socket.socket(fileno=line_fd))
    try:
        with precedence() if config.realtime else nullcontext(True) as preferred:
            if not preferred:
                schedule(realtime=True)
            receiver, control, outputs = _connect(config)
    except Exception as problem:
        # The library raises whatever its own libraries raise; all but one of them mean the same here.
        if IN_USE in str(problem):
            sentence = f"The robot at {config.host} is driven by another session or program: end that one first."
        else:
            sentence = (
                f"The robot at {config.host} cannot be reached ({problem}); check its address, power and network."
            )
        line.send(failed=sentence)
        os._exit(1)
    realtime = config.realtime and schedule(realtime=True)
    publisher = Publisher(receiver, Mailbox(STATE_LAYOUT, states_fd), config.latency_s)
    publisher.start()
    line.send(linked=publisher.period_s, realtime=realtime)
    Commander(config, control, outputs, publisher, Mailbox(COMMAND_LAYOUT, commands_fd), line, realtime).run()
    os._exit(0)  # the library's destructors take half a second each and may hang


if __name__ == "__main__":
    main()
