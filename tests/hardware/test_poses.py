import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hardware.poses import (
    Pose,
    action_vector,
    integrate_twist,
    pose_from_vector,
    pose_vector,
    rotation_matrix,
    rotation_vector,
)

small = st.floats(-3.0, 3.0)
vectors = st.tuples(small, small, small).map(np.array)


def some_pose(position: np.ndarray, turn: np.ndarray) -> Pose:
    return Pose(position, rotation_matrix(turn))


@given(vectors)
def test_the_rotation_matrix_is_that_of_an_independent_implementation(turn: np.ndarray) -> None:
    np.testing.assert_allclose(rotation_matrix(turn), Rotation.from_rotvec(turn).as_matrix(), atol=1e-12)


@given(vectors.filter(lambda v: np.linalg.norm(v) < 3.1))
def test_the_rotation_vector_inverts_the_rotation_matrix(turn: np.ndarray) -> None:
    np.testing.assert_allclose(rotation_vector(rotation_matrix(turn)), turn, atol=1e-7)


@given(vectors, vectors)
def test_a_pose_survives_its_nine_numbers_and_the_ten_of_an_action(position: np.ndarray, turn: np.ndarray) -> None:
    pose = some_pose(position, turn)
    for numbers in (pose_vector(pose), action_vector(pose, 0.5)):
        back = pose_from_vector(numbers)
        np.testing.assert_allclose(back.position, pose.position)
        np.testing.assert_allclose(back.rotation, pose.rotation, atol=1e-12)


@given(vectors, vectors)
def test_a_pose_times_its_inverse_is_the_identity(position: np.ndarray, turn: np.ndarray) -> None:
    pose = some_pose(position, turn)
    back = pose @ pose.inverse()
    np.testing.assert_allclose(back.position, np.zeros(3), atol=1e-9)
    np.testing.assert_allclose(back.rotation, np.eye(3), atol=1e-9)


def test_a_twist_moves_and_turns_about_the_tcp_in_base_axes() -> None:
    turned = some_pose(np.array([0.4, 0.1, 0.2]), np.array([np.pi, 0.0, 0.0]))
    moved = integrate_twist(turned, np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.5]), 2.0)
    np.testing.assert_allclose(moved.position, [0.4, 0.1, 0.4])
    np.testing.assert_allclose(moved.rotation, rotation_matrix(np.array([0.0, 0.0, 1.0])) @ turned.rotation, atol=1e-12)
