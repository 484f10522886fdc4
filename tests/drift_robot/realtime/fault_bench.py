"""The arm process's rings in the hands of a test: what the operator sees and presses while something fails."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from realtime_bench import PATIENCE_S, eventually

from drift_robot.gate import Notice, Phase
from drift_robot.realtime import records
from drift_robot.realtime.child import Child, Setup
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import DeviceInUse, Listener, Pressed, Said, Speaker
from hardware.interfaces import Teleop, Verb
from hardware.poses import Array
from hardware.rings import RingReader, RingWriter

PRESS_AGAIN_S = 0.5
STILL_S = 1.0
SPEED_M_S = 0.05


class Operator:
    """Reads the arm's ring and what is said, and presses verbs as the supervisor hands them on."""

    def __init__(self, lines: Lines) -> None:
        self.heard: list[str] = []
        self._arm = RingReader(lines.arm)
        self._presses = Speaker(lines.words["supervisor"])
        self._words = [Listener(lines.words[name], True) for name in ("arm", "control", "recorder", "teleop")]

    @property
    def phase(self) -> Phase:
        newest = self._arm.latest()
        return Phase.RESETTING if newest is None else records.phase_of(newest.value)

    @property
    def fault(self) -> str:
        newest = self._arm.latest()
        return "" if newest is None else records.fault_of(newest.value) or ""

    @property
    def commanded(self) -> Array:
        """The position (3,) that the arm is commanded to have."""
        newest = self._arm.latest()
        assert newest is not None
        position: Array = newest.value["commanded"]["position"].copy()
        return position

    def sees(self, phase: Phase) -> bool:
        """Wait for a phase."""
        return eventually(lambda: self.phase is phase)

    def hears(self, words: str) -> bool:
        """Wait for a sentence in which the words are found; one that was heard before is not heard again."""

        def heard() -> bool:
            for listener in self._words:
                for message in listener.hear():
                    if isinstance(message, Said | Notice):
                        self.heard.append(message.sentence)
                    elif isinstance(message, DeviceInUse) and message.problem:
                        self.heard.append(message.problem)
            found = next((k for k, sentence in enumerate(self.heard) if re.search(words, sentence)), None)
            if found is None:
                return False
            del self.heard[found]
            return True

        return eventually(heard)

    def says(self, verb: Verb) -> None:
        """Press a verb once."""
        self._presses.say(Pressed(verb))

    def press(self, verb: Verb, phase: Phase, patience_s: float = PATIENCE_S) -> None:
        """Press until a phase has come, as after a fault, where the first press only makes the robot ready."""
        pressed_s = 0.0

        def done() -> bool:
            nonlocal pressed_s
            newest = self._arm.latest()
            offered = newest is not None and verb in records.offered_of(newest.value)
            if self.phase is not phase and offered and time.monotonic() - pressed_s > PRESS_AGAIN_S:
                self.says(verb)
                pressed_s = time.monotonic()
            return self.phase is phase

        assert eventually(done, patience_s), f"{verb} leads to {self.phase}, not to {phase}: {self.fault}"

    def moves(self, position: Callable[[], Array] | None = None) -> bool:
        """Wait until the arm has moved by a millimetre."""
        position = position or (lambda: self.commanded)
        before = position()
        return eventually(lambda: float(np.abs(position() - before).max()) > 0.001)

    def moves_while(self, does: Callable[[], None], patience_s: float = PATIENCE_S) -> bool:
        """Do something again and again until the arm has moved by a millimetre; tell whether it has."""
        before = self.commanded

        def moved() -> bool:
            does()
            return float(np.abs(self.commanded - before).max()) > 0.001

        return eventually(moved, patience_s)

    def stays(self, phase: Phase, position: Callable[[], Array] | None = None) -> bool:
        """Wait until the arm is at rest; then tell whether it stays there, in a phase."""
        position = position or (lambda: self.commanded)
        last = [position(), np.full(3, np.inf)]

        def at_rest() -> bool:
            time.sleep(0.05)
            last[:] = position(), last[0]
            return bool(np.abs(last[0] - last[1]).max() < 1e-6)

        assert eventually(at_rest)
        time.sleep(STILL_S)
        return self.phase is phase and bool(np.abs(position() - last[0]).max() < 1e-4)


@contextmanager
def stick_held(lines: Lines) -> Iterator[Callable[[float], None]]:
    """Send readings of a stick that is held over; the yielded function says to which side."""
    readings, over, twist = RingWriter(lines.teleop), threading.Event(), np.zeros(6)

    def send() -> None:
        while not over.wait(0.005):
            for fields in records.teleop_fields(Teleop(time.monotonic_ns(), twist.copy())):
                readings.write(fields)

    def push(side: float) -> None:
        twist[1] = side * SPEED_M_S

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield push
    finally:
        over.set()
        thread.join()


@contextmanager
def started(process: Child[Setup], lines: Lines) -> Iterator[Child[Setup]]:
    """Let a process run until the context is left."""
    try:
        yield process
    finally:
        Speaker(lines.stop).say(Said("enough"))
        process.join(20.0)
