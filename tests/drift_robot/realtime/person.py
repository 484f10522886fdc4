"""A person at the keyboard, gamepad or SpaceMouse, as a script in the process that owns the device.

Keys and pads are real SDL events, the SpaceMouse is an emulated spacenavd's. Her eyes are the session's rings, her hand
knows where the cube is from the task's scripted expert; she presses nothing but keys, sticks and buttons.
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pygame
from realtime_bench import PATIENCE_S

from drift_robot.gate import Phase
from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from drift_robot.realtime.teleop_process import TeleopSetup, run_teleop
from drift_robot.realtime.window_process import WindowSetup, run_operator_window
from drift_robot.versions import Versions
from hardware.cell.tasks import TASKS
from hardware.emulation.gamepad import VirtualPad, played, toggles
from hardware.emulation.spacenavd import COMPACT, EmulatedSpacenavd
from hardware.input_devices.gestures import CHORD_NS, LONG_NS, parts
from hardware.input_devices.mapping import DIRECTIONS, KEYBOARD, XBOX, Function, MappingConfig, Style
from hardware.input_devices.puck import AXES, COMPACT_MAPPING, FULL_SCALE
from hardware.interfaces import Verb
from hardware.poses import Array
from hardware.rings import RingReader

TASK = TASKS["lift"]
PERIOD_S = 0.02
TAP_S = 0.06
LET_GO_EVERY_S, LET_GO_S = 2.0, 0.4
DRIVING = (Phase.TRANSITION, Phase.EXPERT)


class Hand(Protocol):
    """Fingers on a device's controls, by their names in its mapping."""

    mapping: MappingConfig

    def set(self, control: str, down: bool) -> None:
        """Press a button or key, or let go of it."""
        ...

    def move(self, twist: Array) -> None:
        """Steer along a twist (6,) in base, m/s and rad/s."""
        ...


class OnKeyboard:
    """A key is down or up: it is held for the part of the time that makes the wanted speed."""

    mapping = KEYBOARD

    def __init__(self) -> None:
        """Wait for the window, which takes the keys."""
        while not (pygame.display.get_init() and pygame.display.get_surface()):
            time.sleep(PERIOD_S)
        self._owed = dict.fromkeys(KEYBOARD.motions, 0.0)
        self._held = dict.fromkeys(KEYBOARD.motions, False)

    def set(self, control: str, down: bool) -> None:
        key = pygame.key.key_code(control)
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN if down else pygame.KEYUP, key=key))

    def move(self, twist: Array) -> None:
        view = twist * (-1, -1, 1, -1, -1, 1)  # she faces the arm
        if time.monotonic() % LET_GO_EVERY_S < LET_GO_S:
            view = 0.0 * view  # keys that were down while the window paused move nothing before all are let go
        for key, direction in KEYBOARD.motions.items():
            component, sign = DIRECTIONS[direction]
            speed = KEYBOARD.speed_m_s if component < 3 else KEYBOARD.rotation_speed_rad_s
            self._owed[key] += max(sign * view[component], 0.0) / speed * PERIOD_S - self._held[key] * PERIOD_S
            held = self._owed[key] > (0.0 if self._held[key] else TAP_S)
            if held != self._held[key]:
                self.set(key, held)
                self._held[key] = held
            if not view.any():
                self._owed[key] = 0.0


class OnGamepad:
    """Sticks and buttons of a virtual pad."""

    mapping = XBOX

    def __init__(self) -> None:
        self._pad = VirtualPad()

    def set(self, control: str, down: bool) -> None:
        self._pad.set(control, float(down))

    def move(self, twist: Array) -> None:
        for control, value in played(XBOX, twist).items():
            self._pad.set(control, value)


