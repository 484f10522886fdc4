"""The one chokepoint between whoever drives and the arm: authority, waypoints, twists, limits and watchdogs.

Pure logic with time as an argument: the lock-step session calls it in process, the arm process at its servo rate. A
tick at time t returns the command that the arm shall reach at t plus one servo period, so a waypoint is commanded at
its time.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from hardware.arms import rotations
from hardware.arms.limits import ArmLimits, Limit, Workspace, approach_speed, leash
from hardware.arms.trajectory import STILL, Curve, Follower, Setpoint
from hardware.clock import NS_PER_S
from hardware.interfaces import ArmState, Safety, Teleop
from hardware.poses import ACTION_DIM, Array, Pose, action_vector


class Authority(IntEnum):
    """Who may move the arm; RETURN is the controller itself, on the way back to the start."""

    HOLD = 0
    LEARNER = 1
    EXPERT = 2
    RETURN = 3


@dataclass(frozen=True)
class Start:
    """Where episodes start: a pose, and a gripper opening to take there, or None to leave the gripper as it is."""

    base_from_tcp: Pose
    opening: float | None = None


@dataclass(frozen=True)
class Chunk:
    """The learner's waypoints: `actions` (n, 10) base_from_tcp, each to be reached at its time in `times_ns` (n,).

    `observation_ns` is the time of the observation that they were computed from. Hand over more waypoints than will be
    executed: the arm comes to rest at the last one.
    """

    observation_ns: int
    times_ns: NDArray[np.int64]
    actions: Array
    version: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why something was not done, in one sentence; `unfit`: whoever sent it is out of order, and not merely late."""

    sentence: str
    unfit: bool = False


@dataclass(frozen=True)
class Command:
    """What one tick sends: the pose for the end of the servo period, and the gripper's opening.

    `proposed` is what the driver asked for before any limit; `limited` says which bounds acted; `stopped` is the
    sentence of a stop that the controller itself has made, else None.
    """

    base_from_tcp: Pose
    gripper: float
    authority: Authority
    proposed: Pose
    limited: frozenset[Limit] = frozenset()
    stopped: str | None = None


class _Plan:
    """Waypoints in force, (n, 10): the curve through what the limits allow of them, and which bounds acted."""

    def __init__(self, times_ns: NDArray[np.int64], waypoints: Array, velocity: Array, workspace: Workspace) -> None:
        self.times_ns = times_ns
        self.waypoints = waypoints
        self.end_ns = int(times_ns[-1])
        matrices = rotations.from_6d(waypoints[:, 3:9])
        positions, self.limited = workspace.clip(waypoints[:, :3], matrices)
        self._cut = waypoints[:, :3] - positions
        self._curve = Curve(times_ns, positions, matrices, velocity)
        self._newest = (self.end_ns, self._curve.at(self.end_ns))

    def at(self, time_ns: int) -> Setpoint:
        """Return the allowed target at a time."""
        if self._newest[0] != time_ns:
            self._newest = (time_ns, self._curve.at(time_ns))
        return self._newest[1]

    def proposed(self, time_ns: int) -> tuple[Pose, float]:
        """Return pose and opening that the waypoint ahead of a time asked for."""
        target = self.at(time_ns).pose
        i = min(int(self.times_ns.searchsorted(time_ns)), len(self.times_ns) - 1)
        return Pose(target.position + self._cut[i], target.rotation), float(self.waypoints[i, 9])


SPEED_LAG_M = 0.002
SPEED_LAG_RAD = 0.01
NEAR_M = 0.005
NEAR_RAD = 0.03
NEAR_OPENING = 0.1
"""How near the measured pose and opening have to be to the start."""


