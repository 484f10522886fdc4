"""Poses as Universal Robots write them: six numbers, position in m and rotation vector in rad. Fast, at any angle."""

import math
from collections.abc import Sequence

import numpy as np

from hardware.arms import rotations
from hardware.poses import Array, Pose


def six(pose: Pose) -> Array:
    """Return the six numbers (6,) of a pose; the rotation's angle is between 0 and pi."""
    return np.concatenate([pose.position, rotation_vector(pose.rotation)])


def pose(values: Sequence[float] | Array) -> Pose:
    """Return the pose of six numbers."""
    numbers = np.asarray(values, dtype=np.float64)
    return Pose(numbers[:3].copy(), rotations.exp(numbers[3:6]))


def rotation_vector(rotation: Array) -> Array:
    """Return the rotation vector (3,) of a rotation matrix, by way of the quaternion, whose largest part comes first.

    Well conditioned also at half a turn, which is where a gripper that points straight down is. Source: Shepperd,
    "Quaternion from rotation matrix", J. Guidance and Control 1978.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    trace = xx + yy + zz
    largest = max(trace, xx, yy, zz)
    if largest == trace:
        w, x, y, z = 1.0 + trace, zy - yz, xz - zx, yx - xy
    elif largest == xx:
        w, x, y, z = zy - yz, 1.0 + xx - yy - zz, xy + yx, xz + zx
    elif largest == yy:
        w, x, y, z = xz - zx, xy + yx, 1.0 - xx + yy - zz, yz + zy
    else:
        w, x, y, z = yx - xy, xz + zx, yz + zy, 1.0 - xx - yy + zz
    if w < 0.0:
        w, x, y, z = -w, -x, -y, -z
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 * math.atan2(sine, w) / sine if sine > 1e-12 else 2.0 / w
    return np.array((x * scale, y * scale, z * scale))


def distance(a: Array, b: Array) -> tuple[float, float]:
    """Return how far two poses in six numbers (6,) are apart, in m and rad."""
    turn = rotation_vector(rotations.exp(a[3:6]) @ rotations.exp(b[3:6]).T)
    offset = a[:3] - b[:3]
    return math.sqrt(offset @ offset), math.sqrt(turn @ turn)
