import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ["SDL_VIDEODRIVER"] = "dummy"

import numpy as np
import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_robot import canvas
from drift_robot.canvas import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    RED,
    SAND,
    SLATE,
    VIOLET,
    WHITE,
    YELLOW,
    Canvas,
    Color,
)
from drift_robot.errors import UserError
from drift_robot.gate import Phase
from drift_robot.overlay import FirstPictures, Mode
from drift_robot.status import Cadence, SessionStatus, TrainerState, TrainerStatus
from drift_robot.window import (
    FLASH_S,
    FLICKER_NS,
    SMALL,
    STALE_PICTURE_S,
    STALE_STATUS_S,
    STILL_MOVING,
    View,
    draw,
    run_window,
)
from hardware.input_devices.keyboard import KeyEvent
from hardware.input_devices.mapping import KEYBOARD, MappingConfig
from hardware.input_devices.ready_maps import READY_MAPS
from hardware.interfaces import Frame, Verb

NOW_NS = 10**12
SIZE = (Canvas.WIDTH, Canvas.HEIGHT)
STRIP = (24, 500, 812, 72)
WAITING = View(None, {}, KEYBOARD)
COLOR = {
    Phase.IDLE: SLATE,
    Phase.LEARNER: BLUE,
    Phase.TRANSITION: ORANGE,
    Phase.EXPERT: ORANGE,
    Phase.HOLD: SLATE,
    Phase.RESETTING: VIOLET,
    Phase.SAVING: SLATE,
    Phase.FAULT: RED,
}


def status(phase: Phase = Phase.LEARNER, **fields: object) -> SessionStatus:
    return replace(SessionStatus(NOW_NS, "adapt", phase, control=Cadence(10, 10), arm=Cadence(100, 100)), **fields)  # type: ignore[arg-type]


