import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from realtime.realtime_bench import LAYOUT, a_step

from data.schema import EpisodeLayout, Outcome
from data.session import Session
from drift_robot.overlay import FirstPictures, Mode, Overlay, neighbour

A, B, C = Path("a"), Path("b"), Path("c")
CAMERA = "observation.images.front"


@pytest.mark.parametrize(
    ("present", "step", "expected"),
    [(None, 0, C), (None, -1, C), (A, 1, B), (B, -1, A), (A, -1, A), (C, 1, C), (Path("gone"), -1, C)],
)
def test_episodes_are_stepped_through_and_the_ends_are_ends(present: Path | None, step: int, expected: Path) -> None:
    assert neighbour([A, B, C], present, step) == expected
    assert neighbour([], present, step) is None


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session.create(tmp_path / "run" / "session", "lift")


def record(session: Session, value: int, layout: EpisodeLayout = LAYOUT) -> Path:
    """Record an episode whose first picture has one value, and whose later ones do not."""
    writer = session.write_episode(layout)
    for number in range(3):
        step = a_step(number)
        images = {name: np.full((*size, 3), value + number, np.uint8) for name, size in layout.cameras.items()}
        times = dict.fromkeys(layout.cameras, 900)
        writer.append(replace(step, images=images, image_capture_ns=times))
    return writer.finish(Outcome.SUCCESS)


def settled(overlay: Overlay, done: Callable[[FirstPictures], bool]) -> FirstPictures:
    deadline_s = time.monotonic() + 30.0
    while not done(overlay.shown()):
        assert time.monotonic() < deadline_s, overlay.shown()
        time.sleep(0.005)
    return overlay.shown()


def test_it_goes_from_off_to_blended_to_flickering_to_off(session: Session) -> None:
    overlay = Overlay(session.folder, None)
    modes = []
    for _ in range(4):
        modes.append(overlay.shown().mode)
        overlay.switch()
    assert modes == [Mode.OFF, Mode.BLEND, Mode.FLICKER, Mode.OFF]


def test_it_shows_the_last_episodes_first_pictures_and_steps_through_earlier_ones(session: Session) -> None:
    record(session, 10)
    overlay = Overlay(session.folder, None)
    record(session, 20)
    overlay.switch()
    shown = settled(overlay, lambda shown: shown.title == "episode 1")
    assert set(shown.images) == {"front"}
    assert (shown.images["front"] == 20).all()
    overlay.step(-1)
    assert (settled(overlay, lambda shown: shown.title == "episode 0").images["front"] == 10).all()
    record(session, 30)
    overlay.step(1)
    overlay.step(1)
    assert (settled(overlay, lambda shown: shown.title == "episode 2").images["front"] == 30).all()


def test_a_start_that_is_to_be_rebuilt_is_laid_over_at_once_until_another_is_wanted(session: Session) -> None:
    for value in (10, 20, 30):
        record(session, value)
    overlay = Overlay(session.folder, None)
    overlay.rebuild(1)
    shown = settled(overlay, lambda shown: shown.title == "episode 1")
    assert shown.mode is Mode.BLEND
    assert (shown.images["front"] == 20).all()
    overlay.rebuild(None)
    assert overlay.shown().mode is Mode.OFF


def test_an_episode_of_another_session_is_taken_first_and_named_with_its_session(
    session: Session, tmp_path: Path
) -> None:
    other = Session.create(tmp_path / "yesterday" / "session", "lift")
    given = record(other, 77)
    record(session, 10)
    overlay = Overlay(session.folder, given)
    overlay.switch()
    shown = settled(overlay, lambda shown: bool(shown.images))
    assert shown.title == "episode 0 of yesterday/session"
    assert (shown.images["front"] == 77).all()
    overlay.step(1)
    assert (settled(overlay, lambda shown: shown.title == "episode 0").images["front"] == 10).all()


def test_what_cannot_be_shown_is_said(session: Session) -> None:
    overlay = Overlay(session.folder, None)
    overlay.switch()
    assert settled(overlay, lambda shown: bool(shown.problem)).problem == "There is no earlier episode yet."
    blind = record(session, 0, EpisodeLayout(8))
    overlay.step(0)
    assert settled(overlay, lambda shown: shown.path == blind).problem == "Episode 0 holds no pictures."
    damaged = record(session, 5)
    for chunk in (damaged / CAMERA).glob("c*"):
        chunk.write_bytes(b"damaged")
    overlay.step(1)
    assert "corrupt" in settled(overlay, lambda shown: "corrupt" in shown.problem).problem