class ArmController:
    """Decides the command of every tick. The command is integrated on the last command, never on the measured pose."""

    def __init__(self, limits: ArmLimits, servo_period_s: float) -> None:
        self.limits = limits
        self.authority = Authority.HOLD
        self.watermark_ns = 0
        self._period_s = servo_period_s
        self._period_ns = round(servo_period_s * NS_PER_S)
        self._workspace = Workspace(limits)
        self._reaction_s = servo_period_s + limits.max_acceleration_m_s2 / limits.max_jerk_m_s3
        self._follower: Follower | None = None
        self._gripper = 1.0
        self._command_ns = 0
        self._teleop: Teleop | None = None
        self._start: Start | None = None
        self.at_start = False
        self._forget()

    def _forget(self) -> None:
        self._plan: _Plan | None = None
        self._observation_ns = self.watermark_ns
        self._slew_until_ns: int | None = None

    @property
    def commanded(self) -> Pose | None:
        """The last command, base_from_tcp, None before the arm has been seen."""
        return self._follower.pose if self._follower else None

    @property
    def gripper(self) -> float:
        """The last commanded opening."""
        return self._gripper

    def restart(self, base_from_tcp: Pose, gripper: float, now_ns: int) -> None:
        """Take a measured pose and opening as the command, at rest, as when something else has moved the arm."""
        if self._follower is None:
            self._follower = Follower(self.limits, self._period_s, base_from_tcp)
        self._follower.restart(base_from_tcp)
        self._gripper = gripper
        self._command_ns = now_ns
        self._plan = None

    def adopt_gripper(self, opening: float) -> None:
        """Take a measured opening, 0 closed and 1 open, as the command, as when the gripper did not obey the last."""
        self._gripper = opening

    def take_over(self, now_ns: int) -> None:
        """Give the arm to the expert; the learner's waypoints are dropped."""
        self._change(Authority.EXPERT, now_ns)

    def hand_back(self, now_ns: int) -> None:
        """Give the arm to the learner, who must first send a chunk computed from an observation not before now."""
        self._change(Authority.LEARNER, now_ns)

    def hold(self, now_ns: int) -> None:
        """Decelerate and hold; the learner's waypoints are dropped."""
        self._change(Authority.HOLD, now_ns)

    def return_to(self, start: Start, now_ns: int) -> None:
        """Take the arm back: straight up to the start's height, then straight to it, at the slew speeds.

        `at_start` tells when the measured pose and opening are there.
        """
        self._change(Authority.RETURN, now_ns)
        self._start = start

    def _change(self, authority: Authority, now_ns: int) -> None:
        self.authority = authority
        self.at_start = False
        self.watermark_ns = now_ns
        self._forget()

    def schedule(self, chunk: Chunk, now_ns: int) -> Refusal | None:
        """Queue the learner's waypoints, replacing those later than the chunk's first one; past ones are skipped."""
        follower = self._follower
        if follower is None:
            return Refusal("The arm's state is not known yet, so no waypoints are taken.")
        if self.authority is not Authority.LEARNER:
            return Refusal(f"The learner's waypoints were refused because the authority is {self.authority.name}.")
        actions, times_ns = np.asarray(chunk.actions, dtype=np.float64), np.asarray(chunk.times_ns, dtype=np.int64)
        n = len(times_ns) if times_ns.ndim == 1 else 0
        if n == 0 or actions.shape != (n, ACTION_DIM):
            return Refusal(
                f"A chunk has times (n,) and actions (n, {ACTION_DIM}), not {times_ns.shape} and {actions.shape}.",
                unfit=True,
            )
        if not np.isfinite(actions).all():
            return Refusal("The learner's waypoints hold numbers that are not finite.", unfit=True)
        if not rotations.defined(actions[:, 3:9]):
            return Refusal("The learner's waypoints hold six numbers that tell no rotation.", unfit=True)
        if (times_ns[1:] <= times_ns[:-1]).any():
            return Refusal("The times of the learner's waypoints do not rise.", unfit=True)
        if chunk.observation_ns < self.watermark_ns:
            late_s = (self.watermark_ns - chunk.observation_ns) / NS_PER_S
            return Refusal(f"The learner's waypoints were computed {late_s:.3f} s before the last change of authority.")
        if chunk.observation_ns < self._observation_ns:
            return Refusal("The learner's waypoints were computed from an older observation than those in force.")
        start_ns = max(self._command_ns, now_ns - self._period_ns)
        ahead = int(times_ns.searchsorted(start_ns, side="right"))
        if ahead == n:
            return Refusal(f"All of the learner's waypoints are past by {(start_ns - times_ns[-1]) / NS_PER_S:.3f} s.")
        if self._slew_until_ns is None:
            self._slew_until_ns = now_ns + round(self.limits.slew_s * NS_PER_S)
        self._observation_ns = chunk.observation_ns
        self._plan = self._join(follower, start_ns, times_ns[ahead:], actions[ahead:])
        return None

    def _join(self, follower: Follower, start_ns: int, times_ns: NDArray[np.int64], actions: Array) -> _Plan:
        """Return a plan from the present command, through the waypoints kept before `times_ns`, through the actions."""
        times, waypoints = [np.array([start_ns])], [action_vector(follower.pose, self._gripper)[None]]
        if self._plan is not None:
            kept = self._plan.times_ns
            keep = slice(int(kept.searchsorted(start_ns, side="right")), int(kept.searchsorted(times_ns[0])))
            times.append(kept[keep])
            waypoints.append(self._plan.waypoints[keep])
        times.append(times_ns)
        waypoints.append(actions)
        path = np.concatenate(waypoints)
        path[:, 9] = np.minimum(np.maximum(path[:, 9], 0.0), 1.0)
        return _Plan(np.concatenate(times), path, follower.velocity, self._workspace)

    def teleop(self, reading: Teleop) -> Refusal | None:
        """Take the newest reading of the expert's device, whoever drives.

        While she drives, its twist lasts until the next reading, or fades out when the device is silent.
        """
        if not (np.shape(reading.twist) == (6,) and np.isfinite(reading.twist).all() and np.isfinite(reading.gripper)):
            return Refusal("The input device's reading holds numbers that are not six, or not finite.")
        self._teleop = reading
        return None

    def tick(self, now_ns: int, state: ArmState, gripper_measured: float) -> Command:
        """Return the command for the servo period that starts now."""
        follower = self._follower
        if follower is None:
            self.restart(state.base_from_tcp, gripper_measured, now_ns)
            return self.tick(now_ns, state, gripper_measured)
        if now_ns - self._command_ns > self.limits.command_timeout_s * NS_PER_S:
            # Without commands for so long the arm has come to rest by itself; going on from the last one would jump.
            follower.restart(state.base_from_tcp)
            self._plan = None
        stopped = self._stop_reason(now_ns, state)
        if stopped:
            limit, sentence = stopped
            if self.authority is not Authority.HOLD:
                self.hold(now_ns)
            if limit is Limit.SAFETY:
                follower.restart(state.base_from_tcp)
            elif limit is Limit.FORCE:
                follower.follow(Setpoint(state.base_from_tcp))
            else:
                follower.glide(STILL)
            self._command_ns = now_ns + self._period_ns
            return Command(follower.pose, self._gripper, self.authority, follower.pose, frozenset({limit}), sentence)
        start = follower.pose
        self._command_ns = now_ns
        if self.authority is Authority.LEARNER:
            proposed, limited = self._learner(follower, now_ns)
        elif self.authority is Authority.EXPERT:
            proposed, limited = self._expert(follower, now_ns)
        elif self.authority is Authority.RETURN and self._start is not None:
            proposed, limited = self._return(follower, self._start, state, gripper_measured), set()
        else:
            follower.glide(STILL)
            proposed, limited = start, set()
        limited |= self._bound(follower, start, state)
        self._command_ns = now_ns + self._period_ns
        return Command(follower.pose, self._gripper, self.authority, proposed, frozenset(limited))

    def _stop_reason(self, now_ns: int, state: ArmState) -> tuple[Limit, str] | None:
        """Return what stops the arm. The sentence is the same for as long as that lasts, so that it is said once."""
        age_s = (now_ns - state.capture_ns) / NS_PER_S
        force = math.hypot(*state.wrench[:3].tolist())
        if state.safety is not Safety.NORMAL:
            words = state.safety.name.lower().replace("_", " ")
            return Limit.SAFETY, f"The arm reports: {words}."
        if age_s > self.limits.arm_timeout_s:
            return Limit.STALE_ARM, f"The arm's state is more than {self.limits.arm_timeout_s:g} s old."
        if not math.isfinite(float(state.base_from_tcp.position.sum() + state.base_from_tcp.rotation.sum())):
            return Limit.STALE_ARM, "The arm reports a pose that is not finite."
        if not force <= self.limits.max_force_n:
            return Limit.FORCE, f"The force at the tool is more than {self.limits.max_force_n:g} N."
        return None

    def _learner(self, follower: Follower, now_ns: int) -> tuple[Pose, set[Limit]]:
        plan = self._plan
        if plan is None:
            start = follower.pose
            follower.glide(STILL)
            return start, {Limit.WAITING}
        limits, limited, end_ns = self.limits, set(plan.limited), now_ns + self._period_ns
        slewing = self._slew_until_ns is not None and now_ns < self._slew_until_ns
        speeds = (limits.slew_speed_m_s, limits.slew_rotation_speed_rad_s) if slewing else None
        lag_m, lag_rad = follower.follow(plan.at(now_ns), speeds)
        if lag_m > SPEED_LAG_M or lag_rad > SPEED_LAG_RAD:
            limited.add(Limit.SPEED)
        if now_ns - plan.end_ns > limits.command_timeout_s * NS_PER_S:
            limited.add(Limit.STARVED)
        proposed, self._gripper = plan.proposed(end_ns)
        return proposed, limited

    def _expert(self, follower: Follower, now_ns: int) -> tuple[Pose, set[Limit]]:
        reading, limited = self._teleop, set[Limit]()
        start, twist = follower.pose, STILL
        if reading is not None:
            if now_ns - reading.capture_ns > self.limits.device_timeout_s * NS_PER_S:
                limited.add(Limit.STALE_DEVICE)
            else:
                twist = np.asarray(reading.twist, dtype=np.float64)
                self._gripper = min(max(float(reading.gripper), 0.0), 1.0)
        move = twist * self._period_s
        proposed = Pose(start.position + move[:3], rotations.exp(move[3:]) @ start.rotation)
        low, high = self._workspace.bounds(start)
        braking, reaction_s = 0.5 * self.limits.max_acceleration_m_s2, self._reaction_s
        sinking = approach_speed(start.position - low, braking, reaction_s)
        rising = approach_speed(high - start.position, braking, reaction_s)
        linear = np.minimum(np.maximum(twist[:3], -sinking), rising)
        climb = float(self._workspace.slope(start) @ linear[:2])  # of the floor below the tool
        linear[2] = min(max(twist[2], climb - sinking[2]), rising[2])
        cut = linear != twist[:3]
        table = linear[2] > twist[2] and low[2] > self._workspace.low[2]
        if table:
            limited.add(Limit.TABLE)
        if cut[:2].any() or (cut[2] and not table):
            limited.add(Limit.WORKSPACE)
        follower.glide(np.concatenate([linear, twist[3:]]))
        return proposed, limited

    def _return(self, follower: Follower, start: Start, state: ArmState, opening: float) -> Pose:
        """Move the command on its way back; note when arm and gripper are there."""
        here, goal = follower.pose, start.base_from_tcp
        below = goal.position[2] - here.position[2] > NEAR_M
        aside = math.hypot(*(goal.position - here.position)[:2].tolist()) > NEAR_M
        if below and aside:
            goal = Pose(np.array([*here.position[:2], goal.position[2]]), here.rotation)
        follower.follow(Setpoint(goal), (self.limits.slew_speed_m_s, self.limits.slew_rotation_speed_rad_s))
        arrived = goal is start.base_from_tcp and _near(state.base_from_tcp, goal)
        if arrived and start.opening is not None:
            self._gripper = start.opening
        self.at_start = arrived and (start.opening is None or abs(opening - start.opening) < NEAR_OPENING)
        return goal

    def _bound(self, follower: Follower, start: Pose, state: ArmState) -> set[Limit]:
        """Apply the last bounds, on the pose itself: leash, box and table."""
        limited = set[Limit]()
        pose, pulled = leash(follower.pose, state.base_from_tcp, self.limits)
        if pulled:
            limited.add(Limit.LEASH)
            follower.displace(pose, (True,) * 6)
        if not self._workspace.holds(pose):
            position, acted = self._workspace.confine(pose, start)
            limited |= acted
            blocked = (position != pose.position).tolist()
            follower.displace(Pose(position, pose.rotation), (*blocked, False, False, False))
        return limited


def _near(pose: Pose, goal: Pose) -> bool:
    turn = rotations.log(pose.rotation @ goal.rotation.T)
    return bool(np.linalg.norm(pose.position - goal.position) < NEAR_M and np.linalg.norm(turn) < NEAR_RAD)
