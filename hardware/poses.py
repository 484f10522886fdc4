"""Rigid poses and the ten numbers of an action: position 3, rotation 6-D 6, gripper opening 1.

The 6-D rotation is the first two columns of the rotation matrix (Zhou et al., CVPR 2019). SI units; a pose's
name says its frames (`base_from_tcp`).
"""

from dataclasses import dataclass
from math import cos, sin, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
POSE_DIM = 9
ACTION_DIM = 10


@dataclass(frozen=True)
class Pose:
    """A rigid transform: `position` (3,) in metres and `rotation` (3, 3), a rotation matrix."""

    position: Array
    rotation: Array

    def __matmul__(self, other: "Pose") -> "Pose":
        """Chain two transforms: a_from_b @ b_from_c = a_from_c."""
        return Pose(self.position + self.rotation @ other.position, self.rotation @ other.rotation)

    def inverse(self) -> "Pose":
        """Return b_from_a of a_from_b."""
        return Pose(-self.rotation.T @ self.position, self.rotation.T)


def pose_vector(pose: Pose) -> Array:
    """Return position and 6-D rotation as (9,)."""
    return np.concatenate([pose.position, pose.rotation[:, 0], pose.rotation[:, 1]])


def pose_from_vector(vector: Array) -> Pose:
    """Return the pose of (9,) or longer, its rotation made orthonormal by Gram-Schmidt."""
    return Pose(np.array(vector[:3], dtype=np.float64), rotation_from_6d(vector[3:9]))


def rotation_from_6d(six: Array) -> Array:
    """Return the rotation matrix (3, 3) whose first two columns span `six` (6,)."""
    x = six[:3] / max(float(np.linalg.norm(six[:3])), 1e-9)
    y = six[3:6] - x * float(x @ six[3:6])
    y = y / max(float(np.linalg.norm(y)), 1e-9)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def action_vector(base_from_tcp: Pose, gripper: float) -> Array:
    """Return an action (10,) from a target pose and a gripper opening (0 closed, 1 open)."""
    rotation = base_from_tcp.rotation
    return np.concatenate([base_from_tcp.position, rotation[:, 0], rotation[:, 1], (gripper,)])


def rotation_vector(rotation: Array) -> Array:
    """Return the rotation vector (3,), axis times angle in radians, of a rotation matrix."""
    from scipy.spatial.transform import Rotation  # half a second that an arm's process need not wait at its start

    vector: Array = Rotation.from_matrix(rotation).as_rotvec()
    return vector


def rotation_matrix(vector: Array) -> Array:
    """Return the rotation matrix (3, 3) of a rotation vector in radians (Rodrigues' formula)."""
    x, y, z = vector.tolist()
    angle = sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = x / angle, y / angle, z / angle
    c, s = cos(angle), sin(angle)
    v = 1.0 - c
    return np.array(
        [
            [c + x * x * v, x * y * v - z * s, x * z * v + y * s],
            [y * x * v + z * s, c + y * y * v, y * z * v - x * s],
            [z * x * v - y * s, z * y * v + x * s, c + z * z * v],
        ]
    )


def integrate_twist(base_from_tcp: Pose, twist: Array, seconds: float) -> Pose:
    """Move a pose by a twist (6,) in the base frame, linear in m/s and angular in rad/s, about the TCP."""
    return Pose(
        base_from_tcp.position + twist[:3] * seconds, rotation_matrix(twist[3:] * seconds) @ base_from_tcp.rotation
    )
