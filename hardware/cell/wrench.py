"""What pushes at the tool of a simulated arm."""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from hardware.poses import Array


def contact_wrench(model: Any, data: Any, bodies: Sequence[int], tcp: Array) -> Array:
    """Return force and torque (6,) in N and Nm of all contacts on some bodies of one tree, about a point (3,) in world.

    Axes are the world's.
    """
    mujoco.mj_rnePostConstraint(model, data)
    torque_force = data.cfrc_ext[bodies].sum(axis=0)
    tx, ty, tz, fx, fy, fz = torque_force.tolist()
    x, y, z = (data.subtree_com[model.body_rootid[bodies[0]]] - tcp).tolist()
    # Written out: numpy's cross product of two small vectors costs 15 % of a lock-step run.
    return np.array([fx, fy, fz, tx + y * fz - z * fy, ty + z * fx - x * fz, tz + x * fy - y * fx])
