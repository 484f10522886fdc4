"""UR5e kinematics against independent ones."""

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ur_analytic_ik import ur5e

from hardware.cell.kinematics import (
    A2,
    A3,
    D1,
    D4,
    D5,
    D6,
    JOINT_LIMIT_RAD,
    chain,
    forward,
    inverse_step,
)
from hardware.poses import Array, Pose, rotation_matrix, rotation_vector

TOOL = Pose(np.array([0.01, -0.02, 0.15]), rotation_matrix(np.array([0.1, 0.2, 0.3])))
WORKING = np.array([2.86, -1.62, 1.84, -1.8, -1.57, -1.85])
JOINTS = arrays(np.float64, 6, elements=st.floats(-3.1, 3.1))


def random_joints(count: int) -> Array:
    return np.random.default_rng(0).uniform(-np.pi, np.pi, (count, 6))


def test_forward_kinematics_agree_with_an_independent_library_to_a_tenth_of_a_millimetre() -> None:
    for joints in random_joints(1000):
        expected = np.asarray(ur5e.forward_kinematics(*joints))
        pose = forward(joints)
        np.testing.assert_allclose(pose.position, expected[:3, 3], atol=1e-4)
        np.testing.assert_allclose(pose.rotation, expected[:3, :3], atol=1e-4)


def test_forward_kinematics_equal_the_product_of_denavit_hartenberg_transforms() -> None:
    rows = [(0, D1, np.pi / 2), (A2, 0, 0), (A3, 0, 0), (0, D4, np.pi / 2), (0, D5, -np.pi / 2), (0, D6, 0)]
    for joints in random_joints(100):
        product = Pose(np.zeros(3), np.eye(3))
        for angle, (a, d, alpha) in zip(joints, rows, strict=True):
            turn = rotation_matrix(np.array([0.0, 0.0, angle]))
            product = product @ Pose(np.array([0.0, 0.0, d]), turn)
            product = product @ Pose(np.array([a, 0.0, 0.0]), rotation_matrix(np.array([alpha, 0.0, 0.0])))
        expected = product @ TOOL
        pose = forward(joints, TOOL)
        np.testing.assert_allclose(pose.position, expected.position, atol=1e-12)
        np.testing.assert_allclose(pose.rotation, expected.rotation, atol=1e-12)


@given(JOINTS)
def test_the_jacobian_is_the_derivative_of_forward_kinematics(joints: Array) -> None:
    posture = chain(joints, TOOL)
    for column in range(6):
        moved = joints.copy()
        moved[column] += 1e-6
        after = forward(moved, TOOL)
        linear = (after.position - posture.base_from_tcp.position) / 1e-6
        angular = rotation_vector(after.rotation @ posture.base_from_tcp.rotation.T) / 1e-6
        np.testing.assert_allclose(np.append(linear, angular), posture.jacobian[:, column], atol=1e-5)


@given(arrays(np.float64, 6, elements=st.floats(-0.3, 0.3)))
def test_repeated_inverse_steps_arrive_at_a_pose_in_the_neighbourhood(offset: Array) -> None:
    target = forward(WORKING + offset, TOOL)
    joints = WORKING
    for _ in range(30):
        joints = inverse_step(joints, target, TOOL, max_step_rad=0.3)
    reached = forward(joints, TOOL)
    np.testing.assert_allclose(reached.position, target.position, atol=1e-6)
    np.testing.assert_allclose(reached.rotation, target.rotation, atol=1e-6)


@given(JOINTS, JOINTS, st.floats(0.001, 0.1))
def test_an_inverse_step_obeys_the_speed_limit_for_any_target_and_posture(
    joints: Array, goal: Array, limit: float
) -> None:
    moved = inverse_step(joints, forward(goal, TOOL), TOOL, max_step_rad=limit)
    assert np.abs(moved - joints).max() <= limit * (1 + 1e-9)


def test_an_inverse_step_never_leaves_the_joint_limits() -> None:
    at_limit = np.array([2 * np.pi, -1.62, 1.84, -1.8, -1.57, -1.85])
    beyond = forward(at_limit + np.array([0.05, 0, 0, 0, 0, 0]), TOOL)
    moved = at_limit
    for _ in range(20):
        moved = inverse_step(moved, beyond, TOOL, max_step_rad=0.05)
        assert (np.abs(moved) <= JOINT_LIMIT_RAD).all()


def test_the_step_bends_but_stays_finite_at_a_singularity() -> None:
    straight = np.array([0.0, -np.pi / 2, 0.0, -np.pi / 2, 0.0, 0.0])
    further = Pose(forward(straight).position + np.array([0.0, 0.0, 0.1]), forward(straight).rotation)
    moved = straight
    for _ in range(50):
        moved = inverse_step(moved, further, Pose(np.zeros(3), np.eye(3)), max_step_rad=0.03)
    assert np.isfinite(moved).all()
    np.testing.assert_allclose(forward(moved).position[2], forward(straight).position[2], atol=0.02)


def test_an_inverse_step_takes_less_than_60_microseconds() -> None:
    target = forward(WORKING + 0.01, TOOL)
    batches = []
    for _ in range(40):
        start = time.process_time_ns()
        for _ in range(50):
            inverse_step(WORKING, target, TOOL, max_step_rad=0.03)
        batches.append((time.process_time_ns() - start) / 50)
    assert min(batches) < 60_000
