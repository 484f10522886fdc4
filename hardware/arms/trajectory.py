"""From waypoints to commands: a curve through time-stamped poses, and a follower that obeys the limits.

The rotation of a curve or a follower is handled as a rotation vector relative to a reference that is re-centred at
every segment or tick, so that six numbers behave like six axes.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from ruckig import ControlInterface, InputParameter, OutputParameter, Ruckig, Synchronization

from hardware.arms import rotations
from hardware.arms.limits import ArmLimits
from hardware.clock import NS_PER_S
from hardware.poses import Array, Pose

STILL = np.zeros(6)


@dataclass(frozen=True)
class Setpoint:
    """A moving pose: `velocity` and `acceleration` (6,), linear (m/s, m/s2) then angular (rad/s, rad/s2), in base."""

    pose: Pose
    velocity: Array = field(default_factory=lambda: STILL)
    acceleration: Array = field(default_factory=lambda: STILL)


class Curve:
    """A smooth curve through waypoints: each is reached at its time, and none is overshot.

    Cubic Hermite segments with the monotone tangents of Fritsch and Butland (1984), that is PCHIP, on position and on
    the rotation vector relative to each segment's start. It starts with a given velocity and ends at rest.
    """

    def __init__(self, times_ns: NDArray[np.int64], positions: Array, matrices: Array, velocity: Array = STILL) -> None:
        """Build from rising `times_ns` (n,), `positions` (n, 3), `matrices` (n, 3, 3), n >= 2; `velocity` (6,)."""
        self.times_ns = times_ns
        self.positions = positions
        self.matrices = matrices
        spans = (times_ns[1:] - times_ns[:-1])[:, None] / NS_PER_S
        turns = rotations.logs(matrices[1:] @ matrices[:-1].transpose(0, 2, 1))
        steps = np.empty((len(turns), 6))
        steps[:, :3], steps[:, 3:] = positions[1:] - positions[:-1], turns
        tangents = _tangents(steps / spans, spans)
        tangents[0] = velocity
        start, end = spans * tangents[:-1], spans * tangents[1:]
        self._spans_s = spans[:, 0].tolist()
        coefficients = np.empty((len(steps), 3, 6))
        coefficients[:, 0] = start
        coefficients[:, 1] = 3.0 * steps - 2.0 * start - end
        coefficients[:, 2] = start + end - 2.0 * steps
        self._coefficients = coefficients

    def at(self, time_ns: int) -> Setpoint:
        """Return the moving pose at a time; the first or last pose, at rest, outside the curve."""
        if time_ns < self.times_ns[0]:
            return Setpoint(Pose(self.positions[0], self.matrices[0]))
        if time_ns >= self.times_ns[-1]:
            return Setpoint(Pose(self.positions[-1], self.matrices[-1]))
        i = int(self.times_ns.searchsorted(time_ns, side="right")) - 1
        span = self._spans_s[i]
        u, rate = (time_ns - int(self.times_ns[i])) / NS_PER_S / span, 1.0 / span
        powers = (
            (u, u * u, u * u * u),
            (rate, 2.0 * rate * u, 3.0 * rate * u * u),
            (0.0, 2.0 * rate * rate, 6.0 * rate * rate * u),
        )
        step, velocity, acceleration = np.array(powers) @ self._coefficients[i]
        pose = Pose(self.positions[i] + step[:3], rotations.exp(step[3:]) @ self.matrices[i])
        return Setpoint(pose, velocity, acceleration)


def _tangents(slopes: Array, spans: Array) -> Array:
    """Return tangents (n + 1, d) of slopes (n, d) over spans (n, 1): harmonic means, zero at turns and ends."""
    tangents = np.zeros((len(slopes) + 1, slopes.shape[1]))
    before, after = slopes[:-1], slopes[1:]
    alpha = (spans[:-1] + 2.0 * spans[1:]) / (3.0 * (spans[:-1] + spans[1:]))
    product = before * after
    np.divide(product, alpha * after + (1.0 - alpha) * before, out=tangents[1:-1], where=product > 0.0)
    return tangents


class Follower:
    """A commanded pose that moves under bounds on speed, acceleration and jerk, one servo period at a time.

    Following a moving target is planned in the frame that moves with it (its velocity and acceleration fed forward), as
    a time-optimal way to rest in that frame; so an unhurried target is met without lag and a late start is caught up.
    """

    FEED_FORWARD_SHARE = 0.8

    def __init__(self, limits: ArmLimits, period_s: float, pose: Pose) -> None:
        self._period_s = period_s
        self._speeds = (limits.max_speed_m_s, limits.max_rotation_speed_rad_s)
        self._acceleration = [limits.max_acceleration_m_s2] * 3 + [limits.max_rotation_acceleration_rad_s2] * 3
        self._ruckig = Ruckig(6, period_s)
        self._output = OutputParameter(6)
        still = STILL.tolist()
        self._reach, self._turn_to = InputParameter(6), InputParameter(6)
        for request in (self._reach, self._turn_to):
            request.max_jerk = [limits.max_jerk_m_s3] * 3 + [limits.max_rotation_jerk_rad_s3] * 3
            request.synchronization = Synchronization.No
            request.target_position = request.target_velocity = request.target_acceleration = still
        self._turn_to.control_interface = ControlInterface.Velocity
        self._turn_to.current_position = still
        self._turn_to.max_acceleration = self._acceleration
        self.restart(pose)

    def restart(self, pose: Pose) -> None:
        """Put the command at a pose, at rest."""
        self.pose = pose
        self._velocity = [0.0] * 6
        self._acceleration_now = [0.0] * 6

    @property
    def velocity(self) -> Array:
        """The command's velocity (6,), m/s and rad/s in base."""
        return np.array(self._velocity)

    def follow(self, target: Setpoint, speeds: tuple[float, float] | None = None) -> tuple[float, float]:
        """Advance by a servo period towards a target that moves on as given; return the lag (m, rad) before it.

        `speeds` (m/s, rad/s) count where they are below the limits' own.
        """
        dt = self._period_s
        own_m_s, own_rad_s = self._speeds
        speeds = (min(speeds[0], own_m_s), min(speeds[1], own_rad_s)) if speeds else self._speeds
        turn = rotations.log(self.pose.rotation @ target.pose.rotation.T)
        offset = (self.pose.position - target.pose.position).tolist() + turn.tolist()
        lag = math.hypot(*offset[:3]), math.hypot(*offset[3:])
        bounds = self._acceleration
        linear_feed, linear_push = self._fed(target.velocity[:3], target.acceleration[:3], speeds[0], bounds[0])
        angular_feed, angular_push = self._fed(target.velocity[3:], target.acceleration[3:], speeds[1], bounds[3])
        feed, push = linear_feed + angular_feed, linear_push + angular_push
        room = _axis_speeds(feed[:3], offset[:3], speeds[0]) + _axis_speeds(feed[3:], offset[3:], speeds[1])
        request, output = self._reach, self._output
        request.current_position = offset
        request.current_velocity = _minus(self._velocity, feed)
        request.current_acceleration = _minus(self._acceleration_now, push)
        request.max_velocity = _minus(room, feed)
        request.min_velocity = [-r - f for r, f in zip(room, feed, strict=True)]
        request.max_acceleration = _minus(bounds, push)
        request.min_acceleration = [-bound - p for bound, p in zip(bounds, push, strict=True)]
        if self._ruckig.update(request, output) < 0:
            self.glide(STILL)
            return lag
        fed = zip(feed, push, strict=True)
        moved = [
            v * dt + 0.5 * a * dt * dt + new - old
            for (v, a), new, old in zip(fed, output.new_position, offset, strict=True)
        ]
        velocity = [v + a * dt + new for v, a, new in zip(feed, push, output.new_velocity, strict=True)]
        self._move(moved, velocity, [a + new for a, new in zip(push, output.new_acceleration, strict=True)], speeds)
        return lag

    def _fed(self, velocity: Array, acceleration: Array, speed: float, bound: float) -> tuple[list[float], list[float]]:
        """Return what is fed forward of a target's motion, each (3,): no acceleration if it is too fast."""
        wanted, most = velocity.tolist(), self.FEED_FORWARD_SHARE * bound
        feed = _shorten(wanted, self.FEED_FORWARD_SHARE * speed)
        if feed is not wanted:
            return feed, [0.0, 0.0, 0.0]
        return feed, [min(max(a, -most), most) for a in acceleration.tolist()]

    def glide(self, twist: Array) -> None:
        """Advance by a servo period, taking up a twist (6,) (m/s, rad/s, in base) as fast as the limits allow."""
        wanted = twist.tolist()
        request, output = self._turn_to, self._output
        request.current_velocity = self._velocity
        request.current_acceleration = self._acceleration_now
        request.target_velocity = _shorten(wanted[:3], self._speeds[0]) + _shorten(wanted[3:], self._speeds[1])
        if self._ruckig.update(request, output) < 0:
            self.restart(self.pose)
            return
        self._move(output.new_position, output.new_velocity, output.new_acceleration, self._speeds)

    def displace(self, pose: Pose, blocked: tuple[bool, ...]) -> None:
        """Move the command to a pose that a bound has put in its place, and stop the `blocked` (6,) axes."""
        self.pose = pose
        self._velocity = [0.0 if stop else v for v, stop in zip(self._velocity, blocked, strict=True)]
        self._acceleration_now = [0.0 if stop else a for a, stop in zip(self._acceleration_now, blocked, strict=True)]

    def _move(
        self, moved: list[float], velocity: list[float], acceleration: list[float], speeds: tuple[float, float]
    ) -> None:
        """Take up a motion by `moved` (6,), its norms cut to what the speeds, or the present ones if higher, allow."""
        linear = max(speeds[0], math.hypot(*self._velocity[:3]))
        angular = max(speeds[1], math.hypot(*self._velocity[3:]))
        step = _shorten(moved[:3], linear * self._period_s)
        turn = _shorten(moved[3:], angular * self._period_s)
        self.pose = Pose(self.pose.position + step, rotations.exp(np.array(turn)) @ self.pose.rotation)
        self._velocity = _shorten(velocity[:3], linear) + _shorten(velocity[3:], angular)
        self._acceleration_now = acceleration


def _minus(left: list[float], right: list[float]) -> list[float]:
    return [x - y for x, y in zip(left, right, strict=True)]


def _shorten(vector: list[float], bound: float) -> list[float]:
    """Return a vector (3,) whose norm is at most a bound."""
    norm = math.hypot(*vector)
    return vector if norm <= bound else [x * bound / norm for x in vector]


def _axis_speeds(feed: list[float], offset: list[float], bound: float) -> list[float]:
    """Return a speed bound for each axis (3,), together `bound` in norm.

    Each is above the axis' feed-forward, and the more so the more the axis has left to go: |feed| + s weight with the s
    that solves the quadratic equation of the norm.
    """
    least = 0.1 * max(map(abs, offset)) + 1e-6
    base, weight = [abs(v) for v in feed], [abs(x) + least for x in offset]
    a = sum(w * w for w in weight)
    b = sum(v * w for v, w in zip(base, weight, strict=True))
    c = sum(v * v for v in base) - bound * bound
    s = (math.sqrt(b * b - a * c) - b) / a
    return [v + s * w for v, w in zip(base, weight, strict=True)]
