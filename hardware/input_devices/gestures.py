"""Gestures of buttons, so that a device with two of them can ask for everything: long presses and chords.

A map names them as it names buttons: "left long", "left + right" (hold left, tap right, let go of left) and
"left + right x2" to "x9" for more taps. What a gesture does is the map's business, not this module's.
"""

import re
from collections.abc import Collection

LONG_NS = 700_000_000
"""How long a button is held for a long press."""
CHORD_NS = 100_000_000
"""How long the first button of a chord is down before the second counts: a hand that grabs both at once means neither
chord, so that the second does at once what it does alone."""

_CHORD = re.compile(r"(.+?) \+ (.+?)(?: x[2-9])?")
_LONG = re.compile(r"(.+) long")


def parts(control: str) -> tuple[str, ...]:
    """Return the buttons that a gesture is made of, the one to hold first; a plain control is its own only part."""
    if match := _CHORD.fullmatch(control):
        return match[1], match[2]
    if match := _LONG.fullmatch(control):
        return (match[1],)
    return (control,)


def chord(first: str, second: str, taps: int) -> str:
    """Return the name of a chord."""
    return f"{first} + {second}" if taps == 1 else f"{first} + {second} x{taps}"


class Gestures:
    """Turns buttons that go down and up into the gestures that a map names. Time is an argument.

    A button that begins no gesture counts in the moment in which it goes down. One that begins any counts when it is
    let go, unless a gesture has come of it or another button was pressed meanwhile.
    """

    def __init__(self, mapped: Collection[str]) -> None:
        self._mapped = frozenset(mapped)
        self._beginners = {parts(control)[0] for control in mapped if parts(control) != (control,)}
        self._chords = {parts(control) for control in mapped if len(parts(control)) == 2}
        self._first = ""
        self._since_ns = 0
        self._second = ""
        self._taps = 0
        self._over = False
        self.consumed: set[str] = set()
        """Buttons that are down as a chord's second, which is all that they mean."""

    def down(self, button: str, now_ns: int) -> list[str]:
        """A button goes down: return the controls that this makes count."""
        self.consumed.discard(button)
        if self._first and not self._over and self._is_chord(button, now_ns):
            self._second, self._taps = button, self._taps + 1
            self.consumed.add(button)
            return []
        if self._first:
            self._over = True
        elif button in self._beginners:
            self._first, self._since_ns, self._taps, self._over = button, now_ns, 0, False
            return []
        return [button]

    def up(self, button: str, now_ns: int) -> list[str]:
        """A button goes up: return the controls that this makes count."""
        self.consumed.discard(button)
        if button != self._first:
            return []
        counted = [] if self._over else self.long(now_ns)
        if not self._over:
            counted = [chord(button, self._second, self._taps) if self._taps else button]
        self.forget()
        return [control for control in counted if control in self._mapped]

    def long(self, now_ns: int) -> list[str]:
        """Time has passed: return the long press that has come of it."""
        control = f"{self._first} long"
        if self._over or self._taps or control not in self._mapped or now_ns - self._since_ns < LONG_NS:
            return []
        self._over = True
        return [control]

    def forget(self) -> None:
        """Let go of the gesture that has begun."""
        self._first, self._taps, self._over = "", 0, False

    def _is_chord(self, button: str, now_ns: int) -> bool:
        begun = self._taps > 0 or now_ns - self._since_ns >= CHORD_NS
        return begun and (self._first, button) in self._chords and (not self._taps or button == self._second)
