"""The keys of the operator window as an input device. The window feeds the events; no window here."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardware.input_devices import DeviceKind
from hardware.input_devices.mapping import KEYBOARD, SILENT_NS, Mapper, MappingConfig
from hardware.interfaces import Teleop, Verb


@dataclass(frozen=True)
class KeyEvent:
    """A key, by its pygame name, going down or up."""

    key: str
    down: bool


class Keyboard:
    """An InputDevice driven by a window, which calls `feed` at every picture, with or without events.

    A reading is as old as the last call: if the window hangs with a key held, the reading grows old and the arm stops.
    After such a silence every key counts as let go, for nobody may have heard when it was.
    """

    kind: DeviceKind = "keyboard"

    def __init__(self, mapping: MappingConfig = KEYBOARD) -> None:
        self._mapper = Mapper(mapping)
        self._held: set[str] = set()
        self._fed_ns = 0

    @property
    def problem(self) -> str:
        """Nothing: what can fail is the window."""
        return ""

    def feed(self, events: Sequence[KeyEvent], now_ns: int) -> None:
        """Take the events since the last call, in order."""
        if now_ns - self._fed_ns > SILENT_NS:
            self._held.clear()
            self._mapper.forget()
        for event in events:
            if event.down and event.key not in self._held:
                self._mapper.press(event.key, now_ns)
            elif not event.down:
                self._mapper.release(event.key, now_ns)
            (self._held.add if event.down else self._held.discard)(event.key)
        self._fed_ns = now_ns

    def read(self) -> Teleop:
        """Return the newest reading; verbs are handed out once."""
        return self._mapper.reading(dict.fromkeys(self._held, 1.0), self._fed_ns)

    def adopt_gripper(self, opening: float) -> None:
        """Go on from the opening that the arm is commanded to, so that a takeover drops nothing."""
        self._mapper.gripper = opening

    def offer(self, verbs: tuple[Verb, ...]) -> None:
        """Take note of what would be followed now, for keys that do the first of several."""
        self._mapper.offered = verbs

    def close(self) -> None:
        """Forget the held keys."""
        self._held.clear()
