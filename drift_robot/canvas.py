"""The shapes that the operator window is made of: text, cards, bars, curves. It knows colours, not what they mean."""

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import pygame

Color: TypeAlias = tuple[int, int, int]
Align: TypeAlias = Literal["left", "centre", "right"]

PAPER: Color = (244, 245, 247)
WHITE: Color = (255, 255, 255)
LINE: Color = (221, 225, 230)
INK: Color = (27, 31, 36)
GREY: Color = (92, 101, 112)
PALE: Color = (232, 235, 239)
SLATE: Color = (88, 99, 114)
BLUE: Color = (24, 94, 190)
ORANGE: Color = (200, 84, 0)
VIOLET: Color = (104, 74, 160)
GREEN: Color = (26, 127, 75)
RED: Color = (190, 30, 36)
YELLOW: Color = (255, 200, 0)
SAND: Color = (255, 243, 205)
AMBER: Color = (224, 168, 0)
UMBER: Color = (92, 64, 0)


@lru_cache(maxsize=64)
def font(size: int, bold: bool) -> "pygame.font.Font":
    """Return DejaVu Sans, which comes with matplotlib, at a size in pixels."""
    pygame.font.init()
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    with as_file(files("matplotlib") / "mpl-data" / "fonts" / "ttf" / name) as path:
        return pygame.font.Font(path, size)


@lru_cache(maxsize=128)
def _rendered(text: str, size: int, bold: bool, color: Color) -> "pygame.Surface":
    return font(size, bold).render(text, True, color)


class Canvas:
    """A surface with a design of 1280 by 720 units on it, enlarged or shrunk as a whole to fit."""

    WIDTH, HEIGHT = 1280, 720

    def __init__(self, surface: "pygame.Surface") -> None:
        self.surface = surface
        across, down = surface.get_size()
        self._scale = min(across / self.WIDTH, down / self.HEIGHT)
        self._left = (across - self._scale * self.WIDTH) / 2
        self._top = (down - self._scale * self.HEIGHT) / 2

    def pixels(self, length: float) -> int:
        """Return a length in pixels, at least one."""
        return max(round(length * self._scale), 1)

    def rect(self, x: float, y: float, width: float, height: float) -> "pygame.Rect":
        """Return a rectangle in pixels."""
        left, top = round(self._left + x * self._scale), round(self._top + y * self._scale)
        return pygame.Rect(left, top, self.pixels(width), self.pixels(height))

    def box(
        self, x: float, y: float, width: float, height: float, fill: Color, line: Color | None = None, radius: float = 8
    ) -> None:
        """Draw a rounded rectangle."""
        rect, corner = self.rect(x, y, width, height), self.pixels(radius) if radius else 0
        pygame.draw.rect(self.surface, fill, rect, border_radius=corner)
        if line:
            pygame.draw.rect(self.surface, line, rect, width=self.pixels(1), border_radius=corner)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        color: Color = INK,
        bold: bool = False,
        align: Align = "left",
        width: float | None = None,
    ) -> float:
        """Draw a line of text with its top at y, shortened to a width; return its width."""
        room = None if width is None else self.pixels(width)
        face = font(self.pixels(size), bold)
        if room is not None and face.size(words)[0] > room:
            while words and face.size(words + "…")[0] > room:
                words = words[:-1]
            words += "…"
        picture = _rendered(words, self.pixels(size), bold, color)
        place = picture.get_rect(topleft=self.rect(x, y, 1, 1).topleft)
        if align == "centre":
            place.centerx = place.left
        elif align == "right":
            place.right = place.left
        self.surface.blit(picture, place)
        return picture.get_width() / self._scale

    def text_width(self, words: str, size: float, bold: bool = False) -> float:
        """Return how wide a line of text is."""
        return font(self.pixels(size), bold).size(words)[0] / self._scale

    def bar(self, x: float, y: float, width: float, height: float, share: float, color: Color) -> None:
        """Draw a progress bar filled to a share in [0, 1]."""
        share = min(max(share, 0.0), 1.0)
        self.box(x, y, width, height, PALE, radius=3)
        if share > 0:
            self.box(x, y, share * width, height, color, radius=3)

    def curve(self, x: float, y: float, width: float, height: float, values: Sequence[float], color: Color) -> None:
        """Draw the finite values as a curve from left to right that fills the height."""
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        if len(finite) < 2:
            return
        low, high = float(finite.min()), float(finite.max())
        rect = self.rect(x, y, width, height)
        xs = rect.left + np.linspace(0, rect.width - 1, len(finite))
        ys = rect.bottom - 1 - (finite - low) / max(high - low, 1e-12) * (rect.height - 1)
        points = list(zip(xs.tolist(), ys.tolist(), strict=True))
        for offset in range(self.pixels(2)):
            pygame.draw.aalines(self.surface, color, False, [(px, py + offset) for px, py in points])

    def wrapped(self, words: str, size: float, width: float, lines: int) -> list[str]:
        """Return words as lines of bold text of a width; what does not fit in so many stays in the last."""
        broken = [""]
        for word in words.split():
            longer = f"{broken[-1]} {word}".strip()
            if len(broken) < lines and self.text_width(longer, size, bold=True) > width:
                broken.append(word)
            else:
                broken[-1] = longer
        return broken

    def paragraph(self, x: float, y: float, words: str, size: float, color: Color, width: float, lines: int) -> None:
        """Draw bold text on at most so many lines, centred in their height, the last one shortened to the width."""
        broken, pitch = self.wrapped(words, size, width, lines), 1.25 * size
        for i, line in enumerate(broken):
            self.text(x, y + (lines - len(broken)) * pitch / 2 + i * pitch, line, size, color, bold=True, width=width)

    def picture(
        self, x: float, y: float, width: float, height: float, image: NDArray[np.uint8], opacity: float = 1.0
    ) -> tuple[float, float]:
        """Draw an image (h, w, 3) RGB as large as fits, centred sideways; return where its corner is."""
        frame = self.rect(x, y, width, height)
        h, w = image.shape[:2]
        scale = min(frame.width / w, frame.height / h)
        size = (max(round(w * scale), 1), max(round(h * scale), 1))
        drawn = pygame.transform.smoothscale(pygame.image.frombuffer(image.tobytes(), (w, h), "RGB"), size)
        drawn.set_alpha(round(255 * opacity))
        place = drawn.get_rect(midtop=frame.midtop)
        self.surface.blit(drawn, place)
        return (place.left - self._left) / self._scale, y
