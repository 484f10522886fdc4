import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hardware.arms.ur_pose import distance, pose, rotation_vector, six

angle = st.floats(0.0, np.pi)
axis = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1)).filter(lambda v: np.linalg.norm(v) > 0.1)


def rotation(axis, angle):
    return Rotation.from_rotvec(np.array(axis) / np.linalg.norm(axis) * angle).as_matrix()


@given(axis, angle | st.sampled_from([0.0, 1e-9, 1e-5, np.pi - 1e-9, np.pi - 1e-4, np.pi]))
def test_a_rotation_vector_turns_back_into_its_matrix_at_any_angle(axis, angle):
    matrix = rotation(axis, angle)
    vector = rotation_vector(matrix)
    assert np.linalg.norm(vector) <= np.pi + 1e-9
    np.testing.assert_allclose(Rotation.from_rotvec(vector).as_matrix(), matrix, atol=1e-9)


def test_a_gripper_straight_down_is_half_a_turn():
    np.testing.assert_allclose(np.abs(rotation_vector(np.diag([1.0, -1.0, -1.0]))), [np.pi, 0.0, 0.0], atol=1e-12)


@given(axis, angle, st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_six_numbers_and_pose_are_inverse(axis, angle, position):
    vector = np.array([*position, *(np.array(axis) / np.linalg.norm(axis) * angle)])
    back = pose(six(pose(vector)))
    np.testing.assert_allclose(back.position, position)
    np.testing.assert_allclose(back.rotation, pose(vector).rotation, atol=1e-9)


def test_distance_is_in_metres_and_radians():
    here = np.array([0.1, 0.2, 0.3, np.pi - 0.01, 0.0, 0.0])
    there = np.array([0.1, 0.5, 0.7, -(np.pi - 0.01), 0.0, 0.0])
    assert distance(here, there) == (pytest.approx(0.5), pytest.approx(0.02))
