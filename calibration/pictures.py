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
from calibration.lag import Lag
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


def lag_picture(lag: Lag, title: str, quantity: str) -> Image:
    """Return what followed with what explains it, both at their own times and over each other, and the correlations."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    upper.plot(lag.seconds, lag.followed, ".", color="#00a03c", markersize=4, label="reported or seen")
    upper.plot(lag.seconds - lag.lag_s, lag.explained, color="0.6", linewidth=1, label="what it follows")
    upper.plot(
        lag.seconds, lag.explained, color="#dc2828", linewidth=1, label=f"the same {1000 * lag.lag_s:.1f} ms later"
    )
    upper.set(title=title, xlabel="time in s", ylabel=quantity)
    upper.margins(y=0.2)
    upper.legend(loc="upper right", ncols=3, frameon=False)
    lower.plot(1000 * lag.curve[:, 0], lag.curve[:, 1], color="#285abe")
    lower.axvline(1000 * lag.lag_s, color="#dc2828", linewidth=1)
    lower.set(xlabel="shift in ms", ylabel="correlation", ylim=(0, 1.05))
    lower.annotate(
        f"{1000 * lag.lag_s:.1f} ms, {lag.correlation:.4f}",
        (1000 * lag.lag_s, 0.05),
        (6, 0),
        textcoords="offset points",
    )
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return drawn_figure(figure)


def votes_picture(votes: Array, lag_s: float, title: str) -> Image:
    """Return the share of pictures that agree with each shift, `votes` (m, 2)."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.step(1000 * votes[:, 0], votes[:, 1], color="#285abe", where="mid")
    axes.axvline(1000 * lag_s, color="#dc2828", linewidth=1)
    axes.set(
        title=title, xlabel="shift in ms, display lag included", ylabel="share of pictures that agree", ylim=(0, 1.05)
    )
    axes.spines[["top", "right"]].set_visible(False)
    return drawn_figure(figure)


def delays_picture(delays_s: Sequence[float], title: str) -> Image:
    """Return how often which delay occurred."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(1000 * np.array(delays_s), bins=40, color="#285abe")
    axes.axvline(1000 * float(np.median(delays_s)), color="#dc2828", linewidth=1)
    axes.set(title=title, xlabel="delay in ms (red: median)", ylabel="motions", xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    return drawn_figure(figure)


def drawn_figure(figure: Figure) -> Image:
    """Return a figure as a picture."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves its canvas untyped
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()
