"""The operator window: who drives, what the cameras see, what was learned, and what every button does now.

`draw` paints one view on any surface; `run_window` is the loop of the window's own process. It decides nothing: what
is seen comes from a callable, key events go to one. No text is smaller than `SMALL`, so that all of it can be read from
two metres (docs/operator.md).
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pygame

from drift_robot.canvas import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    ORANGE,
    PALE,
    PAPER,
    RED,
    SAND,
    SLATE,
    UMBER,
    VIOLET,
    WHITE,
    YELLOW,
    Canvas,
    Color,
)
from drift_robot.errors import UserError
from drift_robot.gate import EXPERT_PHASES, Phase
from drift_robot.overlay import NOTHING, FirstPictures, Mode
from drift_robot.status import RECENT_EPISODES, SessionStatus, TrainerState, TrainerStatus
from hardware.clock import NS_PER_S
from hardware.input_devices.gestures import parts
from hardware.input_devices.keyboard import KeyEvent
from hardware.input_devices.mapping import DIRECTIONS, MappingConfig, Style
from hardware.input_devices.puck import AXES as PUCK
from hardware.interfaces import Frame, Verb

RATE_HZ = 20
STALE_STATUS_S = 1.0
STALE_PICTURE_S = 0.5
FLASH_S = 5.0
FLICKER_NS = NS_PER_S // 2
SMALL = 24.0
TEXT = 26.0

CAMERAS = (24.0, 132.0, 812.0, 360.0)
"""Where the pictures are: x, y, width, height."""
STRIP = (24.0, 572.0, 812.0)
"""Where the worst that has to be said is: x, bottom, width. It grows upwards over the pictures."""
STRIP_LINES = 5
CARDS = (852.0, 404.0)
"""Where the cards are: x, width."""
LEGEND_Y = 584.0
CHIP_SIZES = (32.0, 30.0, 28.0, 26.0)
"""The sizes tried for the legend's text before the smallest."""

OVERLAY_KEY, PREVIOUS_KEY, NEXT_KEY, SOUND_KEY, FULL_SCREEN_KEY = "f2", "f3", "f4", "f6", "f11"
OVERLAY_PHASES = (Phase.IDLE, Phase.RESETTING)
"""When the scene is rebuilt: never while anybody drives."""

BANNERS: dict[Phase, tuple[Color, str, str]] = {
    Phase.IDLE: (SLATE, "READY", "The arm holds. Start when the scene is right."),
    Phase.LEARNER: (BLUE, "POLICY DRIVES", "Take over as soon as it goes wrong."),
    Phase.TRANSITION: (ORANGE, "EXPERT DRIVES", "Just taken over: not learned from yet."),
    Phase.EXPERT: (ORANGE, "EXPERT DRIVES", "What the expert does now is learned from."),
    Phase.HOLD: (SLATE, "ARM HOLDS", "The episode is paused."),
    Phase.RESETTING: (VIOLET, "RESETTING", "The arm may move by itself: keep clear."),
    Phase.SAVING: (SLATE, "SAVING", "The arm holds while the episode goes to disk."),
    Phase.FAULT: (RED, "STOPPED", "It stays so until its cause is gone."),
}
UNSURE = {
    Phase.LEARNER: "The policy is unsure of what it does: be ready to take over.",
    Phase.HOLD: "The policy was unsure of what it did: take over, or go on.",
}
STILL_MOVING = "The arm is still moving: keep clear."
HOLDING_WORDS = {Phase.HOLD: "STOPPING", Phase.FAULT: "STOPPING"}
"""What is said in place of a word that claims rest, as long as the arm is measured to move."""
MODES = {"collect": "Collecting", "adapt": "Adapting", "evaluate": "Evaluating"}
TRAINER = {
    TrainerState.ABSENT: (GREY, "not in this session"),
    TrainerState.IDLE: (GREY, "waiting"),
    TrainerState.TRAINING: (BLUE, "training"),
    TrainerState.CHECKING: (VIOLET, "checking"),
    TrainerState.DEAD: (RED, "stopped"),
    TrainerState.AWAY: (RED, "out of reach"),
}
VERBS = {
    Verb.TAKEOVER: "take over",
    Verb.HANDBACK: "hand back",
    Verb.HOLD: "hold",
    Verb.RESUME: "go on",
    Verb.RECOVERED: "recovered",
    Verb.SUCCEED: "success",
    Verb.FAIL: "failure",
    Verb.DISCARD: "discard",
    Verb.RESET: "reset",
    Verb.DROP_LAST: "drop last",
    Verb.TRAIN_NOW: "train now",
    Verb.ROLLBACK: "roll back",
}
MAIN_VERBS = (Verb.TAKEOVER, Verb.HANDBACK, Verb.RESUME)
MOTIONS = ("forward", "sideways", "up, down", "roll", "tilt", "turn")
"""What the operator calls motion along and about the axes of her view."""


