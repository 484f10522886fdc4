"""The last check of a servo command before the client library sees it, which itself sends anything, even NaN."""

from dataclasses import dataclass

import numpy as np

from hardware.arms.ur_config import UrConfig
from hardware.arms.ur_pose import distance
from hardware.poses import Array

REACH_M = 3.0
SLACK_M = 0.002
SLACK_RAD = 0.01
MOVING_RAD_S = 0.01
LONGEST_GAP_S = 0.1


@dataclass(frozen=True)
class Posture:
    """What the controller reports: `joints` (6,) rad, `joint_velocities` (6,) rad/s and measured TCP (6,)."""

    joints: Array
    joint_velocities: Array
    measured: Array


def refusal(target: Array, last: Array, elapsed_s: float, posture: Posture, config: UrConfig) -> str | None:
    """Return why a target must not be sent, as a sentence, or None if it may.

    `target` and `last` (6,) are position in m and rotation vector in rad; `last` is what the arm follows now, for
    `elapsed_s` already. Bounds: finite; step from `last`; distance from the measured pose; joint range and joint speed
    as measured, so that they hold for every model without its kinematics.
    """
    if target.shape != (6,) or not np.isfinite(target).all():
        return "A servo command was not six finite numbers, so it was refused."
    if np.abs(target[:3]).max() > REACH_M or np.abs(target[3:]).max() > 2 * np.pi:
        return "A servo command lay beyond any arm's reach, so it was refused."
    gap_s = min(max(elapsed_s, 0.0), LONGEST_GAP_S)
    step_m, step_rad = distance(target, last)
    if step_m > config.max_speed_m_s * gap_s + SLACK_M:
        return f"A servo command jumped by {1000 * step_m:.0f} mm within {1000 * gap_s:.0f} ms, so it was refused."
    if step_rad > config.max_rotation_speed_rad_s * gap_s + SLACK_RAD:
        return f"A servo command turned by {step_rad:.2f} rad within {1000 * gap_s:.0f} ms, so it was refused."
    lag_m, lag_rad = distance(target, posture.measured)
    if lag_m > config.leash_m or lag_rad > config.leash_rad:
        return (
            f"The arm is {1000 * lag_m:.0f} mm and {lag_rad:.2f} rad away from its command, so the command was refused."
        )
    return joint_refusal(posture, config)


def joint_refusal(posture: Posture, config: UrConfig) -> str | None:
    """Return which joint is too fast, or at the end of its range and still going, as a sentence, or None."""
    fastest = int(np.argmax(np.abs(posture.joint_velocities)))
    speed = abs(float(posture.joint_velocities[fastest]))
    if speed > config.max_joint_speed_rad_s:
        return f"Joint {fastest + 1} turns at {speed:.2f} rad/s, near a singularity perhaps, so the arm was stopped."
    outward = posture.joint_velocities * np.sign(posture.joints) > MOVING_RAD_S
    beyond = np.abs(posture.joints) > np.array(config.joint_limits_rad) - config.joint_margin_rad
    for joint in np.flatnonzero(outward & beyond):
        return (
            f"Joint {joint + 1} is at the end of its range ({posture.joints[joint]:.2f} rad), so the arm was stopped."
        )
    return None
