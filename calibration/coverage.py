"""How well views of a board cover what a lens can show: regions of the picture, tilts, distances; and what is missing.

A view that hardly differs from an earlier one tells nothing new and is not taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.board import Board, Detection
from hardware.cameras.lens import Lens
from hardware.poses import Array, Pose

MIN_VIEWS = 12
COLUMNS, ROWS = 4, 3
HIDDEN = 2
"""So many regions may stay empty: a gripper hides a part of the picture of a camera on the arm."""
TILT_RAD = np.radians(14.0)
NEARER = 1.25
"""The nearest view shows the board at least so many times as large as the farthest."""
SIMILAR = 0.03
"""Views are similar whose corners are on average closer than this share of the picture's diagonal."""

TILTS = ("left edge", "right edge", "upper edge", "lower edge")
COLUMN_NAMES = ("left", "middle left", "middle right", "right")
ROW_NAMES = ("upper", "middle", "lower")


@dataclass(frozen=True)
class Coverage:
    """Of some views: corners in each region (rows, columns), which tilts were seen, largest over smallest size."""

    views: int
    regions: NDArray[np.int64]
    tilts: frozenset[str]
    size_ratio: float

    @property
    def missing(self) -> tuple[str, ...]:
        """What is lacking, as things to do."""
        wanted = []
        empty = np.argwhere(self.regions == 0)
        if len(empty) > HIDDEN:
            places = [f"{ROW_NAMES[row]} {COLUMN_NAMES[column]}" for row, column in empty.tolist()]
            wanted.append(f"corners in the {', '.join(places)} of the picture (at most {HIDDEN} may stay empty)")
        wanted += [f"a view with the board's {tilt} nearer" for tilt in TILTS if tilt not in self.tilts]
        if self.size_ratio < NEARER:
            wanted.append("views from nearer and from farther away")
        if self.views < MIN_VIEWS:
            wanted.append(f"{MIN_VIEWS - self.views} more views")
        return tuple(wanted)

    @property
    def score(self) -> float:
        """A share in [0, 1]; 1 if nothing is missing."""
        filled = min(1.0, float((self.regions > 0).sum()) / (self.regions.size - HIDDEN))
        tilted = len(self.tilts) / len(TILTS)
        sized = min(1.0, max(self.size_ratio - 1.0, 0.0) / (NEARER - 1.0))
        return 0.4 * filled + 0.25 * tilted + 0.1 * sized + 0.25 * min(1.0, self.views / MIN_VIEWS)


NOTHING = Coverage(0, np.zeros((ROWS, COLUMNS), dtype=np.int64), frozenset(), 1.0)


def coverage(board: Board, lens: Lens, detections: Sequence[Detection]) -> Coverage:
    """Return the coverage of views; `lens` may be rough, it only tells tilts apart."""
    regions = np.zeros((ROWS, COLUMNS), dtype=np.int64)
    tilts: set[str] = set()
    sizes = []
    for detection in detections:
        height, width = detection.size
        columns = np.clip(detection.pixels[:, 0] / width * COLUMNS, 0, COLUMNS - 1).astype(int)
        rows = np.clip(detection.pixels[:, 1] / height * ROWS, 0, ROWS - 1).astype(int)
        np.add.at(regions, (rows, columns), 1)
        pose = board.pose(detection, lens)
        tilts |= _tilts(pose)
        sizes.append(1.0 / max(float(pose.position[2] + (pose.rotation @ board.outline.mean(axis=0))[2]), 1e-6))
    ratio = max(sizes) / min(sizes) if sizes else 1.0
    return Coverage(len(detections), regions, frozenset(tilts), float(ratio))


def _tilts(camera_from_board: Pose) -> set[str]:
    """Return which edges of the picture the board leans towards. Its z axis points away from the camera."""
    x, y, z = camera_from_board.rotation[:, 2].tolist()
    across, down = np.arctan2(x, z), np.arctan2(y, z)
    leaning = (-across, across, -down, down)
    return {name for name, angle in zip(TILTS, leaning, strict=True) if angle > TILT_RAD}


def is_similar(detection: Detection, others: Sequence[Detection]) -> bool:
    """Tell whether a view hardly differs from one of some others."""
    limit = SIMILAR * float(np.hypot(*detection.size))
    return any(_distance(detection, other) < limit for other in others)


def _distance(a: Detection, b: Detection) -> float:
    """Return the mean distance in pixels of the corners that both have; infinite if they share too few."""
    _, in_a, in_b = np.intersect1d(a.ids, b.ids, return_indices=True)
    if len(in_a) < min(len(a.ids), len(b.ids)) / 2:
        return float("inf")
    off: Array = a.pixels[in_a] - b.pixels[in_b]
    return float(np.hypot(off[:, 0], off[:, 1]).mean())
