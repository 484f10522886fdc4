"""A camera's lens: the pinhole with OpenCV's five distortion coefficients."""

from dataclasses import dataclass

import numpy as np

from hardware.poses import Array

NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Lens:
    """For pictures of `width` x `height` pixels, first pixel at (0, 0); camera frame x right, y down, z ahead.

    A point (x, y, z) appears at fx x' + cx, fy y' + cy, where (x', y') is (x / z, y / z) distorted by k1, k2, p1, p2
    and k3 (Brown 1966, as in OpenCV's calib3d).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = NO_DISTORTION

    @property
    def matrix(self) -> Array:
        """The camera matrix (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, points: Array) -> Array:
        """Return the pixels (..., 2) of points (..., 3) in the camera's frame; those not ahead of it become NaN."""
        z = np.where(points[..., 2] > 1e-6, points[..., 2], np.nan)
        x, y = points[..., 0] / z, points[..., 1] / z
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        u = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
        v = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
        return np.stack([self.fx * u + self.cx, self.fy * v + self.cy], axis=-1)


def guessed_lens(width: int, height: int) -> Lens:
    """Return a lens that is about right for most cameras: 60 degrees across."""
    focal = width / 2 / np.tan(np.radians(30.0))
    return Lens(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
