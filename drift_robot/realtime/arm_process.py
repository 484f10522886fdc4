"""The arm process: gate, controller and limits at the servo rate, between everybody's wishes and arm and gripper."""

from dataclasses import dataclass

from drift_robot.arm_loop import ArmLoop
from drift_robot.gate import Fault, FaultCleared, GateConfig, HelpWanted, PlanDone, ResetDone, Saved
from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import EpisodeSaved, Message, Pressed
from drift_robot.realtime.pacing import Pace
from hardware.arms.controller import ArmController, Start
from hardware.arms.limits import ArmLimits
from hardware.clock import MonotonicClock
from hardware.devices import DevicesConfig, open_arm, open_gripper
from hardware.errors import DeviceError
from hardware.interfaces import Arm, ArmState, Gripper, Verb
from hardware.poses import Pose
from hardware.rings import RingReader, RingWriter

PRIORITY = 30
SESSION = "session"
"""Who complains until control, policy and cameras have come up."""
PAUSE = "pause"
"""Who complains of presses that may be lost."""


@dataclass(frozen=True)
class ArmSetup:
    """Gate and limits; the devices of a real cell, or None and the servo period of the simulated one."""

    gate: GateConfig
    limits: ArmLimits
    devices: DevicesConfig | None
    servo_period_s: float


class CellArm:
    """The simulated cell's arm as an `Arm`, from another process."""

    def __init__(self, lines: Lines, servo_period_s: float) -> None:
        """Take up the lines of a cell that has sent its first state. Raises DeviceError otherwise."""
        self._state = RingReader(lines.cell)
        self._servo = RingWriter(lines.servo)
        self._servo_period_s = servo_period_s
        self._target: Pose | None = None
        self._opening = 1.0
        self.opening = 1.0
        self.read()

    @property
    def servo_period_s(self) -> float:
        """The time between two servo commands."""
        return self._servo_period_s

    @property
    def fault(self) -> str | None:
        """None: a simulated arm does not fail."""
        return None

    def recover(self) -> None:
        """Nothing to make ready."""

    def read(self) -> ArmState:
        """Return the newest state, and note the gripper's opening in it."""
        newest = self._state.latest()
        if newest is None:
            raise DeviceError("The cell has sent no state yet.")
        self.opening = float(newest.value["opening"])
        return records.arm_state(newest.value)

    def servo(self, base_from_tcp: Pose) -> None:
        """Move to a target and hold it."""
        self._send(base_from_tcp)

    def stop(self) -> None:
        """Hold."""
        self._send(None)

    def close(self) -> None:
        """Hold, and let go."""
        self.stop()

    def grip(self, opening: float) -> None:
        """Send the gripper to an opening, with the arm's last command."""
        self._opening = opening
        self._send(self._target)

    def _send(self, target: Pose | None) -> None:
        self._target = target
        self._servo.write(records.servo_fields(target, self._opening))


class CellGripper:
    """The simulated cell's gripper as a `Gripper`: it shares the arm's lines."""

    def __init__(self, arm: CellArm) -> None:
        self._arm = arm

    @property
    def fault(self) -> str | None:
        """None: a simulated gripper does not fail."""
        return None

    def recover(self) -> None:
        """Nothing to make ready."""

    def read(self) -> float:
        """Return the opening in the state that the arm has read last."""
        return self._arm.opening

    def move(self, opening: float) -> None:
        """Start moving to an opening."""
        self._arm.grip(opening)

    def close(self) -> None:
        """Nothing to release."""


def run_arm(setup: ArmSetup, life: Life) -> None:
    """Drive the arm until the session is over, then hold.

    The simulated cell is reset at once. A real arm waits for the operator's word, and says why if it was started again.
    """
    if setup.devices is not None:
        arm = open_arm(setup.devices)
        try:
            _drive(setup, life, arm, open_gripper(setup.devices, arm), setup.devices.start.start())
        finally:
            arm.close()
    elif life.await_first(RingReader(life.lines.cell)):
        cell_arm = CellArm(life.lines, setup.servo_period_s)
        _drive(setup, life, cell_arm, CellGripper(cell_arm), None)


def _drive(setup: ArmSetup, life: Life, arm: Arm, gripper: Gripper, start: Start | None) -> None:
    clock = MonotonicClock()
    loop = ArmLoop(setup.gate, ArmController(setup.limits, arm.servo_period_s), arm, gripper, clock, start)
    published = RingWriter(life.lines.arm)
    chunks, teleop = RingReader(life.lines.chunks), RingReader(life.lines.teleop)
    listeners = life.listen("control", "recorder", "supervisor")
    newest_chunk, newest_reading = chunks.latest(), teleop.latest()
    chunk_number = newest_chunk.sequence if newest_chunk else 0
    reading_number = newest_reading.sequence if newest_reading else 0
    if start is None:
        loop.post(Verb.RESET)
    elif life.first:
        loop.post(Fault("The session has just started: press reset to take the arm to its start.", SESSION))
    else:
        loop.post(Fault("The arm process was started again: the arm holds until you confirm.", SESSION))
        loop.post(FaultCleared(SESSION))
    said = 0
    life.ready()
    life.ask_for_real_time(PRIORITY)
    pace = Pace(arm.servo_period_s, clock)
    try:
        while not life.over():
            pace.wait()
            for listener in listeners:
                for message in listener.hear():
                    _pass_on(message, loop)
            reading_number = _hear_device(teleop, reading_number, loop)
            for record in chunks.since(chunk_number):
                chunk_number = record.sequence
                loop.post(records.chunk_of(record.value))
            loop.tick()
            snapshot = loop.snapshot()
            for effect in snapshot.events:
                said = life.say(effect)
            published.write(records.arm_fields(snapshot, said, loop.offered(), pace.cadence()))
    finally:
        arm.stop()
        gripper.close()


def _hear_device(teleop: RingReader, number: int, loop: ArmLoop) -> int:
    """Hand on the readings after one by its number; return the newest's.

    With some overwritten, a press may be lost among them, so the arm waits for the operator's word.
    """
    readings = teleop.since(number)
    for record in readings:
        loop.post(records.teleop_of(record.value))
    newest = readings[-1].sequence if readings else number
    if newest - number > len(readings):
        loop.post(
            Fault(
                "The arm process paused and may have missed what was pressed, so the arm holds until you confirm; if it"
                " happens again, close other programs on this machine.",
                PAUSE,
            )
        )
        loop.post(FaultCleared(PAUSE))
    return newest


def _pass_on(message: Message, loop: ArmLoop) -> None:
    if isinstance(message, Pressed):
        loop.post(message.verb)
    elif isinstance(message, EpisodeSaved):
        loop.post(Saved(kept=message.index is not None))
    elif isinstance(message, ResetDone | PlanDone | Fault | FaultCleared | HelpWanted):
        loop.post(message)
