"""The window's sounds: which one a change of the session's status calls for, how it is made, and playing it.

Every sound is computed, no file is read. Playing never waits: the sound card is opened in a thread of its own.
"""

import os
import threading
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from data.schema import Owner
from drift_robot.gate import Phase
from drift_robot.status import SessionStatus

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

RATE_HZ = 44_100
FADE_S = 0.006
LOUDNESS = 0.35
CLOSE_S = 2.0


class Sound(Enum):
    """What is heard when something happens: notes of (frequency in Hz, or 0 for a rest; duration in s)."""

    TAKEOVER = ((523.0, 0.07), (784.0, 0.13))
    HANDBACK = ((784.0, 0.07), (523.0, 0.13))
    SWAP = ((659.0, 0.08), (880.0, 0.08), (1319.0, 0.20))
    FAULT = ((196.0, 0.25), (0.0, 0.08), (196.0, 0.25), (0.0, 0.08), (196.0, 0.25))
    REFUSED = ((147.0, 0.12),)
    ALARM = ((1047.0, 0.09), (0.0, 0.05), (1047.0, 0.09), (0.0, 0.05), (1047.0, 0.09))
    CORRECTION_DROPPED = ((392.0, 0.09), (0.0, 0.04), (294.0, 0.09), (0.0, 0.04), (220.0, 0.16))


def sounds_between(before: SessionStatus | None, now: SessionStatus | None) -> tuple[Sound, ...]:
    """Return what a change of status calls for; None is a session of which nothing is heard."""
    if now is None:
        return (Sound.FAULT,) if before is not None else ()
    if before is None:
        return (Sound.FAULT,) if now.phase is Phase.FAULT else ()
    heard = {
        Sound.FAULT: (now.phase is Phase.FAULT and before.phase is not Phase.FAULT)
        or not set(now.alarms) <= set(before.alarms),
        Sound.ALARM: now.alarmed and not before.alarmed,
        Sound.TAKEOVER: _expert_drives(now) and not _expert_drives(before),
        Sound.HANDBACK: now.phase is Phase.LEARNER and before.phase is not Phase.LEARNER,
        Sound.SWAP: now.swapped_ns is not None and now.swapped_ns != before.swapped_ns,
        Sound.CORRECTION_DROPPED: now.dropped_corrections > before.dropped_corrections,
        Sound.REFUSED: bool(now.refusal) and now.refusal != before.refusal,
    }
    return tuple(sound for sound, due in heard.items() if due)


def _expert_drives(status: SessionStatus) -> bool:
    return status.owner in (Owner.TRANSITION, Owner.EXPERT)


def waveform(sound: Sound, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
    """Return a sound as samples (n,). Notes have a few harmonics, so that small loudspeakers carry the low ones."""
    parts = []
    for frequency_hz, seconds in sound.value:
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        tone = sum(np.sin(2 * np.pi * k * frequency_hz * time_s) / k**1.5 for k in range(1, 5))
        fade = np.minimum(np.minimum(time_s, seconds - time_s) / FADE_S, 1.0)
        parts.append(tone * fade)
    samples = np.concatenate(parts)
    return np.asarray(np.iinfo(np.int16).max * LOUDNESS * samples / np.abs(samples).max(), np.int16)


class Loudspeaker:
    """Plays sounds as long as it is on. `problem` tells in a sentence why it cannot, once that is known."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self.problem = ""
        self._sounds: dict[Sound, pygame.mixer.Sound] = {}
        self._opening: threading.Thread | None = None
        if on:
            self._open()

    def switch(self) -> None:
        """Mute it, or let it be heard again."""
        self.on = not self.on
        if self.on and self._opening is None:
            self._open()

    def play(self, sounds: tuple[Sound, ...]) -> None:
        """Play sounds at once, on top of each other."""
        for sound in sounds:
            if self.on and sound in self._sounds:
                self._sounds[sound].play()

    def close(self) -> None:
        """Let go of the sound card, if it can be had at all."""
        if self._opening is not None:
            self._opening.join(CLOSE_S)  # a process that ends while SDL opens a sound card hangs
        pygame.mixer.quit()

    def _open(self) -> None:
        self._opening = threading.Thread(target=self._take_sound_card, daemon=True)
        self._opening.start()

    def _take_sound_card(self) -> None:
        try:
            pygame.mixer.init(RATE_HZ, -16, 1, 512, allowedchanges=0)
            self._sounds = {sound: pygame.mixer.Sound(buffer=waveform(sound).tobytes()) for sound in Sound}
        except pygame.error as error:
            self.problem = f"There are no sounds ({error}): the session goes on without them."
