"""How the controller's own motions set the joint targets: one class a motion, stepped once a controller cycle.

Source of meanings: "The URScript Programming Language", Universal Robots. How a real controller filters servoj is not
published; here the target is approached with the time constant `lookahead_s`.
"""

import math
from typing import Protocol

import numpy as np

from hardware.arms.ur_pose import pose, rotation_vector
from hardware.emulation.kinematics import inverse, joint_rates
from hardware.poses import Array, Pose, rotation_matrix


class Unreachable(Exception):  # noqa: N818 - the controller's word for it
    """A motion leads where no joint positions do."""


class Motion(Protocol):
    """A source of joint targets."""

    done: bool

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next joint target (6,) from the present target and its rate. Raises Unreachable."""
        ...


class Hold:
    """Stay."""

    done = True

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the present target."""
        return joints


class Decelerate:
    """stopj, and stopl with the deceleration given at the tool: come to rest on a straight line in joint space."""

    def __init__(self, velocities: Array, duration_s: float) -> None:
        self._velocities, self._duration_s, self._elapsed_s = velocities.copy(), duration_s, 0.0
        self.done = not velocities.any()

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next target on the way to rest."""
        self._elapsed_s += seconds
        left = max(0.0, 1.0 - self._elapsed_s / self._duration_s) if self._duration_s > 0 else 0.0
        self.done = left == 0.0
        return joints + self._velocities * left * seconds


class Servo:
    """servoj: approach the newest target with a time constant, and go on holding it for ever."""

    done = False

    def __init__(self, target: Array, lookahead_s: float) -> None:
        self.target, self.lookahead_s = target, lookahead_s

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next target."""
        return joints + (self.target - joints) * (1.0 - math.exp(-seconds / max(self.lookahead_s, seconds)))


class MoveJoints:
    """movej: straight in joint space, the leading joint on a trapezoid of speed and acceleration."""

    def __init__(self, start: Array, target: Array, speed: float, acceleration: float) -> None:
        self._start, self._target = start.copy(), target
        self._profile = Trapezoid(float(np.abs(target - start).max()), speed, acceleration)
        self.done = False

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next target on the line."""
        fraction = self._profile.advance(seconds)
        self.done = fraction >= 1.0
        return self._start + (self._target - self._start) * fraction


class MoveLine:
    """movel: the TCP straight, on a trapezoid of tool speed and acceleration; so are pure turns, in rad."""

    def __init__(self, start: Pose, target: Pose, speed: float, acceleration: float, flange_from_tcp: Pose) -> None:
        self._start, self._flange_from_tcp = start, flange_from_tcp
        self._travel = target.position - start.position
        self._turn = rotation_vector(target.rotation @ start.rotation.T)
        length = max(float(np.linalg.norm(self._travel)), float(np.linalg.norm(self._turn)))
        self._profile = Trapezoid(length, speed, acceleration)
        self.done = False

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next target on the line. Raises Unreachable."""
        fraction = self._profile.advance(seconds)
        self.done = fraction >= 1.0
        waypoint = Pose(
            self._start.position + fraction * self._travel,
            rotation_matrix(fraction * self._turn) @ self._start.rotation,
        )
        return reach(waypoint, joints, self._flange_from_tcp)


class SpeedJoints:
    """speedj: accelerate to joint speeds and keep them for ever."""

    done = False

    def __init__(self, target: Array, acceleration: float) -> None:
        self._target, self._acceleration = target, acceleration

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next target."""
        change = self._target - velocities
        largest = float(np.abs(change).max())
        bound = self._acceleration * seconds
        scale = 1.0 if largest <= bound else bound / largest
        return joints + (velocities + scale * change) * seconds


class SpeedLine:
    """speedl: accelerate the TCP to a twist in base and keep it for ever."""

    done = False

    def __init__(self, target: Array, acceleration: float, flange_from_tcp: Pose, twist: Array) -> None:
        self._target, self._acceleration, self._flange_from_tcp = target, acceleration, flange_from_tcp
        self.twist = twist

    def step(self, joints: Array, velocities: Array, seconds: float) -> Array:
        """Return the next target."""
        change = self._target - self.twist
        size = float(np.linalg.norm(change[:3])) or float(np.linalg.norm(change))
        bound = self._acceleration * seconds
        self.twist = self.twist + (change if size <= bound else change * (bound / size))
        return joints + joint_rates(joints, self.twist, self._flange_from_tcp) * seconds


class Trapezoid:
    """The way along a length from rest to rest, speed and acceleration bounded; as a fraction of the length."""

    def __init__(self, length: float, speed: float, acceleration: float) -> None:
        speed, acceleration = max(speed, 1e-6), max(acceleration, 1e-6)
        self._length, self._acceleration = length, acceleration
        self._ramp_s = min(speed / acceleration, math.sqrt(length / acceleration))
        self._top = acceleration * self._ramp_s
        cruise_s = (length - self._top * self._ramp_s) / self._top if self._top > 0 else 0.0
        self.duration_s = 2 * self._ramp_s + cruise_s
        self._elapsed_s = 0.0

    def advance(self, seconds: float) -> float:
        """Return the fraction done, exactly 1 at the end."""
        self._elapsed_s += seconds
        t, left = self._elapsed_s, self.duration_s - self._elapsed_s
        if left <= 1e-9 or self._length == 0:
            return 1.0
        if t < self._ramp_s:
            return 0.5 * self._acceleration * t * t / self._length
        if left < self._ramp_s:
            return 1.0 - 0.5 * self._acceleration * left * left / self._length
        return (0.5 * self._top * self._ramp_s + self._top * (t - self._ramp_s)) / self._length


def reach(base_from_tcp: Pose, near: Array, flange_from_tcp: Pose) -> Array:
    """Return the joints of a pose, or raise Unreachable."""
    joints = inverse(base_from_tcp, near, flange_from_tcp)
    if joints is None:
        x, y, z = base_from_tcp.position
        raise Unreachable(f"inverse kinematics found no solution for the pose at ({x:.3f}, {y:.3f}, {z:.3f}) m")
    return joints


def reach_six(values: tuple[float, ...], near: Array, flange_from_tcp: Pose) -> Array:
    """Return the joints of a pose in UR's six numbers, or raise Unreachable."""
    if not np.isfinite(values).all():
        raise Unreachable("the pose is not a number")
    return reach(pose(values), near, flange_from_tcp)
