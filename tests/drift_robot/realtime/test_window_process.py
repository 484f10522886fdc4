import os
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"

import pytest
from realtime_bench import life_of, of_kind

from data.session import Session
from drift_robot.gate import Phase
from drift_robot.overlay import Mode
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import Keys, Listener, Said
from drift_robot.realtime.window_process import Window, WindowSetup
from drift_robot.sounds import Loudspeaker, Sound
from drift_robot.status import SessionStatus, status_to_json
from hardware.input_devices.keyboard import KeyEvent
from hardware.input_devices.mapping import MappingChange
from hardware.interfaces import Verb
from hardware.rings import RingWriter


class Bench:
    """The window's process without its screen; `heard` is what its loudspeaker was given to play."""

    def __init__(self, lines: Lines, session: Session, change: MappingChange | None = None) -> None:
        self.words = Listener(lines.words["window"], True)
        self._status = RingWriter(lines.status)
        self.window = Window(
            WindowSetup(True, change or MappingChange(), "toggle", session.folder, None), life_of("window", lines)
        )

    def tell(self, phase: Phase, **fields: object) -> None:
        now_ns = time.monotonic_ns()
        status = SessionStatus(now_ns, "adapt", phase, heard_ns=now_ns, **fields)  # type: ignore[arg-type]
        self._status.write({"json": status_to_json(status)})

    def press(self, *keys: str) -> None:
        self.window.take_keys([KeyEvent(key, True) for key in keys], time.monotonic_ns())


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Sound]:
    played: list[Sound] = []
    monkeypatch.setattr(Loudspeaker, "play", lambda self, new: played.extend(new))
    return played


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session.create(tmp_path / "session", "lift")


@pytest.fixture
def bench(lines: Lines, session: Session) -> Iterator[Bench]:
    bench = Bench(lines, session)
    yield bench
    bench.window.close()


def test_a_takeover_is_heard_once(bench: Bench, heard: list[Sound]) -> None:
    for phase in (Phase.LEARNER, Phase.TRANSITION, Phase.EXPERT, Phase.EXPERT):
        bench.tell(phase)
        bench.window.view()
        bench.window.view()
    assert heard == [Sound.TAKEOVER]


def test_a_session_that_falls_silent_is_heard(
    bench: Bench, heard: list[Sound], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.tell(Phase.LEARNER)
    bench.window.view()
    late_ns = time.monotonic_ns() + 2 * 10**9
    monkeypatch.setattr(bench.window._clock, "now_ns", lambda: late_ns)
    bench.window.view()
    bench.window.view()
    assert heard == [Sound.FAULT]


def test_the_map_is_that_of_the_device_in_use_with_the_operators_changes(lines: Lines, session: Session) -> None:
    bench = Bench(lines, session, MappingChange(labels={"a": "Grün"}))
    for device, label in (("Xbox pad", "RB"), ("PlayStation pad", "R1")):
        bench.tell(Phase.LEARNER, device=device)
        mapping = bench.window.view().mapping
        assert mapping.label_of(Verb.TAKEOVER) == label
        assert mapping.label_of("gripper") == "Grün"
    bench.window.close()


def test_its_own_keys_mute_it_and_choose_an_overlay_only_between_episodes(bench: Bench) -> None:
    bench.tell(Phase.LEARNER)
    bench.window.view()
    bench.press("f2", "f6")
    assert bench.window.view().overlay.mode is Mode.OFF
    assert not bench.window.view().sound
    bench.tell(Phase.IDLE)
    bench.window.view()
    bench.press("f2", "f6")
    assert bench.window.view().overlay.mode is Mode.BLEND
    assert bench.window.view().sound


def test_a_start_that_is_to_be_rebuilt_is_laid_over_without_being_asked(bench: Bench) -> None:
    bench.tell(Phase.RESETTING, start_again=3)
    assert bench.window.view().overlay.mode is Mode.BLEND
    bench.press("f2", "f2")
    bench.tell(Phase.IDLE, start_again=3)
    assert bench.window.view().overlay.mode is Mode.OFF, "what she has chosen since stays"
    bench.tell(Phase.RESETTING, start_again=5)
    assert bench.window.view().overlay.mode is Mode.BLEND
    bench.tell(Phase.RESETTING)
    assert bench.window.view().overlay.mode is Mode.OFF


def test_keys_go_on_to_a_keyboard_device_in_order_and_at_every_picture(bench: Bench) -> None:
    bench.press("t", "f6")
    bench.press()
    keys = [message.events for message in of_kind(bench.words.hear(), Keys)]  # type: ignore[attr-defined]
    assert keys == [(KeyEvent("t", True), KeyEvent("f6", True)), ()]


def test_that_there_are_no_sounds_is_said_once(bench: Bench) -> None:
    bench.window._loudspeaker.problem = "There are no sounds (no card): the session goes on without them."
    for _ in range(3):
        bench.window.view()
    assert of_kind(bench.words.hear(), Said) == [
        Said("There are no sounds (no card): the session goes on without them.")
    ]
