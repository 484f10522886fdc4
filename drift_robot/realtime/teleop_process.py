"""The operator's device: keyboard of the window, gamepad, SpaceMouse, or the scripted expert with a scripted operator.

In an emulated cell the scripted operator holds a virtual gamepad: what she does goes through the real one's driver.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from drift_robot.gate import HelpWanted
from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import DeviceInUse, EpisodeSaved, Keys, Listener, Wish
from drift_robot.realtime.operator import ScriptedOperator
from drift_robot.realtime.pacing import Pace
from hardware.arms.controller import Authority
from hardware.cell.task import Scene
from hardware.clock import Clock, MonotonicClock
from hardware.errors import DeviceError
from hardware.input_devices import DeviceName
from hardware.input_devices.keyboard import Keyboard
from hardware.input_devices.mapping import KEYBOARD, XBOX, MappingChange, Style
from hardware.input_devices.scripted import ScriptedExpert
from hardware.interfaces import InputDevice, Verb
from hardware.poses import Array
from hardware.rings import RingReader, RingWriter

PERIOD_S = 0.002
PRIORITY = 25


@dataclass(frozen=True)
class TeleopSetup:
    """The device, what is otherwise than in its ready map, and the gate's style.

    For the scripted one the task and the episodes; `emulator` is the address of an emulated cell, None in the simulated
    one and where a person drives.
    """

    device: DeviceName
    mapping: MappingChange
    style: Style
    task: str
    planned: int
    done: int
    emulator: str | None


def run_teleop(setup: TeleopSetup, life: Life) -> None:
    """Read the device until the session is over."""
    if setup.device == "scripted":
        _run_scripted(setup, life)
    else:
        _run_person(setup, life)


def _open(setup: TeleopSetup, clock: Clock) -> InputDevice:
    """Return a person's device. Raises DeviceError if it is not plugged in."""
    if setup.device == "gamepad":
        from hardware.input_devices.gamepad import Gamepad

        return Gamepad(clock, change=setup.mapping, style=setup.style)
    if setup.device == "spacemouse":
        from hardware.input_devices.spacemouse import SpaceMouse, open_link

        return SpaceMouse(open_link(), clock, change=setup.mapping, style=setup.style)
    return Keyboard(setup.mapping.applied_to(KEYBOARD).styled(setup.style))


def _run_person(setup: TeleopSetup, life: Life) -> None:
    clock = MonotonicClock()
    device = _open(setup, clock)
    arm, readings = RingReader(life.lines.arm), RingWriter(life.lines.teleop)
    (window,) = life.listen("window")
    pace, told = Pace(PERIOD_S, clock), None
    life.ready()
    life.ask_for_real_time(PRIORITY)
    while not life.over():
        pace.wait()
        if isinstance(device, Keyboard):
            feed(device, window)
        using = DeviceInUse(device.kind, device.problem)
        if using != told:
            life.say(using)
            told = using
        newest = arm.latest()
        if newest is not None:
            device.offer(records.offered_of(newest.value))
            if newest.value["authority"] != Authority.EXPERT:
                device.adopt_gripper(float(newest.value["commanded_gripper"]))
        for fields in records.teleop_fields(device.read()):
            readings.write(fields)
    device.close()


def feed(keyboard: Keyboard, window: Listener) -> None:
    """Hand over the keys that the window has told of since the last call.

    All at once: so the keyboard sees how long nobody has listened, however many of the messages are lost by then.
    """
    heard = [message for message in window.hear() if isinstance(message, Keys)]
    if heard:
        keyboard.feed([event for message in heard for event in message.events], heard[-1].time_ns)


def _run_scripted(setup: TeleopSetup, life: Life) -> None:
    from hardware.cell.tasks import TASKS

    clock, task = MonotonicClock(), TASKS[setup.task]
    arm, readings = RingReader(life.lines.arm), RingWriter(life.lines.teleop)
    control, recorder = life.listen("control", "recorder")
    with ExitStack() as stack:
        look = _eyes(setup, life, stack)
        if look is None:
            return

        scene, succeeded = look()

        def drive() -> tuple[Array, float]:
            return task.expert(scene)

        device = _scripted_device(setup, drive, clock)
        operator = ScriptedOperator(setup.planned, task.time_limit_s, prepared=setup.emulator is None)
        pace, done = Pace(PERIOD_S, clock), setup.done
        life.say(DeviceInUse(device.kind))
        life.ready()
        life.ask_for_real_time(PRIORITY)
        while not life.over():
            now_ns = pace.wait()
            scene, succeeded = look()
            for message in (*control.hear(), *recorder.hear()):
                if isinstance(message, Wish):
                    device.press(message.verb)
                elif isinstance(message, HelpWanted):
                    device.press(Verb.TAKEOVER)
                elif isinstance(message, EpisodeSaved):
                    done = message.done
            gate = arm.latest()
            if gate is not None:
                phase, offered = records.phase_of(gate.value), records.offered_of(gate.value)
                device.press(*operator.decide(now_ns, phase, offered, succeeded, done))
            for fields in records.teleop_fields(device.read()):
                readings.write(fields)


def _eyes(setup: TeleopSetup, life: Life, stack: ExitStack) -> Callable[[], tuple[Scene, bool]] | None:
    """Return how the scripted operator sees the true scene and whether the task is done; None if the session ends."""
    if setup.emulator is not None:
        from hardware.emulation.link import EmulatedCellLink

        link = stack.enter_context(EmulatedCellLink(setup.emulator))

        def look_at_emulated() -> tuple[Scene, bool]:
            view = link.view()
            return view.scene, view.succeeded

        return look_at_emulated
    cell = RingReader(life.lines.cell)
    if not life.await_first(cell):
        return None

    def look() -> tuple[Scene, bool]:
        newest = cell.latest()
        if newest is None:
            raise DeviceError("The cell's state is gone.")
        return records.true_scene(newest.value), bool(newest.value["succeeded"])

    return look


class _Scripted(InputDevice, Protocol):
    """A device that a script drives."""

    def press(self, *verbs: Verb) -> None:
        """Press verbs, to be handed out at the next reading."""
        ...


def _scripted_device(setup: TeleopSetup, drive: Callable[[], tuple[Array, float]], clock: Clock) -> _Scripted:
    if setup.emulator is None:
        return ScriptedExpert(drive, clock)
    from hardware.emulation.gamepad import ScriptedPad

    return ScriptedPad(drive, clock, setup.mapping.applied_to(XBOX))
