"""Logarithm and exponential of rotations, fast enough for every servo tick and for batches of waypoints."""

import math

import numpy as np

from hardware.poses import Array, rotation_vector

NEAR_HALF_TURN_RAD = math.pi - 1e-4
MIN_COLUMN = 0.1
TINY = 1e-300
LOWER, UPPER = np.array([7, 2, 3]), np.array([5, 6, 1])
"""In a flattened matrix, the entries whose differences are its axis times twice the sine of its angle."""


def log(rotation: Array) -> Array:
    """Return the rotation vector (3,) in radians of a rotation matrix (3, 3)."""
    r = rotation.tolist()
    x, y, z = r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]
    twice_sine = math.sqrt(x * x + y * y + z * z)
    angle = math.atan2(twice_sine, r[0][0] + r[1][1] + r[2][2] - 1.0)
    if angle > NEAR_HALF_TURN_RAD:
        return rotation_vector(rotation)
    scale = angle / twice_sine if twice_sine > 1e-12 else 0.5
    return np.array((x * scale, y * scale, z * scale))


def logs(rotations: Array) -> Array:
    """Return the rotation vectors (n, 3) of rotation matrices (n, 3, 3)."""
    r = rotations.reshape(-1, 9)
    vectors = r[:, LOWER] - r[:, UPPER]
    twice_sines = np.sqrt(_squares(vectors))
    angles = np.arctan2(twice_sines, r[:, 0] + r[:, 4] + r[:, 8] - 1.0)
    if (angles > NEAR_HALF_TURN_RAD).any():
        return np.array([log(rotation) for rotation in rotations])
    return vectors * (angles / np.maximum(twice_sines, TINY))[:, None]


def from_6d(six: Array) -> Array:
    """Return rotation matrices (n, 3, 3) whose first two columns span `six` (n, 6), by Gram-Schmidt.

    Rows have to be `defined`.
    """
    first, second = six[:, :3], six[:, 3:]
    x = first / np.sqrt(_squares(first))[:, None]
    y = second - x * np.einsum("ij,ij->i", x, second)[:, None]
    y /= np.sqrt(_squares(y))[:, None]
    matrices = np.empty((len(six), 3, 3))
    matrices[:, :, 0], matrices[:, :, 1], matrices[:, :, 2] = x, y, _cross(x, y)
    return matrices


def defined(six: Array) -> bool:
    """Return whether every row of `six` (n, 6) tells its rotation: its columns neither near zero nor parallel."""
    x, y = six[:, :3], six[:, 3:]
    squares = _squares(x)
    normals = squares * _squares(y) - np.einsum("ij,ij->i", x, y) ** 2  # squared norms of the cross products
    return bool(min(squares.min(), normals.min()) > MIN_COLUMN**2)


def exp(vector: Array) -> Array:
    """Return the rotation matrix (3, 3) of a rotation vector (3,) in radians (Rodrigues' formula)."""
    x, y, z = vector.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-6:
        a, b = 1.0, 0.5
    else:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / (angle * angle)
    bxy, bxz, byz = b * x * y, b * x * z, b * y * z
    ax, ay, az = a * x, a * y, a * z
    xx, yy, zz = b * x * x, b * y * y, b * z * z
    return np.array(
        (
            (1.0 - yy - zz, bxy - az, bxz + ay),
            (bxy + az, 1.0 - xx - zz, byz - ax),
            (bxz - ay, byz + ax, 1.0 - xx - yy),
        )
    )


def _cross(x: Array, y: Array) -> Array:
    """Return the cross products (n, 3) of rows; numpy's own takes five times as long for a few."""
    x0, x1, x2 = x.T
    y0, y1, y2 = y.T
    product = np.empty_like(x)
    product[:, 0] = x1 * y2 - x2 * y1
    product[:, 1] = x2 * y0 - x0 * y2
    product[:, 2] = x0 * y1 - x1 * y0
    return product


def _squares(vectors: Array) -> Array:
    """Return the squared norms (n,) of rows (n, 3)."""
    squares: Array = np.einsum("ij,ij->i", vectors, vectors)
    return squares