class OnSpaceMouse:
    """Puck and two buttons of a SpaceMouse Compact, behind the daemon whose socket `$SPNAV_SOCKET` names."""

    mapping = COMPACT_MAPPING

    def __init__(self) -> None:
        self._daemon = EmulatedSpacenavd(Path(os.environ["SPNAV_SOCKET"]), COMPACT)
        self._numbers = {"left": 0, "right": 1}

    def set(self, control: str, down: bool) -> None:
        (self._daemon.press if down else self._daemon.release)(self._numbers[control])

    def move(self, twist: Array) -> None:
        at = {axis: round(FULL_SCALE * value) for axis, value in played(COMPACT_MAPPING, twist, AXES).items()}
        self._daemon.move(x=at["x"], y=at["z"], z=at["y"], rx=at["rx"], ry=at["rz"], rz=at["ry"])


class Person:
    """What she sees and does, with a device in the style of the gate."""

    def __init__(self, life: Life, hand: Hand, style: Style) -> None:
        self._arm, self._cell = RingReader(life.lines.arm), RingReader(life.lines.cell)
        self._readings = RingReader(life.lines.teleop)
        self._hand = hand
        self._mapping = hand.mapping.styled(style)
        self._holds = False

    @property
    def phase(self) -> Phase:
        newest = self._arm.latest()
        return records.phase_of(newest.value) if newest else Phase.RESETTING

    def wait(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, f"{what} did not come true in phase {self.phase}"
            time.sleep(PERIOD_S)

    def press(self, verb: Verb, *then: Phase) -> None:
        """Press a verb once it is offered, and wait for a phase that follows from it."""
        self.wait(lambda: verb in self._offered() and self._readings.latest() is not None)
        if self._mapping.deadman and verb in (Verb.TAKEOVER, Verb.HANDBACK):
            self._hold(verb is Verb.TAKEOVER)
        else:
            self._tap(verb)
        if then:
            self.wait(lambda: self.phase in then)

    def drive(self, seconds: float | None = None) -> None:
        """Steer for some seconds, or until the cube is lifted."""
        began, tapped = time.monotonic(), 0.0
        while not self._lifted() if seconds is None else time.monotonic() - began < seconds:
            assert self.phase in DRIVING, f"she steers in phase {self.phase}"
            assert time.monotonic() - began < PATIENCE_S, "the cube is not lifted in time"
            twist, opening = TASK.expert(records.true_scene(self._cell.latest().value))  # type: ignore[union-attr]
            self._hand.move(twist)
            commanded = float(self._arm.latest().value["commanded_gripper"])  # type: ignore[union-attr]
            if time.monotonic() - tapped > 0.5:
                for _ in range(toggles(commanded, opening)):
                    self._tap("gripper")
                    tapped = time.monotonic()
            time.sleep(PERIOD_S)
        self._hand.move(0.0 * twist)

    def _offered(self) -> tuple[Verb, ...]:
        newest = self._arm.latest()
        return records.offered_of(newest.value) if newest else ()

    def _lifted(self) -> bool:
        newest = self._cell.latest()
        return newest is not None and bool(newest.value["succeeded"])

    def _hold(self, down: bool) -> None:
        """Hold the dead-man button, or let go of it, which hands back."""
        self._hand.set(self._mapping.deadman, down)
        self._holds = down

    def _tap(self, function: Function) -> None:
        """Play the gesture that does something now."""
        control = self._mapping.control_of(function, self._offered())
        button, *second = parts(control)
        if self._holds and self._mapping.deadman in second:
            self._hold(False)
            self.wait(lambda: self.phase not in DRIVING)
        self._hand.set(button, True)
        if second:
            time.sleep(CHORD_NS / 1e9 + TAP_S)
            for _ in range(int(control[-1]) if control[-2] == "x" else 1):
                self._touch(second[0])
                time.sleep(TAP_S)
        else:
            time.sleep(TAP_S if control == button else LONG_NS / 1e9 + TAP_S)
        self._hand.set(button, False)

    def _touch(self, button: str) -> None:
        self._hand.set(button, True)
        time.sleep(TAP_S)
        self._hand.set(button, False)

    def rest(self) -> None:
        """Take the hand off every button."""
        if self._holds:
            self._hold(False)


Job = Callable[[Person], None]


def window_with_a_person(job: Job, setup: WindowSetup, life: Life) -> None:
    """Be the window's process, with a person at its keyboard."""
    _sit_down(job, life, OnKeyboard, setup.style)
    run_operator_window(setup, life)


def window_that_is_closed(setup: WindowSetup, life: Life) -> None:
    """Be the window's process; once it was started again, somebody closes it."""

    def close() -> None:
        OnKeyboard()
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    if not life.first:
        threading.Thread(target=close, daemon=True).start()
    run_operator_window(setup, life)


def teleop_with_a_person(job: Job, setup: TeleopSetup, life: Life) -> None:
    """Be the input device's process, with a person at its gamepad or SpaceMouse."""
    hand = OnGamepad() if setup.device == "gamepad" else OnSpaceMouse()
    _sit_down(job, life, lambda: hand, setup.style)
    run_teleop(setup, life)


def _sit_down(job: Job, life: Life, hand: Callable[[], Hand], style: Style) -> None:
    def work() -> None:
        try:
            job(Person(life, hand(), style))
        except BaseException:
            traceback.print_exc()
            os.kill(os.getppid(), signal.SIGTERM)

    threading.Thread(target=work, daemon=True).start()


def demonstrate(person: Person) -> None:
    """Show the task once."""
    person.press(Verb.RESUME, Phase.EXPERT)
    person.drive()
    person.press(Verb.SUCCEED, Phase.SAVING, Phase.RESETTING)
    person.press(Verb.RESUME)


def whole_job(run: Path, person: Person) -> None:
    """Press through all that can be pressed while adapting; what has to be on disk afterwards is the test's."""
    # A correction that is too short, one that is handed back, a pause, a correction with a recovery up to the success.
    # The policy has learned next to nothing: left alone for longer, it presses the gripper against the table, and the
    # arm is stopped.
    person.press(Verb.RESUME, Phase.LEARNER)
    time.sleep(0.3)
    person.press(Verb.TAKEOVER, *DRIVING)
    person.press(Verb.HANDBACK, Phase.LEARNER)
    time.sleep(0.3)
    person.press(Verb.TAKEOVER, *DRIVING)
    person.drive(1.1)
    person.press(Verb.HANDBACK, Phase.LEARNER)
    time.sleep(0.3)
    person.press(Verb.HOLD, Phase.HOLD)
    person.press(Verb.RESUME, Phase.LEARNER)
    time.sleep(0.3)
    person.press(Verb.TAKEOVER, *DRIVING)
    person.drive(1.0)
    person.press(Verb.RECOVERED)
    person.drive()
    person.press(Verb.SUCCEED, Phase.SAVING, Phase.RESETTING)
    person.rest()
    # One that is thrown away at once, and one that is thrown away afterwards.
    person.press(Verb.RESUME, Phase.LEARNER)
    person.press(Verb.TAKEOVER, *DRIVING)
    person.drive(0.7)
    person.press(Verb.DISCARD, Phase.SAVING, Phase.RESETTING)
    person.rest()
    person.press(Verb.RESUME, Phase.LEARNER)
    time.sleep(0.5)
    person.press(Verb.FAIL, Phase.SAVING, Phase.RESETTING)
    person.press(Verb.DROP_LAST)
    # A version is wanted now, and acts once the scene is put up anew; it is rolled back, and the old one acts.
    person.press(Verb.TRAIN_NOW)
    versions = Versions(run / "versions")
    person.wait(lambda: versions.newest_good() == 1)
    person.press(Verb.RESET, Phase.RESETTING)
    person.press(Verb.RESUME, Phase.LEARNER)
    time.sleep(0.7)
    person.press(Verb.FAIL, Phase.SAVING, Phase.RESETTING)
    person.press(Verb.ROLLBACK)
    person.wait(lambda: versions.newest_good() == 0)
    person.press(Verb.RESUME, Phase.LEARNER)
    time.sleep(0.7)
    person.press(Verb.FAIL, Phase.SAVING, Phase.RESETTING)
    # All that was planned is done; the last one is thrown away and done again. Then she ends the session.
    person.press(Verb.DROP_LAST)
    person.press(Verb.RESUME, Phase.LEARNER)
    time.sleep(0.7)
    person.press(Verb.FAIL, Phase.SAVING, Phase.RESETTING)
    person.press(Verb.RESUME)
