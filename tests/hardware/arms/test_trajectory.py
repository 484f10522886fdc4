from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hardware.arms import rotations
from hardware.arms.limits import ArmLimits
from hardware.arms.trajectory import STILL, Curve, Follower, Setpoint
from hardware.poses import Array, Pose

LIMITS = ArmLimits()
SPAN_NS = 100_000_000
PERIODS_S = (0.002, 0.008, 0.01)
START = Pose(np.array([0.5, 0.0, 0.3]), rotations.exp(np.array([np.pi, 0.0, 0.0])))
steps = npst.arrays(np.float64, (8, 6), elements=st.floats(-0.02, 0.02))


def path(step: Array, turn_scale: float = 3.0) -> tuple[Array, Array, Array]:
    """Waypoints 0.1 s apart, by steps (n, 6) of metres and, scaled, radians."""
    positions, matrices = [START.position], [START.rotation]
    for row in step:
        positions.append(positions[-1] + row[:3])
        matrices.append(rotations.exp(turn_scale * row[3:]) @ matrices[-1])
    return np.arange(len(positions)) * SPAN_NS, np.stack(positions), np.stack(matrices)


def angle(a: Array, b: Array) -> float:
    return float(np.linalg.norm(rotations.log(a @ b.T)))


def run(follower: Follower, curve: Curve, period_s: float, until_ns: int) -> list[tuple[int, Pose, Array]]:
    period_ns, now_ns, track = round(period_s * 1e9), 0, []
    while now_ns < until_ns:
        follower.follow(curve.at(now_ns))
        now_ns += period_ns
        track.append((now_ns, follower.pose, follower.velocity))
    return track


@settings(max_examples=40, deadline=None)
@given(steps)
def test_a_curve_meets_every_waypoint_at_its_time(step: Array) -> None:
    times, positions, matrices = path(step)
    curve = Curve(times, positions, matrices)
    for time_ns, position, matrix in zip(times, positions, matrices, strict=True):
        for moment in (int(time_ns), int(time_ns) - 1):
            target = curve.at(moment)
            np.testing.assert_allclose(target.pose.position, position, atol=1e-8)
            assert angle(target.pose.rotation, matrix) < 1e-6


@settings(max_examples=40, deadline=None)
@given(steps)
def test_a_curve_never_leaves_the_box_between_two_waypoints(step: Array) -> None:
    times, positions, matrices = path(step)
    curve = Curve(times, positions, matrices)
    for i in range(len(step)):
        low, high = np.minimum(positions[i], positions[i + 1]), np.maximum(positions[i], positions[i + 1])
        for moment in np.linspace(times[i], times[i + 1], 13).astype(int):
            position = curve.at(int(moment)).pose.position
            assert (position >= low - 1e-9).all()
            assert (position <= high + 1e-9).all()


@given(steps, st.floats(0.01, 0.79))
def test_velocity_and_acceleration_of_a_curve_are_its_derivatives(step: Array, moment_s: float) -> None:
    times, positions, matrices = path(step, turn_scale=0.0)
    curve = Curve(times, positions, matrices)
    here, eps = round(moment_s * 1e9), 1000
    if (here - eps) // SPAN_NS != (here + eps) // SPAN_NS:
        return
    before, middle, after = curve.at(here - eps), curve.at(here), curve.at(here + eps)
    velocity = (after.pose.position - before.pose.position) / (2e-9 * eps)
    np.testing.assert_allclose(middle.velocity[:3], velocity, atol=1e-5)
    acceleration = (after.velocity - before.velocity) / (2e-9 * eps)
    np.testing.assert_allclose(middle.acceleration, acceleration, atol=1e-3)


def test_a_curve_starts_with_the_given_velocity_and_rests_outside() -> None:
    times, positions, matrices = path(np.full((3, 6), 0.01))
    velocity = np.array([0.1, 0.0, -0.1, 0.2, 0.0, 0.0])
    curve = Curve(times, positions, matrices, velocity)
    np.testing.assert_allclose(curve.at(0).velocity, velocity)
    assert curve.at(int(times[-1])).velocity is STILL
    assert curve.at(int(times[-1]) + 10**9).pose.position is not None
    np.testing.assert_array_equal(curve.at(-5).pose.position, positions[0])
    np.testing.assert_array_equal(curve.at(int(times[-1]) + 5).pose.position, positions[-1])