def painted(
    status: SessionStatus | None,
    pictures: dict[str, Frame] | None = None,
    now_ns: int = NOW_NS,
    mapping: MappingConfig = KEYBOARD,
    **view: object,
) -> "pygame.Surface":
    surface = pygame.Surface(SIZE)
    draw(surface, View(status, pictures or {}, mapping, **view), now_ns)  # type: ignore[arg-type]
    return surface


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every text that is drawn, with its size in pixels."""
    texts: list[tuple[str, int]] = []
    rendered = canvas._rendered

    def note(text: str, size: int, bold: bool, color: Color) -> "pygame.Surface":
        texts.append((text, size))
        return rendered(text, size, bold, color)

    monkeypatch.setattr(canvas, "_rendered", note)
    return texts


def words(said: list[tuple[str, int]]) -> str:
    return " | ".join(text for text, _ in said)


def color_at(surface: "pygame.Surface", x: int, y: int) -> Color:
    red, green, blue, _ = surface.get_at((x, y))
    return red, green, blue


def colors(surface: "pygame.Surface", x: int, y: int, width: int, height: int) -> set[Color]:
    area = pygame.surfarray.array3d(surface.subsurface((x, y, width, height))).reshape(-1, 3)
    return {(int(r), int(g), int(b)) for r, g, b in np.unique(area, axis=0)}


@pytest.mark.parametrize("phase", Phase)
def test_the_banners_colour_says_who_drives(phase: Phase) -> None:
    assert color_at(painted(status(phase)), 640, 5) == COLOR[phase]


def test_a_silent_session_is_never_shown_as_if_all_were_well() -> None:
    late_ns = NOW_NS + round((STALE_STATUS_S + 0.1) * 1e9)
    assert color_at(painted(status(Phase.HOLD), now_ns=late_ns), 640, 5) == RED
    assert color_at(painted(status(Phase.HOLD), now_ns=NOW_NS + 10**8), 640, 5) == SLATE


def test_a_new_version_flashes_and_then_calms_down() -> None:
    fresh = status(swapped_ns=NOW_NS - round((FLASH_S - 0.1) * 1e9))
    old = status(swapped_ns=NOW_NS - round((FLASH_S + 0.1) * 1e9))
    assert color_at(painted(fresh), 1060, 205) == GREEN
    assert color_at(painted(old), 1060, 205) == WHITE


def test_each_camera_is_shown_in_its_own_place() -> None:
    frames = {
        name: Frame(NOW_NS, np.full((48, 64, 3), color, dtype=np.uint8))
        for name, color in {"front": (10, 200, 30), "wrist": (200, 10, 30)}.items()
    }
    surface = painted(status(), frames)
    assert color_at(surface, 300, 400) == (10, 200, 30)
    assert color_at(surface, 720, 300) == (200, 10, 30)


@pytest.mark.parametrize(("age_s", "label"), [(STALE_PICTURE_S - 0.1, INK), (STALE_PICTURE_S + 0.1, RED)])
def test_an_old_picture_is_marked(age_s: float, label: Color) -> None:
    frame = Frame(NOW_NS - round(age_s * 1e9), np.zeros((48, 64, 3), dtype=np.uint8))
    surface = painted(status(), {"front": frame, "wrist": frame})
    assert color_at(surface, 34, 165) == label


def test_a_refusal_is_shown_in_its_own_strip_and_an_alarm_beside_it(said: list[tuple[str, int]]) -> None:
    assert colors(painted(status()), *STRIP) == {PAPER}
    assert SAND in colors(painted(status(refusal="No.")), *STRIP)
    said.clear()
    assert RED in colors(painted(status(refusal="No.", alarms=("Hot.",), notice="Hot.")), *STRIP)
    assert "Hot. | Not done: No." in words(said), "a standing alarm hides no refusal"


@pytest.mark.parametrize("field", ["refusal", "notice", "limit", "alarms"])
def test_a_long_sentence_is_shown_to_its_end(said: list[tuple[str, int]], field: str) -> None:
    sentence = (
        "The robot at 192.168.1.10 has made a protective stop, as it was hit by somebody or something: " * 2 + "end."
    )
    painted(status(Phase.FAULT, **{field: (sentence,) if field == "alarms" else sentence}))
    assert "end." in words(said)


def test_a_fault_stays_as_an_alarm_with_its_reason_and_says_what_goes_on(said: list[tuple[str, int]]) -> None:
    painted(status(Phase.FAULT, alarms=("Force.",)))
    assert "Force." in words(said)
    assert "until its cause is gone" in words(said)
    painted(status(Phase.FAULT, alarms=("Force.",), offered=(Verb.RESUME, Verb.FAIL)))
    assert "When the cell is safe, go on or end the episode." in words(said)
    painted(status(Phase.FAULT, alarms=("Force.",), offered=(Verb.RESUME, Verb.RESET)))
    assert "When the cell is safe, go on or reset." in words(said)


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.HOLD, Phase.SAVING, Phase.FAULT])
def test_it_never_says_that_an_arm_holds_which_moves(said: list[tuple[str, int]], phase: Phase) -> None:
    painted(status(phase, moving=True))
    assert STILL_MOVING in words(said)
    assert not [text for text, _ in said if "holds" in text.lower() or text == "STOPPED"]


@pytest.mark.parametrize("phase", Phase)
def test_while_the_arm_process_is_silent_nothing_is_claimed_of_the_arm(
    said: list[tuple[str, int]], phase: Phase
) -> None:
    surface = painted(status(phase, heard_ns=NOW_NS - round((STALE_STATUS_S + 0.1) * 1e9)))
    assert color_at(surface, 640, 5) == RED
    assert "the arm may be moving" in words(said)


def test_a_loop_that_falls_behind_turns_red() -> None:
    row = (1000, 503, 240, 30)
    assert RED not in colors(painted(status()), *row)
    assert RED in colors(painted(status(control=Cadence(10, 7))), *row)


@pytest.mark.parametrize("phase", [Phase.LEARNER, Phase.HOLD])
def test_a_raised_alarm_is_a_light_beside_who_drives(phase: Phase) -> None:
    light = (664, 24, 164, 56)
    assert YELLOW not in colors(painted(status(phase, alarm=0.8)), *light)
    assert YELLOW in colors(painted(status(phase, alarm=1.8, alarmed=True)), *light)
    late_ns = NOW_NS + round((STALE_STATUS_S + 0.1) * 1e9)
    assert YELLOW not in colors(painted(status(phase, alarm=1.8, alarmed=True), now_ns=late_ns), *light)


def test_the_level_of_the_last_window_is_told_if_there_is_one(said: list[tuple[str, int]]) -> None:
    painted(status())
    assert "alarm" not in words(said)
    painted(status(alarm=0.8))
    assert "alarm 80%" in words(said)


def test_the_legend_shows_only_what_is_offered_now() -> None:
    legend = (0, 584, 1280, 36)
    assert INK not in colors(painted(status()), 20, 590, 10, 20)
    assert INK in colors(painted(status(offered=(Verb.TAKEOVER,))), *legend)


@pytest.mark.parametrize(
    ("device", "shown"),
    [
        ("keyboard", ["T", "H"]),
        ("Xbox pad", ["RB", "X"]),
        ("PlayStation pad", ["R1", "Square"]),
        ("SpaceMouse Compact", ["Right", "Left long"]),
        ("SpaceMouse Pro", ["Shift", "Esc"]),
    ],
)
def test_what_a_button_does_is_said_in_the_words_of_the_device_in_use(
    said: list[tuple[str, int]], device: str, shown: list[str]
) -> None:
    painted(status(offered=(Verb.TAKEOVER, Verb.HOLD)), mapping=READY_MAPS[device])  # type: ignore[index]
    texts = [text for text, _ in said]
    for control, verb in zip(shown, ("take over", "hold"), strict=True):
        assert texts.index(verb) == texts.index(control) + 1


def test_what_cannot_be_pressed_on_this_device_is_not_shown(said: list[tuple[str, int]]) -> None:
    painted(status(offered=(Verb.TAKEOVER,)), mapping=READY_MAPS["script"])
    assert "take over" not in words(said)


def test_a_dead_man_button_is_shown_as_what_is_held_and_let_go(said: list[tuple[str, int]]) -> None:
    mapping = READY_MAPS["Xbox pad"].styled("deadman")
    painted(status(offered=(Verb.TAKEOVER,)), mapping=mapping, style="deadman")
    assert "RB | hold: take over" in words(said)
    assert " | take over" not in words(said)
    painted(status(Phase.EXPERT, offered=(Verb.HANDBACK,)), mapping=mapping, style="deadman")
    assert "RB | let go: hand back" in words(said)


def test_while_the_dead_man_button_is_held_no_chord_is_offered_that_taps_it(said: list[tuple[str, int]]) -> None:
    mapping = READY_MAPS["SpaceMouse Compact"].styled("deadman")
    offered = (Verb.SUCCEED, Verb.RECOVERED, Verb.HOLD)
    painted(status(Phase.EXPERT, offered=offered), mapping=mapping, style="deadman")
    assert "recovered" in words(said)
    assert "success" not in [text for text, _ in said]
    painted(status(Phase.LEARNER, offered=(Verb.SUCCEED,)), mapping=mapping, style="deadman")
    assert "Left + Right | success" in words(said)


def test_motion_keys_are_shown_only_while_the_expert_drives(said: list[tuple[str, int]]) -> None:
    painted(status(Phase.LEARNER))
    assert "forward" not in words(said)
    painted(status(Phase.EXPERT))
    assert "W S | forward" in words(said)


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        (TrainerStatus(TrainerState.TRAINING, next_version_s=12.3), "next version in about 12 s"),
        (TrainerStatus(TrainerState.IDLE, labels_wanted=38), "38 more labels to the next"),
        (TrainerStatus(TrainerState.IDLE, episodes_wanted=2), "2 more episodes to the next"),
        (TrainerStatus(TrainerState.DEAD), "the policy acts on"),
    ],
)
def test_the_trainer_says_when_its_next_version_comes(
    said: list[tuple[str, int]], trainer: TrainerStatus, expected: str
) -> None:
    painted(status(trainer=trainer))
    assert expected in words(said)


def test_success_is_shown_with_its_interval(said: list[tuple[str, int]]) -> None:
    painted(status(recent=(True,) * 8 + (False,) * 4))
    assert "67% | success of last 12 | 39% to 86% (95%)" in words(said)


def camera(value: int) -> dict[str, Frame]:
    return {"front": Frame(NOW_NS, np.full((48, 64, 3), value, dtype=np.uint8))}


def overlaid(mode: Mode, phase: Phase = Phase.IDLE, now_ns: int = NOW_NS) -> int:
    """Return how bright a live picture of 100 is with an old one of 200 laid over it."""
    old = FirstPictures(None, "episode 3", {"front": np.full((48, 64, 3), 200, np.uint8)}, mode=mode)
    return color_at(painted(status(phase), camera(100), now_ns, overlay=old), 430, 400)[0]


def test_an_earlier_episode_is_laid_over_the_live_pictures_only_while_the_scene_is_rebuilt() -> None:
    assert overlaid(Mode.OFF) == 100
    assert overlaid(Mode.BLEND) == pytest.approx(150, abs=2)
    assert overlaid(Mode.BLEND, Phase.RESETTING) == pytest.approx(150, abs=2)
    for phase in set(Phase) - {Phase.IDLE, Phase.RESETTING}:
        assert overlaid(Mode.BLEND, phase) == 100
    assert {overlaid(Mode.FLICKER, now_ns=NOW_NS + k * FLICKER_NS) for k in (0, 1)} == {100, 200}


def test_old_pictures_are_never_taken_for_live_ones(said: list[tuple[str, int]]) -> None:
    overlaid(Mode.BLEND)
    assert "front + episode 3" in words(said)


def test_a_blind_comparison_says_which_start_to_put_up_until_it_begins_and_never_who_acts(
    said: list[tuple[str, int]],
) -> None:
    start = "Pair 12 of 40 begins: put up a start that you can rebuild."
    blind = status(Phase.IDLE, mode="evaluate", blind=True, version=-1, start=start)
    painted(blind)
    assert start in words(said)
    said.clear()
    painted(replace(blind, phase=Phase.LEARNER))
    assert start not in words(said)
    assert "Hidden: blind comparison" in words(said)


def test_once_all_is_done_it_says_when_the_session_ends_and_that_the_last_episode_can_be_dropped(
    said: list[tuple[str, int]],
) -> None:
    done = {"plan_done": "All 4 episodes are done.", "ends_in_s": 17.2, "offered": (Verb.RESUME, Verb.DROP_LAST)}
    painted(status(Phase.IDLE, **done))
    for sentence in ("DONE", "All 4 episodes are done. The session ends in 17 s.", "end session", "drop last"):
        assert sentence in words(said)
    said.clear()
    painted(status(Phase.RESETTING, **done))
    assert "RESETTING" in words(said)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("device", READY_MAPS)
def test_no_text_is_too_small_for_two_metres_and_none_leaves_the_window(
    said: list[tuple[str, int]], phase: Phase, device: str
) -> None:
    full = status(
        phase,
        offered=tuple(Verb),
        recent=(True,) * 20,
        alarms=("Hot.",),
        trainer=TrainerStatus(TrainerState.TRAINING, 0.5, (1.0, 0.5), 3.0),
        swapped_ns=NOW_NS - 10**10,
    )
    surface = painted(full, camera(100), mapping=READY_MAPS[device])  # type: ignore[index]
    assert min(size for _, size in said) >= SMALL
    assert colors(surface, 0, SIZE[1] - 1, SIZE[0], 1) <= {PAPER, WHITE, canvas.LINE}
    assert colors(surface, SIZE[0] - 6, 130, 6, SIZE[1] - 130) == {PAPER}


FLOAT = st.floats(-1e9, 1e9)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=200)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        SessionStatus,
        time_ns=st.just(NOW_NS),
        mode=st.sampled_from(["collect", "adapt", "evaluate"]),
        phase=st.sampled_from(Phase),
        task=WORDS,
        version=st.integers(0, 10**6),
        swapped_ns=st.none() | st.integers(0, NOW_NS),
        episodes_planned=st.none() | st.integers(1, 10**5),
        recent=st.lists(st.booleans(), max_size=25).map(tuple),
        expert_labels=st.integers(0, 10**8),
        trainer=st.builds(
            TrainerStatus,
            state=st.sampled_from(TrainerState),
            progress=st.floats(),
            losses=st.lists(FLOAT | st.sampled_from([float("nan"), float("inf")])).map(tuple),
            next_version_s=st.none() | FLOAT,
        ),
        control=st.builds(Cadence, FLOAT, FLOAT, FLOAT),
        alarms=st.lists(WORDS, max_size=3).map(tuple),
        alarm=st.none() | st.floats(0),
        alarmed=st.booleans(),
        refusal=WORDS,
        notice=WORDS,
        limit=WORDS,
        heard_ns=st.integers(0, NOW_NS),
        moving=st.booleans(),
        start=WORDS,
        plan_done=WORDS,
        ends_in_s=st.none() | st.floats(0, 60),
        offered=st.lists(st.sampled_from(Verb), unique=True).map(tuple),
    ),
    st.integers(0, 7),
    st.sampled_from([(1280, 800), (320, 240), (1920, 1080), (900, 1600)]),
    st.sampled_from([*READY_MAPS.values()]),
)
def test_whatever_happens_in_a_session_can_be_drawn(status, cameras, size, mapping) -> None:  # type: ignore[no-untyped-def]
    frames = {f"camera {i}": Frame(NOW_NS, np.zeros((24, 32 + i, 3), dtype=np.uint8)) for i in range(cameras)}
    draw(pygame.Surface(size), View(status, frames, mapping), NOW_NS)


def test_before_the_first_status_it_says_that_it_waits() -> None:
    assert colors(painted(None), 0, 0, *SIZE) != {PAPER}


def test_the_window_hands_on_keys_in_order_and_reports_at_every_picture_until_it_is_stopped(tmp_path: Path) -> None:
    calls: list[tuple[list[KeyEvent], int]] = []

    def on_keys(events: Sequence[KeyEvent], now_ns: int) -> None:
        calls.append((list(events), now_ns))
        if len(calls) == 2:
            for kind, key in ((pygame.KEYDOWN, pygame.K_t), (pygame.KEYUP, pygame.K_t), (pygame.KEYDOWN, pygame.K_UP)):
                pygame.event.post(pygame.event.Event(kind, key=key))

    view = View(status(), {}, KEYBOARD)
    run_window(lambda: view, on_keys, lambda: len(calls) == 4, SIZE, tmp_path / "window.png")
    assert [events for events, _ in calls] == [
        [],
        [],
        [KeyEvent("t", True), KeyEvent("t", False), KeyEvent("up", True)],
        [],
    ]
    assert [now_ns for _, now_ns in calls] == sorted(now_ns for _, now_ns in calls)
    assert color_at(pygame.image.load(tmp_path / "window.png"), 640, 5) == RED
    assert not pygame.display.get_init()


def test_without_a_display_nobody_is_left_before_an_invisible_window(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    pygame.display.quit()
    with pytest.raises(UserError, match="no display"):
        run_window(lambda: WAITING, lambda events, now_ns: None, lambda: True)


def test_closing_the_window_ends_it() -> None:
    def close(events: Sequence[KeyEvent], now_ns: int) -> None:
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    run_window(lambda: WAITING, close, lambda: False)
