"""The operator window in its own process, with its sounds and its own keys: the session goes on without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drift_robot.overlay import Overlay
from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import Closed, Keys, Said
from drift_robot.sounds import Loudspeaker, sounds_between
from drift_robot.status import SessionStatus, status_from_json
from drift_robot.window import (
    NEXT_KEY,
    OVERLAY_KEY,
    OVERLAY_PHASES,
    PREVIOUS_KEY,
    SOUND_KEY,
    View,
    is_news,
    run_window,
)
from hardware.clock import MonotonicClock
from hardware.input_devices.keyboard import KeyEvent
from hardware.input_devices.mapping import MappingChange, Style
from hardware.input_devices.ready_maps import READY_MAPS
from hardware.interfaces import Frame
from hardware.rings import RingReader

EVENTS_IN_A_MESSAGE = 16


@dataclass(frozen=True)
class WindowSetup:
    """Whether it is heard at first, what makes the map of the device in use, and which episodes can be laid over.

    Those are the session's, and one that was given.
    """

    sound: bool
    change: MappingChange
    style: Style
    session: Path
    overlay: Path | None


def run_operator_window(setup: WindowSetup, life: Life) -> None:
    """Show the session until it is over or the window is closed."""
    window = Window(setup, life)
    try:
        run_window(window.view, window.take_keys, life.over)
        if not life.over():
            life.say(Closed())
    finally:
        window.close()


class Window:
    """What the window shows, plays and does about keys: the rings of the session, overlay and loudspeaker."""

    def __init__(self, setup: WindowSetup, life: Life) -> None:
        self._setup = setup
        self._life = life
        self._clock = MonotonicClock()
        self._status = RingReader(life.lines.status)
        self._cameras = {name: RingReader(handle) for name, handle in life.lines.cameras.items()}
        self._overlay = Overlay(setup.session, setup.overlay)
        self._loudspeaker = Loudspeaker(setup.sound)
        self._heard: SessionStatus | None = None
        self._ready = self._complained = False
        self._rebuilding: int | None = None

    def view(self) -> View:
        """Return what there is to be seen now; play what there is to be heard."""
        newest = self._status.latest()
        status = status_from_json(newest.value["json"]) if newest else None
        heard = status if status is not None and is_news(status, self._clock.now_ns()) else None
        self._loudspeaker.play(sounds_between(self._heard, heard))
        self._heard = heard
        if self._loudspeaker.problem and not self._complained:
            self._life.say(Said(self._loudspeaker.problem))
            self._complained = True
        if status is not None and status.start_again != self._rebuilding and self._cameras:
            self._rebuilding = status.start_again
            self._overlay.rebuild(self._rebuilding)
        device = status.device if status else "script"
        mapping = self._setup.change.applied_to(READY_MAPS[device]).styled(self._setup.style)
        return View(status, self._pictures(), mapping, self._setup.style, self._overlay.shown(), self._loudspeaker.on)

    def take_keys(self, events: Sequence[KeyEvent], now_ns: int) -> None:
        """Follow the window's own keys, and hand all of them on to a keyboard device."""
        if not self._ready:
            self._life.ready()
            self._ready = True
        for event in events:
            if event.down:
                self._own_key(event.key)
        for start in range(0, max(len(events), 1), EVENTS_IN_A_MESSAGE):
            self._life.say(Keys(now_ns, tuple(events[start : start + EVENTS_IN_A_MESSAGE])))

    def close(self) -> None:
        """Let go of the sound card."""
        self._loudspeaker.close()

    def _own_key(self, key: str) -> None:
        between = self._heard is not None and self._heard.phase in OVERLAY_PHASES
        if key == SOUND_KEY:
            self._loudspeaker.switch()
        elif key == OVERLAY_KEY and between:
            self._overlay.switch()
        elif key in (PREVIOUS_KEY, NEXT_KEY) and between:
            self._overlay.step(1 if key == NEXT_KEY else -1)

    def _pictures(self) -> dict[str, Frame]:
        newest = {name: ring.latest() for name, ring in self._cameras.items()}
        return {
            name: Frame(int(record.value["capture_ns"]), record.value["image"])
            for name, record in newest.items()
            if record is not None
        }