Chip: TypeAlias = tuple[str, str, bool]
"""What is on a key or button, what it does now, and whether that is the main thing to do."""


@dataclass(frozen=True)
class View:
    """What the window shows: the session's status, None before the first; pictures; the map of the device in use.

    `overlay` is laid over the pictures while the scene is rebuilt; `sound` tells whether the window is heard.
    """

    status: SessionStatus | None
    pictures: Mapping[str, Frame]
    mapping: MappingConfig
    style: Style = "toggle"
    overlay: FirstPictures = NOTHING
    sound: bool = True


def is_news(status: SessionStatus, now_ns: int) -> bool:
    """Tell whether the session and its arm process have been heard of just now, so that the status may be believed."""
    heard_ns = min(status.time_ns, status.heard_ns or status.time_ns)
    return now_ns - heard_ns <= STALE_STATUS_S * NS_PER_S


def run_window(
    view: Callable[[], View],
    on_keys: Callable[[Sequence[KeyEvent], int], None],
    stop: Callable[[], bool],
    size: tuple[int, int] | None = None,
    screenshot: Path | None = None,
) -> None:
    """Show the window until it is closed or `stop` says so; save its last picture to `screenshot`.

    Without a `size` in pixels it takes most of the screen, to be read from afar.
    `on_keys` is called at every picture, with the key events since the last one and the time, so that a keyboard
    device notices when this process hangs. Raises UserError where there is no screen to show it on.
    """
    pygame.display.init()
    try:
        if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
            raise UserError("There is no display for the operator window: log in on the desktop, or go without it.")
        width, height = pygame.display.get_desktop_sizes()[0]
        surface = pygame.display.set_mode(size or (round(0.95 * width), round(0.9 * height)), pygame.RESIZABLE)
        pygame.display.set_caption("drift-robot")
        pace = pygame.time.Clock()
        closed = False
        while not (closed or stop()):
            events = pygame.event.get()
            keys = [
                KeyEvent(pygame.key.name(event.key), event.type == pygame.KEYDOWN)
                for event in events
                if event.type in (pygame.KEYDOWN, pygame.KEYUP)
            ]
            on_keys(keys, time.monotonic_ns())
            if KeyEvent(FULL_SCREEN_KEY, True) in keys:
                pygame.display.toggle_fullscreen()
            closed = any(event.type == pygame.QUIT for event in events)
            surface = pygame.display.get_surface() or surface
            draw(surface, view(), time.monotonic_ns())
            pygame.display.flip()
            pace.tick(RATE_HZ)
        if screenshot is not None:
            pygame.image.save(surface, screenshot)
    finally:
        pygame.display.quit()


def draw(surface: pygame.Surface, view: View, now_ns: int) -> None:
    """Paint a view as of `now_ns`."""
    surface.fill(PAPER)
    canvas = Canvas(surface)
    status = view.status
    if status is None:
        canvas.text(640, 320, "Waiting for the session to start", 44, GREY, align="centre")
        return
    _banner(canvas, status, now_ns)
    overlay = view.overlay if status.phase in OVERLAY_PHASES else NOTHING
    _cameras(canvas, view.pictures, overlay, now_ns)
    _policy_card(canvas, status, now_ns)
    _success_card(canvas, status)
    _trainer_card(canvas, status.trainer)
    _cadence_card(canvas, status)
    _strip(canvas, status, overlay)
    _legend(canvas, view, status)


