from dataclasses import replace

import numpy as np
import pygame
import pytest

from drift_robot.gate import Phase
from drift_robot.sounds import Loudspeaker, Sound, sounds_between, waveform
from drift_robot.status import SessionStatus

NOTHING: tuple[Sound, ...] = ()


def status(phase: Phase = Phase.LEARNER, **fields: object) -> SessionStatus:
    return replace(SessionStatus(1, "adapt", phase), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "now", "heard"),
    [
        (status(), status(), NOTHING),
        (status(), status(Phase.TRANSITION), (Sound.TAKEOVER,)),
        (status(Phase.TRANSITION), status(Phase.EXPERT), NOTHING),
        (status(Phase.HOLD), status(Phase.EXPERT), (Sound.TAKEOVER,)),
        (status(Phase.EXPERT), status(), (Sound.HANDBACK,)),
        (status(Phase.IDLE), status(), (Sound.HANDBACK,)),
        (status(Phase.EXPERT), status(Phase.HOLD), NOTHING),
        (status(Phase.RESETTING), status(Phase.RESETTING, swapped_ns=5), (Sound.SWAP,)),
        (status(swapped_ns=5), status(swapped_ns=9), (Sound.SWAP,)),
        (status(), status(Phase.FAULT), (Sound.FAULT,)),
        (status(Phase.FAULT), status(Phase.FAULT), NOTHING),
        (status(), status(alarms=("The trainer is dead.",)), (Sound.FAULT,)),
        (status(alarms=("a", "b")), status(alarms=("b",)), NOTHING),
        (status(), status(alarmed=True), (Sound.ALARM,)),
        (status(alarmed=True), status(alarmed=True), NOTHING),
        (status(alarmed=True), status(Phase.EXPERT), (Sound.TAKEOVER,)),
        (status(), status(refusal="No."), (Sound.REFUSED,)),
        (status(refusal="No."), status(refusal="No."), NOTHING),
        (status(Phase.EXPERT), status(dropped_corrections=1), (Sound.HANDBACK, Sound.CORRECTION_DROPPED)),
        (status(), None, (Sound.FAULT,)),
        (None, None, NOTHING),
        (None, status(), NOTHING),
        (None, status(Phase.FAULT), (Sound.FAULT,)),
    ],
)
def test_a_sound_follows_what_has_changed(
    before: SessionStatus | None, now: SessionStatus | None, heard: tuple[Sound, ...]
) -> None:
    assert sounds_between(before, now) == heard


@pytest.mark.parametrize("sound", Sound)
def test_a_sound_is_short_starts_and_ends_softly_and_is_neither_silent_nor_overdriven(sound: Sound) -> None:
    samples = waveform(sound, 44_100).astype(float) / 32_767
    assert 0.05 < len(samples) / 44_100 < 1.0
    assert 0.2 < np.abs(samples).max() < 0.5
    assert np.abs(samples[[0, -1]]).max() < 0.01
    assert np.abs(np.diff(samples)).max() < 0.2


def test_no_two_sounds_are_alike() -> None:
    assert len({waveform(sound).tobytes() for sound in Sound}) == len(Sound)


def opened(on: bool) -> Loudspeaker:
    loudspeaker = Loudspeaker(on)
    if loudspeaker._opening is not None:
        loudspeaker._opening.join(30.0)
    return loudspeaker


def test_sounds_are_played_unless_it_is_muted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    loudspeaker = opened(True)
    assert loudspeaker.problem == ""
    loudspeaker.play((Sound.SWAP,))
    assert pygame.mixer.get_busy()
    pygame.mixer.stop()
    loudspeaker.switch()
    loudspeaker.play((Sound.SWAP,))
    assert not pygame.mixer.get_busy()
    loudspeaker.close()


def test_muted_from_the_start_the_sound_card_is_left_alone() -> None:
    opened(False)
    assert pygame.mixer.get_init() is None


def test_without_a_sound_card_one_sentence_says_so_and_playing_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_AUDIODRIVER", "disk")
    monkeypatch.setenv("SDL_DISKAUDIOFILE", "/nowhere/at/all")
    loudspeaker = opened(True)
    assert "There are no sounds" in loudspeaker.problem
    assert "goes on without them" in loudspeaker.problem
    loudspeaker.play((Sound.FAULT,))
    loudspeaker.close()
