"""What the controller computes about postures: TCP poses, inverse solutions near a posture, joint rates."""

import numpy as np

from hardware.cell.kinematics import JOINT_LIMIT_RAD, chain, forward, step_from
from hardware.poses import Array, Pose

CONVERGED_M = 1e-9
ITERATIONS = 60
STEP_RAD = 0.4


def tcp_pose(joints: Array, flange_from_tcp: Pose) -> Pose:
    """Return base_from_tcp at `joints` (6,)."""
    return forward(joints, flange_from_tcp)


def inverse(base_from_tcp: Pose, near: Array, flange_from_tcp: Pose) -> Array | None:
    """Return the joints (6,) that reach a pose, on the branch that a descent from `near` leads to, or None."""
    joints, posture = near, chain(near, flange_from_tcp)
    for _ in range(ITERATIONS):
        joints = step_from(posture, joints, base_from_tcp, max_step_rad=STEP_RAD)
        posture = chain(joints, flange_from_tcp)
        reached = posture.base_from_tcp
        error = np.abs(reached.position - base_from_tcp.position).max()
        turn = np.abs(reached.rotation - base_from_tcp.rotation).max()
        if error < CONVERGED_M and turn < CONVERGED_M:
            return joints
    return joints if error < 1e-5 and turn < 1e-5 else None


def joint_rates(joints: Array, twist: Array, flange_from_tcp: Pose) -> Array:
    """Return the joint velocities (6,) rad/s that move the TCP by `twist` (6,) in base."""
    jacobian = chain(joints, flange_from_tcp).jacobian
    return np.asarray(np.linalg.lstsq(jacobian, twist, rcond=1e-6)[0], dtype=np.float64)


def twist(joints: Array, velocities: Array, flange_from_tcp: Pose) -> Array:
    """Return the TCP's twist (6,) in base at joint velocities (6,)."""
    return chain(joints, flange_from_tcp).jacobian @ velocities


def within_limits(joints: Array) -> bool:
    """Tell whether all joints are inside the mechanical range."""
    return reach_limit_text(joints) is None


def reach_limit_text(joints: Array) -> str | None:
    """Name the first joint outside the mechanical range."""
    for index in np.flatnonzero(np.abs(joints) > JOINT_LIMIT_RAD):
        return f"joint {index + 1} would leave its range at {joints[index]:.3f} rad"
    return None