def _banner(canvas: Canvas, status: SessionStatus, now_ns: int) -> None:
    color, word, line = BANNERS[status.phase]
    if status.alarmed:
        line = UNSURE.get(status.phase, line)
    if status.mode == "collect" and status.phase is Phase.EXPERT:
        line = "Show the task, then say whether it succeeded."
    if status.phase is Phase.FAULT and Verb.RESUME in status.offered:
        other = "reset" if Verb.RESET in status.offered else "end the episode"
        line = f"When the cell is safe, go on or {other}."
    if status.phase is Phase.IDLE and status.plan_done:
        word, line = "DONE", "You can still drop the last episode."
    elif status.phase is Phase.IDLE and status.start:
        line = status.start
    if status.moving and status.owner is None and status.phase is not Phase.RESETTING:
        word, line = HOLDING_WORDS.get(status.phase, word), STILL_MOVING
    news = is_news(status, now_ns)
    if not news:
        heard_ns = min(status.time_ns, status.heard_ns or status.time_ns)
        age_s = (now_ns - heard_ns) / NS_PER_S
        color, word, line = RED, "NO NEWS", f"Nothing heard for {age_s:.0f} s: the arm may be moving."
    canvas.surface.fill(color, (0, 0, canvas.surface.get_width(), canvas.rect(0, 0, 1, 120).bottom))
    canvas.text(24, 2, word, 70, WHITE, bold=True)
    canvas.text(28, 82, line, TEXT, WHITE, width=800)
    if status.alarmed and news:
        canvas.box(664, 24, 164, 56, YELLOW, radius=28)
        canvas.text(746, 34, "UNSURE", 30, INK, bold=True, align="centre")
    of = "" if status.episodes_planned is None else f" of {status.episodes_planned}"
    running = status.episode > status.episodes_done
    count = f"Episode {status.episode}{of}" if running else f"{status.episodes_done}{of} done"
    time_words = f"{status.episode_s:.0f} s · " if running else ""
    labels = f"{status.expert_labels:,}".replace(",", " ")
    right = canvas.WIDTH - 24
    canvas.text(right, 6, f"{MODES[status.mode]} · {status.task}", SMALL, WHITE, align="right", width=420)
    canvas.text(right, 34, count, 40, WHITE, bold=True, align="right")
    canvas.text(right, 84, f"{time_words}{labels} expert labels", TEXT, WHITE, align="right")


