"""The window of a guided calibration: the live picture with what was detected, what to do next, progress, score.

`draw` paints one guide on any surface; `GuideWindow` shows guides and returns what was answered.
"""

import os
from types import TracebackType

import pygame

from calibration.guide import Answer, Guide
from drift_robot.canvas import BLUE, GREEN, GREY, INK, LINE, ORANGE, PALE, PAPER, RED, SLATE, WHITE, Canvas
from drift_robot.errors import UserError

GOOD, FAIR = 0.999, 0.5
PICTURE = (24.0, 128.0, 828.0, 512.0)
KEYS = {Answer.GO: "Space", Answer.DONE: "Enter", Answer.SKIP: "S", Answer.STOP: "Esc"}


class GuideWindow:
    """A window for one procedure; a context manager. Raises UserError where there is no screen to show it on."""

    def __init__(self, size: tuple[int, int] = (Canvas.WIDTH, Canvas.HEIGHT)) -> None:
        pygame.display.init()
        if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
            pygame.display.quit()
            raise UserError("There is no display for the guide: log in on the desktop, or give --unattended.")
        self._surface = pygame.display.set_mode(size, pygame.RESIZABLE)
        pygame.display.set_caption("drift-robot: calibration")

    def show(self, guide: Guide) -> Answer | None:
        """Show a guide and return what was answered since the last one; closing the window stops."""
        draw(self._surface, guide)
        pygame.display.flip()
        offered = {answer for answer, _ in guide.offers} | {Answer.STOP}
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                return Answer.STOP
            if event.type == pygame.KEYDOWN:
                name = pygame.key.name(event.key)
                pressed = next((answer for answer in Answer if answer.value == name), None)
                if pressed in offered:
                    return pressed
        return None

    def __enter__(self) -> "GuideWindow":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pygame.display.quit()


def draw(surface: pygame.Surface, guide: Guide) -> None:
    """Paint a guide."""
    surface.fill(PAPER)
    canvas = Canvas(surface)
    banner = RED if guide.alarm else SLATE
    surface.fill(banner, (0, 0, surface.get_width(), canvas.rect(0, 0, 1, 112).bottom))
    canvas.text(28, 10, guide.title, 22, WHITE)
    for i, line in enumerate(canvas.wrapped(f"{guide.alarm} {guide.instruction}".strip(), 26, 1220, lines=2)):
        canvas.text(28, 40 + 33 * i, line, 26, WHITE, bold=True, width=1220)
    if guide.image is None:
        canvas.box(*PICTURE, PALE)
        canvas.text(PICTURE[0] + PICTURE[2] / 2, PICTURE[1] + 240, "No camera picture", 24, GREY, align="centre")
    else:
        canvas.picture(*PICTURE, guide.image)
    _card(canvas, 128, "Progress", guide.progress, BLUE)
    color = GREEN if guide.score >= GOOD else ORANGE if guide.score >= FAIR else RED
    _card(canvas, 214, "Score", guide.score, color)
    _missing(canvas, guide)
    x = 24.0
    for answer, words in (*guide.offers, (Answer.STOP, "stop, write nothing")):
        cap = canvas.text_width(KEYS[answer], 20, bold=True) + 22
        main = answer is Answer.GO
        canvas.box(x, 662, cap, 36, INK if main else WHITE, None if main else LINE, radius=5)
        canvas.text(x + 11, 666, KEYS[answer], 20, WHITE if main else INK, bold=True)
        x += cap + 10
        x += canvas.text(x, 666, words, 20, INK if main else GREY, bold=main) + 30


def _card(canvas: Canvas, y: float, title: str, share: float, color: tuple[int, int, int]) -> None:
    canvas.box(868, y, 388, 76, WHITE, LINE)
    canvas.text(884, y + 10, title, 18, GREY)
    canvas.text(1240, y + 8, f"{share:.0%}", 22, color, bold=True, align="right")
    canvas.bar(884, y + 46, 356, 14, share, color)


def _missing(canvas: Canvas, guide: Guide) -> None:
    canvas.box(868, 300, 388, 340, WHITE, LINE)
    y = 310.0
    y += 30 if guide.missing else 0
    canvas.text(884, 310, "Still missing" if guide.missing else "Nothing is missing", 18, GREY)
    for words in guide.missing:
        lines = canvas.wrapped(words, 18, 340, lines=3)
        if y + 24 * len(lines) > 632:
            break
        canvas.text(884, y, "·", 18, INK, bold=True)
        for line in lines:
            canvas.text(898, y, line, 18, INK, width=348)
            y += 24
        y += 8
