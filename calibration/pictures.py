"""Pictures that one can judge a calibration by: what was seen in every view, how views cover the picture, residuals."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibration.board import Detection, Image
from calibration.coverage import COLUMNS, ROWS
from hardware.poses import Array

TILE_WIDTH = 320
GOOD, BAD = (0, 170, 60), (220, 40, 40)
ARROWS = 50.0
"""Residuals are drawn so many times as long."""


def contact_sheet(
    images: Sequence[Image], detections: Sequence[Detection], labels: Sequence[str], used: NDArray[np.bool_]
) -> Image:
    """Return all views in one picture, their corners marked, those that do not count in red."""
    tiles = []
    for image, detection, label, counts in zip(images, detections, labels, used.tolist(), strict=True):
        color = GOOD if counts else BAD
        picture = image.copy()
        for x, y in detection.pixels.tolist():
            cv2.circle(picture, (round(x), round(y)), 6, color, 2, cv2.LINE_AA)
        height = round(TILE_WIDTH * image.shape[0] / image.shape[1])
        tile = np.asarray(cv2.resize(picture, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA))
        cv2.rectangle(tile, (0, 0), (TILE_WIDTH, 20), (255, 255, 255), -1)
        cv2.putText(tile, label, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
        tiles.append(np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255))
    columns = min(len(tiles), 6)
    blank = np.full_like(tiles[0], 255)
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    rows[-1] += [blank] * (columns - len(rows[-1]))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows]).astype(np.uint8)


def coverage_picture(
    detections: Sequence[Detection], off: Sequence[Array], used: NDArray[np.bool_], title: str
) -> Image:
    """Return where in the picture corners were seen, with their residuals `off` (n, 2) in pixels, much enlarged."""
    height, width = detections[0].size
    figure = Figure(figsize=(9, 9 * height / width), layout="constrained")
    axes = figure.add_subplot()
    for column in range(1, COLUMNS):
        axes.axvline(width * column / COLUMNS, color="0.85", linewidth=1)
    for row in range(1, ROWS):
        axes.axhline(height * row / ROWS, color="0.85", linewidth=1)
    for detection, residuals, counts in zip(detections, off, used.tolist(), strict=True):
        color = "#00a03c" if counts else "#dc2828"
        x, y = detection.pixels.T
        axes.plot(x, y, ".", color=color, markersize=4)
        axes.quiver(x, y, *residuals.T, angles="xy", scale_units="xy", scale=1 / ARROWS, width=0.0015, color=color)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xlabel="x in px", ylabel="y in px", title=title)
    return drawn_figure(figure)


def residual_picture(view_px: Array, view_mm: Array | None, used: NDArray[np.bool_], title: str) -> Image:
    """Return every view's error as bars, in pixels and, where known, in mm."""
    shown = [(view_px, "rms error in px")] + ([(view_mm, "rms error in mm")] if view_mm is not None else [])
    figure = Figure(figsize=(9, 3 * len(shown)), layout="constrained")
    colors = np.where(used, "#00a03c", "#dc2828")
    for i, (values, name) in enumerate(shown):
        axes = figure.add_subplot(len(shown), 1, i + 1)
        axes.bar(np.arange(1, len(values) + 1), values, color=colors)
        axes.set(ylabel=name, xlabel="view (red: left out)" if i == len(shown) - 1 else "")
        axes.spines[["top", "right"]].set_visible(False)
        if i == 0:
            axes.set_title(title)
    return drawn_figure(figure)


def moved_picture(image: Image, expected: Array, seen: Array) -> Image:
    """Return a picture with the corners as seen (green) and where they were expected (red), both (n, 2) in pixels."""
    picture = image.copy()
    for (x, y), (u, v) in zip(expected.tolist(), seen.tolist(), strict=True):
        cv2.arrowedLine(picture, (round(x), round(y)), (round(u), round(v)), BAD, 1, cv2.LINE_AA)
        cv2.circle(picture, (round(x), round(y)), 4, BAD, 1, cv2.LINE_AA)
        cv2.circle(picture, (round(u), round(v)), 4, GOOD, 1, cv2.LINE_AA)
    return picture


def drawn_figure(figure: Figure) -> Image:
    """Return a figure as a picture."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves its canvas untyped
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()
