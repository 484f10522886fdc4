"""How closely one motion repeats another: distances of position and rotation along time, pure numbers.

Nothing here knows an arm or a file: `playback` makes the motions, `replay` shows the figures.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from hardware.poses import Array

MOST_SHIFT_MS = 250


@dataclass(frozen=True)
class Track:
    """A measured motion: rising times (n,) in s, positions (n, 3) in m, rotation matrices (n, 3, 3), in base."""

    times_s: Array
    positions: Array
    matrices: Array

    def at(self, times_s: Array) -> tuple[Array, Rotation]:
        """Return positions (m, 3) and m rotations, interpolated; outside the track its nearest end."""
        within = np.clip(times_s, self.times_s[0], self.times_s[-1])
        positions = np.stack([np.interp(within, self.times_s, axis) for axis in self.positions.T], axis=1)
        return positions, Slerp(self.times_s, Rotation.from_matrix(self.matrices))(within)

    def until(self, end_s: float) -> "Track":
        """Return the part up to a time, at least the first sample."""
        kept = max(1, int((self.times_s <= end_s).sum()))
        return Track(self.times_s[:kept], self.positions[:kept], self.matrices[:kept])


@dataclass(frozen=True)
class Deviation:
    """Distances at m times, in mm and degrees, of one motion from another that comes `shift_s` later."""

    shift_s: float
    mm: Array
    deg: Array

    def figures(self) -> dict[str, float]:
        """Return root mean square and maximum."""
        return {
            "rms_mm": rms(self.mm),
            "max_mm": float(self.mm.max()),
            "rms_deg": rms(self.deg),
            "max_deg": float(self.deg.max()),
        }


def rms(values: Array) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def deviation(reference: Track, repeated: Track, shift_s: float = 0.0) -> Deviation:
    """Return how far the repeated motion is from each pose of the reference, `shift_s` after that pose's time."""
    positions, rotations = repeated.at(reference.times_s + shift_s)
    apart: NDArray[np.float64] = np.linalg.norm(positions - reference.positions, axis=1)
    turned = (rotations * Rotation.from_matrix(reference.matrices).inv()).magnitude()
    return Deviation(shift_s, 1e3 * apart, np.degrees(turned))


def best_shift_s(reference: Track, repeated: Track) -> float:
    """Return by how much later, to a millisecond, the repeated positions agree best with the reference, RMS."""
    shifts = np.arange(-MOST_SHIFT_MS, MOST_SHIFT_MS + 1) / 1000
    times = reference.times_s + shifts[:, None]
    squares = np.zeros(len(shifts))
    for axis, wanted in zip(repeated.positions.T, reference.positions.T, strict=True):
        squares += np.square(np.interp(times, repeated.times_s, axis) - wanted).sum(axis=1)
    return float(shifts[squares.argmin()])
