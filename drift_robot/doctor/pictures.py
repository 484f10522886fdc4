"""The pictures that the doctor keeps: one of each camera, and a sheet of all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from drift_robot.doctor.findings import Level

TILE = (480, 360)
STRIP = 24
COLOURS = {Level.OK: "#1a7f4b", Level.NOTE: "#185ebe", Level.WARNING: "#b87800", Level.PROBLEM: "#be1e24"}


def save_picture(image: NDArray[np.uint8], path: Path) -> None:
    """Save a picture (height, width, 3) RGB as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def save_contact_sheet(cameras: Mapping[str, Level], folder: Path, path: Path) -> None:
    """Put the pictures NAME.png of a folder beside each other, each framed in the colour of the worst that was found.

    A camera without a picture has an empty frame.
    """
    tiles = [_tile(name, level, folder / f"{name}.png") for name, level in cameras.items()]
    _beside(tiles).save(path)


def _tile(name: str, level: Level, path: Path) -> Image.Image:
    width, height = TILE
    tile = Image.new("RGB", (width + 8, height + STRIP + 4), COLOURS[level])
    ImageDraw.Draw(tile).text((8, 5), f"{name}: {level}", fill="white", font_size=14)
    if path.exists():
        with Image.open(path) as picture:
            inner = ImageOps.pad(picture, TILE, color="black")
    else:
        inner = Image.new("RGB", TILE, "#e8ebef")
        ImageDraw.Draw(inner).text((width // 2, height // 2), "no picture", fill="#5c6570", font_size=20, anchor="mm")
    tile.paste(inner, (4, STRIP))
    return tile


def _beside(tiles: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (sum(tile.width for tile in tiles), max(tile.height for tile in tiles)), "white")
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width
    return sheet
