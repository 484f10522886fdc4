"""UR5e kinematics: forward kinematics, Jacobian and one damped least-squares step of the inverse.

Standard Denavit-Hartenberg parameters, joint zeros and signs, and base frame as Universal Robots publish them
("DH Parameters for calculations of kinematics and dynamics", UR5e). Joints 2, 3 and 4 are parallel, so the chain
is written out in the vertical plane of the arm: scalars only, a few microseconds a call.
"""

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from scipy.linalg.lapack import dposv

from hardware.poses import Array, Pose

D1, A2, A3, D4, D5, D6 = 0.1625, -0.425, -0.3922, 0.1333, 0.0997, 0.0996
JOINT_LIMIT_RAD = np.array([2 * pi, 2 * pi, pi, 2 * pi, 2 * pi, 2 * pi])
JOINT_SPEED_LIMIT_RAD_S = pi
DAMPING = 0.003**2 * np.eye(6)
IDENTITY = Pose(np.zeros(3), np.eye(3))


@dataclass(frozen=True)
class Chain:
    """One posture: `base_from_tcp`, and the Jacobian (6, 6) from joint rates to the TCP's twist in base."""

    base_from_tcp: Pose
    jacobian: Array


def forward(joints: Array, tool0_from_tcp: Pose = IDENTITY) -> Pose:
    """Return base_from_tcp at `joints` (6,) in rad."""
    return chain(joints, tool0_from_tcp).base_from_tcp


def chain(joints: Array, tool0_from_tcp: Pose = IDENTITY) -> Chain:
    """Return pose and Jacobian of the TCP at `joints` (6,) in rad.

    With e the horizontal direction of the arm's plane and u upwards, link ends are a (cos e + sin u); the axis of
    joints 2 to 4 is the plane's normal n. Column i of the Jacobian is (axis_i x (tcp - origin_i), axis_i).
    """
    q1, q2, q3, q4, q5, q6 = joints.tolist()
    c1, s1 = cos(q1), sin(q1)
    c5, s5, c6, s6 = cos(q5), sin(q5), cos(q6), sin(q6)
    c, s = cos(q2 + q3 + q4), sin(q2 + q3 + q4)

    # Origins of joints 3 and 4 in the plane: distance along e, height.
    elbow_e, elbow_z = A2 * cos(q2), D1 + A2 * sin(q2)
    wrist_e, wrist_z = elbow_e + A3 * cos(q2 + q3), elbow_z + A3 * sin(q2 + q3)

    nx, ny = s1, -c1
    x4x, x4y, x4z = c * c1, c * s1, s
    ax5x, ax5y, ax5z = s * c1, s * s1, -c
    o5x, o5y, o5z = wrist_e * c1 + D4 * nx, wrist_e * s1 + D4 * ny, wrist_z
    x5x, x5y, x5z = c5 * x4x + s5 * nx, c5 * x4y + s5 * ny, c5 * x4z
    zx, zy, zz = c5 * nx - s5 * x4x, c5 * ny - s5 * x4y, -s5 * x4z
    o6x, o6y, o6z = o5x + D5 * ax5x, o5y + D5 * ax5y, o5z + D5 * ax5z
    rotation = np.array(
        (
            (c6 * x5x - s6 * ax5x, -s6 * x5x - c6 * ax5x, zx),
            (c6 * x5y - s6 * ax5y, -s6 * x5y - c6 * ax5y, zy),
            (c6 * x5z - s6 * ax5z, -s6 * x5z - c6 * ax5z, zz),
        )
    )
    tcp = rotation @ tool0_from_tcp.position
    tcp += (o6x + D6 * zx, o6y + D6 * zy, o6z + D6 * zz)
    px, py, pz = tcp.tolist()

    # For an axis n = (nx, ny, 0): n x r = (ny rz, -nx rz, nx ry - ny rx).
    shoulder_turn = nx * py - ny * px
    elbow_turn = nx * (py - elbow_e * s1) - ny * (px - elbow_e * c1)
    wrist_turn = nx * (py - wrist_e * s1) - ny * (px - wrist_e * c1)
    r5x, r5y, r5z = px - o5x, py - o5y, pz - o5z
    r6x, r6y, r6z = px - o6x, py - o6y, pz - o6z
    jacobian = np.array(
        (
            (
                -py,
                ny * (pz - D1),
                ny * (pz - elbow_z),
                ny * (pz - wrist_z),
                ax5y * r5z - ax5z * r5y,
                zy * r6z - zz * r6y,
            ),
            (
                px,
                -nx * (pz - D1),
                -nx * (pz - elbow_z),
                -nx * (pz - wrist_z),
                ax5z * r5x - ax5x * r5z,
                zz * r6x - zx * r6z,
            ),
            (0.0, shoulder_turn, elbow_turn, wrist_turn, ax5x * r5y - ax5y * r5x, zx * r6y - zy * r6x),
            (0.0, nx, nx, nx, ax5x, zx),
            (0.0, ny, ny, ny, ax5y, zy),
            (1.0, 0.0, 0.0, 0.0, ax5z, zz),
        )
    )
    return Chain(Pose(tcp, rotation @ tool0_from_tcp.rotation), jacobian)


def inverse_step(joints: Array, target: Pose, tool0_from_tcp: Pose, *, max_step_rad: float) -> Array:
    """Return joints (6,) moved towards `target` (base_from_tcp) by one damped least-squares step, `step_from` them."""
    return step_from(chain(joints, tool0_from_tcp), joints, target, max_step_rad=max_step_rad)


def step_from(posture: Chain, joints: Array, target: Pose, *, max_step_rad: float) -> Array:
    """Return joints (6,), whose posture is known, moved towards `target` by one damped least-squares step.

    dq = J^T (J J^T + d^2 I)^-1 e with d = 0.003, scaled so that no joint moves by more than `max_step_rad`, then
    clipped to the joint limits. Close to the target the error shrinks quadratically; repeated, it tracks.
    """
    jacobian = posture.jacobian
    error = np.empty(6)
    error[:3] = target.position - posture.base_from_tcp.position
    # R_target R^T - its transpose holds twice the sine of the angle times the axis.
    (_, xy, xz), (yx, _, yz), (zx, zy, _) = (target.rotation @ posture.base_from_tcp.rotation.T).tolist()
    error[3:] = (0.5 * (zy - yz), 0.5 * (xz - zx), 0.5 * (yx - xy))
    _, weights, _ = dposv(jacobian @ jacobian.T + DAMPING, error)
    step = jacobian.T @ weights
    largest = max(map(abs, step.tolist()))
    if largest > max_step_rad:
        step *= max_step_rad / largest
    moved: Array = np.minimum(np.maximum(joints + step, -JOINT_LIMIT_RAD), JOINT_LIMIT_RAD)
    return moved
