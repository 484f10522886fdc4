"""Pictures of a workspace: table and box drawn over what a camera sees, and the touches from above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from calibration.board import Image
from calibration.files import Calibration, Kind, lens_of, pose_of, read_calibration
from calibration.pictures import BAD, GOOD, drawn_figure
from calibration.workspace import Box, Plane, Table
from hardware.cameras.lens import Lens
from hardware.poses import Array, Pose

TABLE, WALL = (40, 120, 220), (245, 150, 20)
GRID_M = 0.1
PIECE_M = 0.02
NEAR_M = 0.02
FILLED = 0.25
"""How strongly the table is tinted."""


@dataclass(frozen=True)
class Eye:
    """A calibrated camera: its lens, and where it is on the TCP, if it rides on the arm, or on the base."""

    lens: Lens
    link_from_camera: Pose
    on_arm: bool

    def project(self, points: Array, base_from_tcp: Pose) -> Array:
        """Return the pixels (n, 2) of points (n, 3) in base; NaN for those not ahead of the camera."""
        base_from_camera = base_from_tcp @ self.link_from_camera if self.on_arm else self.link_from_camera
        seen = (points - base_from_camera.position) @ base_from_camera.rotation
        seen[seen[:, 2] < NEAR_M] = np.nan
        return self.lens.project(seen)


def eyes_of(folder: Path, riding: Mapping[str, bool]) -> dict[str, Eye]:
    """Return those of some cameras whose hand-eye calibration is in a folder; `riding`: which are on the arm."""
    found = {name: read_calibration(folder, Kind.HAND_EYE, name) for name in riding}
    return {name: _eye(hand_eye, riding[name]) for name, hand_eye in found.items() if hand_eye is not None}


def _eye(hand_eye: Calibration, on_arm: bool) -> Eye:
    return Eye(lens_of(hand_eye), pose_of(hand_eye, f"{'tcp' if on_arm else 'base'}_from_camera"), on_arm)


def draw_workspace(image: Image, eye: Eye, base_from_tcp: Pose, plane: Plane, box: Box) -> Image:
    """Return a picture with the table's part below a box tinted and ruled every 10 cm, and the box's edges."""
    picture = image.copy()
    (left, near, _), (right, far, top) = box.low.tolist(), box.high.tolist()

    def on_table(x: float, y: float) -> list[float]:
        return [x, y, float(plane.height_m(np.array([x, y])))]

    lines = [[on_table(x, near), on_table(x, far)] for x in _rungs(left, right)]
    lines += [[on_table(left, y), on_table(right, y)] for y in _rungs(near, far)]
    _tint(
        picture,
        eye,
        base_from_tcp,
        [on_table(x, y) for x, y in ((left, near), (right, near), (right, far), (left, far))],
    )
    for line in lines:
        _draw_line(picture, eye, base_from_tcp, np.array(line), TABLE, 1)
    around = [(left, near), (right, near), (right, far), (left, far), (left, near)]
    for (x, y), (u, v) in pairwise(around):
        _draw_line(picture, eye, base_from_tcp, np.array([on_table(x, y), on_table(u, v)]), TABLE, 2)
        _draw_line(picture, eye, base_from_tcp, np.array([[x, y, top], [u, v, top]]), WALL, 2)
        _draw_line(picture, eye, base_from_tcp, np.array([on_table(x, y), [x, y, top]]), WALL, 2)
    return picture


def draw_points(image: Image, eye: Eye, base_from_tcp: Pose, points: Array, fits: Sequence[bool]) -> Image:
    """Return a picture with points (n, 3) in base as numbered discs, green where they fit."""
    picture = image.copy()
    if not len(points):
        return picture
    for number, (pixel, fit) in enumerate(zip(eye.project(points, base_from_tcp), fits, strict=True), 1):
        if _is_drawable(pixel, picture):
            x, y = round(float(pixel[0])), round(float(pixel[1]))
            cv2.circle(picture, (x, y), 7, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(picture, (x, y), 6, GOOD if fit else BAD, -1, cv2.LINE_AA)
            cv2.putText(picture, str(number), (x + 9, y - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def touches_picture(table: Table, box: Box, title: str) -> Image:
    """Return the touches seen from above, with how far each is from the plane, the plane's height, and the walls."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    (left, near, _), (right, far, _) = box.low.tolist(), box.high.tolist()
    x, y = np.meshgrid(np.linspace(left, right, 50), np.linspace(near, far, 50), indexing="ij")
    heights = 1000 * table.plane.height_m(np.stack([x, y], axis=-1))
    extent = (near, far, left, right)
    shading = axes.imshow(heights, cmap="Blues", extent=extent, origin="lower", interpolation="bilinear", alpha=0.6)
    figure.colorbar(shading, ax=axes, label="height of the table in mm", shrink=0.8)
    axes.add_patch(Rectangle((near, left), far - near, right - left, fill=False, color="#f59614", lw=2))
    for number, (point, off, fits) in enumerate(zip(table.points, table.off_m, table.used.tolist(), strict=True), 1):
        color = "#00803c" if fits else "#dc2828"
        axes.plot(point[1], point[0], "o", color=color)
        words = f"{number}: {1000 * off:+.2f} mm"
        axes.annotate(words, (point[1], point[0]), (0, 7), textcoords="offset points", color=color, ha="center")
    sides = np.concatenate([table.points[:, 1], [near, far]]), np.concatenate([table.points[:, 0], [left, right]])
    axes.set_xlim(sides[0].max() + GRID_M, sides[0].min() - GRID_M)
    axes.set_ylim(sides[1].min() - GRID_M, sides[1].max() + GRID_M)
    axes.set(xlabel="y of the base in m (the arm looks up the picture)", ylabel="x of the base in m", title=title)
    return drawn_figure(figure)


