import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ur_analytic_ik import ur5e

from hardware.arms.ur_pose import pose, six
from hardware.cell.kinematics import IDENTITY
from hardware.emulation.kinematics import inverse, tcp_pose, twist
from hardware.emulation.motions import Decelerate, MoveJoints, MoveLine, Servo, SpeedJoints, SpeedLine, Trapezoid
from hardware.emulation.robot import HOME_JOINTS_RAD
from hardware.poses import Pose, rotation_matrix

CYCLE_S = 0.002
joint = st.floats(-2.0, 2.0)


def play(motion, seconds=10.0, joints=HOME_JOINTS_RAD):
    """Run a motion; return the targets (n, 6), one a cycle, with the start in front."""
    targets, velocities = [joints.copy()], np.zeros(6)
    for _ in range(round(seconds / CYCLE_S)):
        target = motion.step(targets[-1], velocities, CYCLE_S)
        velocities = (target - targets[-1]) / CYCLE_S
        targets.append(target)
        if motion.done:
            break
    return np.array(targets)


@given(st.lists(joint, min_size=6, max_size=6))
def test_forward_kinematics_agrees_with_an_independent_package(joints):
    expected = np.array(ur5e.forward_kinematics(*joints))
    reached = tcp_pose(np.array(joints), IDENTITY)
    np.testing.assert_allclose(reached.position, expected[:3, 3], atol=1e-6)
    np.testing.assert_allclose(reached.rotation, expected[:3, :3], atol=1e-6)


@given(st.lists(st.floats(-0.15, 0.15), min_size=6, max_size=6))
def test_inverse_kinematics_finds_the_near_solution(offset):
    truth = HOME_JOINTS_RAD + np.array(offset)
    flange_from_tcp = pose((0.0, 0.02, 0.1, 0.3, 0.0, 0.0))
    found = inverse(tcp_pose(truth, flange_from_tcp), HOME_JOINTS_RAD, flange_from_tcp)
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_inverse_kinematics_says_when_a_pose_is_out_of_reach():
    assert inverse(Pose(np.array([3.0, 0.0, 0.0]), np.eye(3)), HOME_JOINTS_RAD, IDENTITY) is None


@given(st.floats(1e-4, 3.0), st.floats(0.05, 2.0), st.floats(0.1, 5.0))
def test_a_trapezoid_keeps_speed_and_acceleration_and_ends_exactly(length, speed, acceleration):
    profile = Trapezoid(length, speed, acceleration)
    cycles = int(profile.duration_s / CYCLE_S) + 3
    way = np.array([0.0, *(profile.advance(CYCLE_S) for _ in range(cycles))]) * length
    velocity = np.diff(way) / CYCLE_S
    assert way[-1] == length
    assert (velocity >= -1e-9).all()
    assert velocity.max() <= speed * 1.001 + 1e-6
    assert np.abs(np.diff(velocity[:-2])).max(initial=0.0) <= acceleration * CYCLE_S * 1.01 + 1e-6


def test_movej_ends_at_its_target():
    target = HOME_JOINTS_RAD + np.array([0.3, -0.1, 0.2, 0.0, 0.1, -0.4])
    np.testing.assert_allclose(play(MoveJoints(HOME_JOINTS_RAD, target, 1.0, 2.0))[-1], target, atol=1e-12)


def test_movel_stays_on_the_line_and_turns_evenly():
    start = tcp_pose(HOME_JOINTS_RAD, IDENTITY)
    turn = rotation_matrix(np.array([0.0, 0.0, 0.4]))
    target = Pose(start.position + np.array([0.05, 0.1, -0.05]), turn @ start.rotation)
    path = [tcp_pose(joints, IDENTITY) for joints in play(MoveLine(start, target, 0.25, 1.0, IDENTITY))]
    along = (target.position - start.position) / np.linalg.norm(target.position - start.position)
    for waypoint in path[::20]:
        offset = waypoint.position - start.position
        assert np.linalg.norm(offset - along * (offset @ along)) < 1e-6
    np.testing.assert_allclose(six(path[-1]), six(target), atol=1e-6)


def test_servoj_reaches_its_target_and_goes_on_holding_it():
    motion = Servo(HOME_JOINTS_RAD + 0.02, lookahead_s=0.05)
    targets = play(motion, seconds=1.0)
    assert not motion.done
    np.testing.assert_allclose(targets[-1], HOME_JOINTS_RAD + 0.02, atol=1e-6)
    assert np.abs(targets[25] - HOME_JOINTS_RAD - 0.02).max() > 0.005


def test_stopping_ends_in_time_at_rest():
    velocities = np.array([0.5, -0.2, 0.0, 0.1, 0.0, 0.0])
    motion = Decelerate(velocities, duration_s=0.1)
    targets = play(motion)
    assert len(targets) - 1 == pytest.approx(0.1 / CYCLE_S, abs=1)
    np.testing.assert_allclose(targets[-1] - HOME_JOINTS_RAD, velocities * 0.05, rtol=0.05, atol=1e-9)


def test_speedj_ramps_up_and_keeps_going():
    targets = play(SpeedJoints(np.array([0.2, 0, 0, 0, 0, 0]), acceleration=1.0), seconds=1.0)
    velocity = np.diff(targets[:, 0]) / CYCLE_S
    assert np.diff(velocity).max() <= 1.0 * CYCLE_S + 1e-9
    assert velocity[-1] == pytest.approx(0.2)


def test_speedl_moves_the_tool_at_the_twist():
    wanted = np.array([0.05, -0.02, 0.01, 0.0, 0.0, 0.1])
    targets = play(SpeedLine(wanted, 1.0, IDENTITY, np.zeros(6)), seconds=0.5)
    velocities = (targets[-1] - targets[-2]) / CYCLE_S
    np.testing.assert_allclose(twist(targets[-2], velocities, IDENTITY), wanted, atol=1e-6)