def _cameras(canvas: Canvas, pictures: Mapping[str, Frame], overlay: FirstPictures, now_ns: int) -> None:
    if not pictures:
        canvas.box(*CAMERAS, PALE)
        canvas.text(CAMERAS[0] + CAMERAS[2] / 2, CAMERAS[1] + 160, "No camera pictures", 28, GREY, align="centre")
    for cell, (name, frame) in zip(_camera_cells(len(pictures)), pictures.items(), strict=True):
        x, y = canvas.picture(*cell, frame.image)
        age_s = (now_ns - frame.capture_ns) / NS_PER_S
        stale = age_s > STALE_PICTURE_S
        words, color = (f"{name}: {age_s:.1f} s old", RED) if stale else (name, INK)
        old = overlay.images.get(name) if overlay.mode is not Mode.OFF else None
        if old is not None and (overlay.mode is Mode.BLEND or now_ns // FLICKER_NS % 2):
            canvas.picture(*cell, old, opacity=0.5 if overlay.mode is Mode.BLEND else 1.0)
            words, color = f"{words} + {overlay.title}" if overlay.mode is Mode.BLEND else overlay.title, VIOLET
        canvas.box(x + 6, y + 6, canvas.text_width(words, SMALL, True) + 20, 36, color, radius=6)
        canvas.text(x + 16, y + 8, words, SMALL, WHITE, bold=True)


def _camera_cells(count: int) -> list[tuple[float, float, float, float]]:
    """Return x, y, width, height of each picture: one large, two or three with the first one large, or a grid."""
    x, y, width, height = CAMERAS
    if count <= 1:
        return [CAMERAS] * count
    if count <= 3:
        large, small = 480.0, 320.0
        tall = 240.0 if count == 2 else 176.0
        return [(x, y, large, height), *((x + width - small, y + i * 184, small, tall) for i in range(count - 1))]
    columns = 2 if count == 4 else 3
    rows = -(-count // columns)
    w, h = (width - 12 * (columns - 1)) / columns, (height - 12 * (rows - 1)) / rows
    return [(x + i % columns * (w + 12), y + i // columns * (h + 12), w, h) for i in range(count)]


def _card(canvas: Canvas, y: float, height: float, fill: Color = WHITE) -> tuple[float, float]:
    """Draw an empty card; return where text in it begins and ends."""
    x, width = CARDS
    canvas.box(x, y, width, height, fill, None if fill != WHITE else LINE)
    return x + 16, x + width - 16


def _policy_card(canvas: Canvas, status: SessionStatus, now_ns: int) -> None:
    since_s = None if status.swapped_ns is None else (now_ns - status.swapped_ns) / NS_PER_S
    new = since_s is not None and since_s < FLASH_S
    ink, pale = (WHITE, WHITE) if new else (INK, GREY)
    left, right = _card(canvas, 132, 84, GREEN if new else WHITE)
    if status.mode == "collect":
        canvas.text(left, 158, "No policy: you demonstrate", TEXT, GREY)
        return
    if status.blind:
        canvas.text(left, 158, "Hidden: blind comparison", TEXT, GREY)
        return
    canvas.text(left, 142, f"v{status.version}", 52, ink, bold=True)
    swapped = "as bootstrapped" if since_s is None else f"swapped {_ago(since_s)}"
    canvas.text(right, 142, "NEW POLICY" if new else swapped, SMALL, pale, bold=new, align="right")
    rank = swapped if new else f"rank {status.rank}"
    if status.alarm is not None and not new:
        rank += f" · alarm {min(status.alarm, 9.99):.0%}"
    canvas.text(right, 176, rank, SMALL, pale, align="right")


def _success_card(canvas: Canvas, status: SessionStatus) -> None:
    left, right = _card(canvas, 224, 116)
    rate = status.success
    known = rate.episodes > 0
    canvas.text(left, 230, f"{rate.rate:.0%}" if known else "–", 48, INK if known else GREY, bold=True)
    interval = f"{rate.low:.0%} to {rate.high:.0%} (95%)" if known else ""
    title = f"success of last {rate.episodes}" if known else "no episode yet"
    canvas.text(right, 232, title, SMALL, GREY, align="right")
    canvas.text(right, 264, interval, SMALL, INK, align="right")
    for i, success in enumerate(status.recent[-RECENT_EPISODES:]):
        canvas.box(left + i * 18.7, 304, 15, 24, GREEN if success else WHITE, None if success else RED, radius=2)


def _trainer_card(canvas: Canvas, trainer: TrainerStatus) -> None:
    color, words = TRAINER[trainer.state]
    left, right = _card(canvas, 348, 146)
    absent = trainer.state is TrainerState.ABSENT
    canvas.text(left, 354, "Trainer", SMALL, GREY)
    canvas.text(right, 354, words, SMALL, color, bold=not absent, align="right")
    if absent:
        return
    canvas.bar(left, 397, 280, 14, trainer.progress, color)
    if trainer.state is TrainerState.TRAINING:
        share = f"{100 * min(max(trainer.progress, 0.0), 1.0):.0f}%"
        canvas.text(right, 388, share, SMALL, color, bold=True, align="right")
    canvas.curve(left, 424, 170, 30, trainer.losses, BLUE)
    if trainer.losses:
        canvas.text(right, 422, f"loss {trainer.losses[-1]:.2g}", SMALL, INK, align="right", width=185)
    canvas.text(left, 458, _next_version(trainer), SMALL, INK, width=right - left)


def _next_version(trainer: TrainerStatus) -> str:
    """Say when the next version comes, or what it waits for."""
    if trainer.state in (TrainerState.DEAD, TrainerState.AWAY):
        return "the policy acts on"
    if trainer.next_version_s is not None:
        return f"next version in about {_duration(trainer.next_version_s)}"
    if trainer.labels_wanted:
        return f"{trainer.labels_wanted} more labels to the next"
    if trainer.episodes_wanted:
        return f"{trainer.episodes_wanted} more episodes to the next"
    return ""


def _cadence_card(canvas: Canvas, status: SessionStatus) -> None:
    left, right = _card(canvas, 502, 70)
    for y, name, cadence in ((503, "control", status.control), (536, "arm", status.arm)):
        color = INK if cadence.is_kept else RED
        canvas.text(left, y, name, SMALL, GREY)
        rate = f"{cadence.measured_hz:.3g} of {cadence.target_hz:.3g} Hz"
        canvas.text(right, y, rate, SMALL, color, not cadence.is_kept, align="right", width=270)


def _strip(canvas: Canvas, status: SessionStatus, overlay: FirstPictures) -> None:
    """What has to be said: the worst alarm, and above it the most pressing of the rest. Nothing else moves for it."""
    x, bottom, width = STRIP
    more = f" ({len(status.alarms) - 1} more)" if len(status.alarms) > 1 else ""
    problem = overlay.problem if overlay.mode is not Mode.OFF else ""
    rest: tuple[tuple[str, Color, Color, Color], ...] = (
        (f"Not done: {status.refusal}" if status.refusal else "", SAND, AMBER, UMBER),
        (status.limit, SAND, AMBER, UMBER),
        (_end_words(status), WHITE, LINE, INK),
        (status.notice if status.notice not in status.alarms else "", WHITE, LINE, INK),
        (problem, WHITE, LINE, INK),
    )
    pressing = [entry for entry in rest if entry[0]][:1]
    alarm = [(status.alarms[0] + more, RED, RED, WHITE)] if status.alarms else []
    for words, fill, line, ink in (*alarm, *pressing):
        lines = max(2, len(canvas.wrapped(words, SMALL, width - 28, STRIP_LINES)))
        height = lines * 1.25 * SMALL + 12
        canvas.box(x, bottom - height, width, height, fill, line)
        canvas.paragraph(x + 14, bottom - height + 5, words, SMALL, ink, width - 28, lines)
        bottom -= height + 6


def _end_words(status: SessionStatus) -> str:
    if status.ends_in_s is None:
        return ""
    return f"{status.plan_done} The session ends in {status.ends_in_s:.0f} s."


def _legend(canvas: Canvas, view: View, status: SessionStatus) -> None:
    """Key caps with what they do now, the main one filled; motion only while the expert drives."""
    mapping, order = view.mapping, list(view.mapping.buttons)
    chips = _authority_chips(view, status)
    verbs = {verb: mapping.control_of(verb, status.offered) for verb in status.offered}
    if view.style == "deadman" and status.phase in EXPERT_PHASES:  # her finger is on the button, which taps nothing now
        verbs = {verb: control for verb, control in verbs.items() if mapping.deadman not in parts(control)[1:]}
    for main in (True, False):
        for verb, control in sorted(verbs.items(), key=lambda item: order.index(item[1]) if item[1] else 0):
            if control and (verb in MAIN_VERBS) is main:
                chips.append((mapping.label(control), _verb_words(verb, status), main))
    if status.phase in EXPERT_PHASES:
        chips += [(mapping.label_of("gripper"), "gripper", False), *_motion_chips(mapping)]
    if status.phase in OVERLAY_PHASES:
        chips.append((OVERLAY_KEY.upper(), f"overlay {view.overlay.mode.value}", False))
        chips.append((f"{PREVIOUS_KEY.upper()} {NEXT_KEY.upper()}", view.overlay.title or "earlier episode", False))
    chips.append((SOUND_KEY.upper(), "mute" if view.sound else "muted", False))
    chips = [chip for chip in chips if chip[0]]
    size = next((size for size in CHIP_SIZES if _chips(canvas, chips, size, draw=False)), SMALL)
    _chips(canvas, chips, size, draw=True)


def _authority_chips(view: View, status: SessionStatus) -> list[Chip]:
    """What the dead-man button does, where it is what takes over and hands back."""
    if view.style != "deadman" or status.mode == "collect" or not view.mapping.deadman:
        return []
    label = view.mapping.label(view.mapping.deadman)
    if status.phase in EXPERT_PHASES:
        return [(label, "let go: hand back", True)]
    return [(label, "hold: take over", True)] if status.phase in (Phase.LEARNER, Phase.HOLD) else []


def _chips(canvas: Canvas, chips: Sequence[Chip], size: float, draw: bool) -> bool:
    """Draw rows of key caps with words, or only tell whether they fit at this size."""
    x, y, pitch = 24.0, LEGEND_Y, 1.45 * size
    for keys, words, main in chips:
        cap = canvas.text_width(keys, size, bold=True) + 16
        width = cap + canvas.text_width(words, size, bold=main) + size
        if x + width > canvas.WIDTH - 8:
            x, y = 24.0, y + pitch
        if draw:
            canvas.box(x, y, cap, pitch - 4, INK if main else WHITE, None if main else LINE, radius=5)
            canvas.text(x + 8, y + 1, keys, size, WHITE if main else INK, bold=True)
            canvas.text(x + cap + 6, y + 1, words, size, INK if main else GREY, bold=main)
        x += width
    return y + pitch <= canvas.HEIGHT


def _verb_words(verb: Verb, status: SessionStatus) -> str:
    if verb is Verb.RESUME and status.phase is Phase.IDLE:
        return "end session" if status.plan_done else "start episode"
    return VERBS[verb]


def _motion_chips(mapping: MappingConfig) -> list[Chip]:
    if set(mapping.motions) == set(PUCK):
        return [("Puck", "moves and turns with your hand", False)]
    keys: dict[int, list[str]] = {}
    for control, direction in mapping.motions.items():
        keys.setdefault(DIRECTIONS[direction][0], []).append(mapping.label(control))
    return [(" ".join(keys[component]), MOTIONS[component], False) for component in sorted(keys)]


def _ago(seconds: float) -> str:
    return "just now" if seconds < 1 else f"{_duration(seconds)} ago"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