def test_a_curve_turns_along_the_shortest_way_even_past_half_a_turn_of_total_rotation() -> None:
    axis = np.array([0.0, 0.0, 1.0])
    angles = np.linspace(0.0, 5.0, 11)
    matrices = np.stack([rotations.exp(a * axis) for a in angles])
    curve = Curve(np.arange(11) * SPAN_NS, np.zeros((11, 3)), matrices)
    turned = sum(
        angle(curve.at(k * SPAN_NS // 10 + SPAN_NS // 10).pose.rotation, curve.at(k * SPAN_NS // 10).pose.rotation)
        for k in range(100)
    )
    assert turned == pytest.approx(5.0, abs=1e-6)


@pytest.mark.parametrize("period_s", PERIODS_S)
def test_an_unhurried_target_is_followed_within_a_millimetre(period_s: float) -> None:
    t = np.arange(40) * 0.1
    positions = START.position + 0.06 * np.stack([np.sin(1.3 * t), np.cos(2 * t) - 1, np.sin(1.7 * t)], axis=1)
    turns = 0.3 * np.stack([np.sin(t), np.cos(1.2 * t) - 1, 0.5 * np.sin(2 * t)], axis=1)
    matrices = np.stack([rotations.exp(turn) @ START.rotation for turn in turns])
    curve = Curve(np.arange(40) * SPAN_NS, positions, matrices)
    for now_ns, pose, _ in run(Follower(LIMITS, period_s, START), curve, period_s, int(3.9e9)):
        if now_ns > 300_000_000:
            target = curve.at(now_ns).pose
            assert np.linalg.norm(pose.position - target.position) < 1e-3
            assert angle(pose.rotation, target.rotation) < 1e-2


@settings(max_examples=25, deadline=None)
@given(
    npst.arrays(np.float64, (12, 6), elements=st.floats(-0.08, 0.08)),
    st.sampled_from(PERIODS_S),
)
def test_whatever_the_target_speed_acceleration_and_jerk_stay_in_their_bounds(step: Array, period_s: float) -> None:
    curve = Curve(*path(step, turn_scale=5.0))
    follower = Follower(LIMITS, period_s, START)
    velocity, before = np.zeros(6), START
    for _, pose, after in run(follower, curve, period_s, int(1.3e9)):
        moved = np.linalg.norm(pose.position - before.position)
        assert moved <= LIMITS.max_speed_m_s * period_s + 1e-9
        assert angle(pose.rotation, before.rotation) <= LIMITS.max_rotation_speed_rad_s * period_s + 1e-6
        change = np.abs(after - velocity) / period_s
        assert change[:3].max() <= LIMITS.max_acceleration_m_s2 * 1.8
        assert change[3:].max() <= LIMITS.max_rotation_acceleration_rad_s2 * 1.8
        velocity, before = after, pose


@settings(max_examples=20, deadline=None)
@given(npst.arrays(np.float64, 6, elements=st.floats(-0.3, 0.3)), st.sampled_from(PERIODS_S))
def test_a_twist_is_taken_up_and_given_up_within_the_bounds(twist: Array, period_s: float) -> None:
    follower = Follower(LIMITS, period_s, START)
    velocity = np.zeros(6)
    wanted = twist.copy()
    norm = np.linalg.norm(twist[:3])
    if norm > LIMITS.max_speed_m_s:
        wanted[:3] *= LIMITS.max_speed_m_s / norm
    acceleration = np.zeros(6)
    for goal in (twist, STILL):
        for _ in range(round(0.3 / period_s)):
            follower.glide(goal)
            now = (follower.velocity - velocity) / period_s
            assert np.abs(now[:3]).max() <= LIMITS.max_acceleration_m_s2 + 1e-6
            assert np.abs(now[:3] - acceleration[:3]).max() <= LIMITS.max_jerk_m_s3 * period_s + 1e-6
            velocity, acceleration = follower.velocity, now
        np.testing.assert_allclose(follower.velocity, wanted if goal is twist else STILL, atol=1e-6)


def test_a_target_that_was_left_behind_is_caught_up_with_and_rested_at() -> None:
    follower = Follower(LIMITS, 0.01, START)
    goal = Setpoint(
        Pose(START.position + np.array([0.1, -0.05, 0.02]), rotations.exp(np.array([0, 0, 0.8])) @ START.rotation)
    )
    lags = [follower.follow(goal)[0] for _ in range(100)]
    assert lags[0] > 0.1
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(lags))
    np.testing.assert_allclose(follower.pose.position, goal.pose.position, atol=1e-6)
    assert angle(follower.pose.rotation, goal.pose.rotation) < 1e-5
    np.testing.assert_allclose(follower.velocity, 0.0, atol=1e-6)


def test_slower_speeds_are_kept_when_asked_for() -> None:
    follower = Follower(LIMITS, 0.01, START)
    goal = Setpoint(Pose(START.position + np.array([0.2, 0.1, 0.0]), START.rotation))
    for _ in range(40):
        follower.follow(goal, (0.05, 0.5))
        assert np.linalg.norm(follower.velocity[:3]) <= 0.05 + 1e-9
    assert np.linalg.norm(follower.velocity[:3]) > 0.045


@pytest.mark.parametrize("asked", [(1.0, 5.0), (1.0, 0.1), (0.02, 5.0)])
def test_whatever_speeds_are_asked_for_the_limits_own_are_kept(asked: tuple[float, float]) -> None:
    limits = ArmLimits(max_speed_m_s=0.05, max_rotation_speed_rad_s=0.3)
    follower = Follower(limits, 0.01, START)
    goal = Setpoint(
        Pose(START.position + np.array([0.2, 0.1, 0.0]), rotations.exp(np.array([0, 0, 1.0])) @ START.rotation)
    )
    track = np.array([follower.velocity for _ in range(100) if follower.follow(goal, asked)])
    fastest = np.linalg.norm(track[:, :3], axis=1).max(), np.linalg.norm(track[:, 3:], axis=1).max()
    assert fastest == pytest.approx((min(0.05, asked[0]), min(0.3, asked[1])), rel=0.02)