def _rungs(low: float, high: float) -> list[float]:
    """Return the multiples of the grid between two numbers."""
    return [GRID_M * number for number in range(int(np.ceil(low / GRID_M)), int(np.floor(high / GRID_M)) + 1)]


def _tint(picture: Image, eye: Eye, base_from_tcp: Pose, corners: Sequence[Sequence[float]]) -> None:
    """Tint the quadrilateral between corners in place, piece by piece, as part of it may be behind the camera."""
    a, b, c, d = np.array(corners)
    size = max(2, int(np.ceil(np.linalg.norm(c - a) / (2 * PIECE_M))))
    shares = np.linspace(0.0, 1.0, size + 1)
    grid = np.array([[(1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c) for u in shares] for v in shares])
    pixels = eye.project(grid.reshape(-1, 3), base_from_tcp).reshape(size + 1, size + 1, 2)
    mask = np.zeros(picture.shape[:2], np.uint8)
    for i, j in product(range(size), range(size)):
        piece = np.array([pixels[i, j], pixels[i, j + 1], pixels[i + 1, j + 1], pixels[i + 1, j]])
        if all(_is_drawable(pixel, picture) for pixel in piece):
            cv2.fillConvexPoly(mask, np.rint(piece).astype(np.int32), 255)
    tinted = (1.0 - FILLED) * picture + FILLED * np.array(TABLE)
    picture[mask > 0] = tinted[mask > 0].astype(np.uint8)


def _draw_line(
    picture: Image, eye: Eye, base_from_tcp: Pose, ends: Array, color: tuple[int, int, int], width: int
) -> None:
    """Draw a straight line between two ends (2, 3) in base in place: a lens may bend it, and part may not be seen."""
    count = max(2, int(np.ceil(np.linalg.norm(ends[1] - ends[0]) / PIECE_M)) + 1)
    pixels = eye.project(np.linspace(ends[0], ends[1], count), base_from_tcp)
    for start, end in pairwise(pixels):
        if _is_drawable(start, picture) and _is_drawable(end, picture):
            (x, y), (u, v) = np.rint(start).astype(int).tolist(), np.rint(end).astype(int).tolist()
            cv2.line(picture, (x, y), (u, v), color, width, cv2.LINE_AA)


def _is_drawable(pixel: Array, picture: Image) -> bool:
    """Tell whether a pixel is in a picture or not far outside."""
    height, width = picture.shape[:2]
    return bool(-width < pixel[0] < 2 * width and -height < pixel[1] < 2 * height)  # NaN compares false
