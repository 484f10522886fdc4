"""The controller's motion side: targets, the motion in charge, TCP, payload, and the limits that trip a stop."""

from collections import deque

import numpy as np

from hardware.arms.ur_pose import pose
from hardware.cell.kinematics import IDENTITY
from hardware.emulation.kinematics import reach_limit_text, tcp_pose, twist
from hardware.emulation.motions import Decelerate, Hold, Motion, Servo
from hardware.emulation.robot import Robot
from hardware.poses import Array, Pose

JOINT_SPEED_LIMIT_RAD_S = 3.3
"""Just above the 180 degrees per second of the arm's joints."""
STOP_RAD_S2 = 20.0
PROGRAM_END_RAD_S2 = 5.0


class LimitExceeded(Exception):  # noqa: N818 - the controller's word for it
    """The arm was told to do what its limits forbid; the controller answers with a protective stop."""


class Mechanism:
    """Joint targets and what moves them. All joints (6,) in rad."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.target_joints: Array = robot.joints.copy()
        self.target_velocities: Array = np.zeros(6)
        self.target_opening = robot.opening
        self.late_cycles = 0
        self._on_the_way: deque[Array] = deque()
        self.motion: Motion = Hold()
        self.flange_from_tcp: Pose = IDENTITY
        self.payload_kg = 0.0
        self.payload_cog_m: tuple[float, ...] = (0.0, 0.0, 0.0)

    @property
    def base_from_target_tcp(self) -> Pose:
        """The commanded TCP pose."""
        return tcp_pose(self.target_joints, self.flange_from_tcp)

    @property
    def base_from_tcp(self) -> Pose:
        """The measured TCP pose."""
        return tcp_pose(self.robot.joints, self.flange_from_tcp)

    @property
    def steady(self) -> bool:
        """Whether the arm stands still."""
        return bool(np.abs(self.robot.joint_velocities).max() < 1e-3)

    def tick(self, seconds: float) -> None:
        """Advance by one cycle. Raises LimitExceeded or motions.Unreachable, and then nothing has moved."""
        target = self.motion.step(self.target_joints, self.target_velocities, seconds)
        velocities = (target - self.target_joints) / seconds
        if not np.isfinite(target).all():
            raise LimitExceeded("a joint target is not a number")
        if (fastest := float(np.abs(velocities).max())) > JOINT_SPEED_LIMIT_RAD_S:
            raise LimitExceeded(f"joint speed {fastest:.2f} rad/s is above {JOINT_SPEED_LIMIT_RAD_S} rad/s")
        if (text := reach_limit_text(target)) is not None:
            raise LimitExceeded(text)
        self.target_joints, self.target_velocities = target, velocities
        self._send(target, seconds)

    def rest(self, seconds: float) -> None:
        """Advance by one cycle without motion."""
        self.target_velocities = np.zeros(6)
        self._send(self.target_joints, seconds)

    def _send(self, target: Array, seconds: float) -> None:
        """Let the arm follow the target of `late_cycles` ago."""
        self._on_the_way.append(target)
        while len(self._on_the_way) > self.late_cycles + 1:
            self._on_the_way.popleft()
        self.robot.step(self._on_the_way[0], self.target_opening, seconds)

    def servo(self, target: Array, lookahead_s: float) -> None:
        """Follow a joint target that may be replaced at any time."""
        if isinstance(self.motion, Servo):
            self.motion.target, self.motion.lookahead_s = target, lookahead_s
        else:
            self.motion = Servo(target, lookahead_s)

    def stop_joints(self, deceleration: float) -> Motion:
        """Come to rest at a joint deceleration in rad/s2."""
        fastest = float(np.abs(self.target_velocities).max())
        return self._decelerate(fastest / max(deceleration, 1e-6))

    def stop_line(self, deceleration: float) -> Motion:
        """Come to rest at a tool deceleration in m/s2."""
        speed = float(np.linalg.norm(self.target_twist()[:3]))
        fastest = float(np.abs(self.target_velocities).max())
        return self._decelerate(max(speed / max(deceleration, 1e-6), fastest / STOP_RAD_S2))

    def target_twist(self) -> Array:
        """Return the commanded TCP twist (6,) in base."""
        return twist(self.target_joints, self.target_velocities, self.flange_from_tcp)

    def twist(self) -> Array:
        """Return the measured TCP twist (6,) in base."""
        return twist(self.robot.joints, self.robot.joint_velocities, self.flange_from_tcp)

    def set_tcp(self, values: tuple[float, ...]) -> None:
        """Set flange_from_tcp from UR's six numbers."""
        self.flange_from_tcp = pose(values)

    def _decelerate(self, duration_s: float) -> Motion:
        self.motion = Decelerate(self.target_velocities, duration_s)
        return self.motion
