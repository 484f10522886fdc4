import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from hardware.arms import rotations
from hardware.poses import Array, rotation_from_6d, rotation_matrix

vectors = npst.arrays(np.float64, 3, elements=st.floats(-1.8, 1.8))


@given(vectors)
def test_exp_is_rodrigues_formula(vector: Array) -> None:
    np.testing.assert_allclose(rotations.exp(vector), rotation_matrix(vector), atol=1e-9)


@given(vectors)
def test_log_undoes_exp(vector: Array) -> None:
    rotation = rotations.exp(vector)
    np.testing.assert_allclose(rotations.exp(rotations.log(rotation)), rotation, atol=1e-7)
    if np.linalg.norm(vector) < 3.1:
        np.testing.assert_allclose(rotations.log(rotation), vector, atol=1e-7)


@given(vectors)
def test_log_is_right_at_and_next_to_half_a_turn(vector: Array) -> None:
    norm = np.linalg.norm(vector)
    axis = vector / norm if norm > 1e-3 else np.array([0.0, 0.0, 1.0])
    for angle in (np.pi, np.pi - 1e-9, np.pi - 1e-5, np.pi - 1e-3):
        rotation = rotation_matrix(axis * angle)
        np.testing.assert_allclose(rotation_matrix(rotations.log(rotation)), rotation, atol=1e-6)


@given(npst.arrays(np.float64, (5, 3), elements=st.floats(-1.8, 1.8)), st.booleans())
def test_a_batch_of_logs_is_the_same_as_one_by_one(vectors: Array, with_half_a_turn: bool) -> None:
    if with_half_a_turn:
        vectors[2] = [0.0, np.pi, 0.0]
    matrices = np.stack([rotation_matrix(vector) for vector in vectors])
    np.testing.assert_allclose(rotations.logs(matrices), [rotations.log(matrix) for matrix in matrices], atol=1e-9)


@given(npst.arrays(np.float64, (3, 6), elements=st.floats(-1.0, 1.0)))
def test_a_batch_of_six_numbers_that_tell_a_rotation_is_the_same_as_one_by_one(six: Array) -> None:
    assume(rotations.defined(six))
    matrices = rotations.from_6d(six)
    np.testing.assert_allclose(matrices @ matrices.transpose(0, 2, 1), [np.eye(3)] * 3, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-9)
    np.testing.assert_allclose(rotations.from_6d(six), [rotation_from_6d(row) for row in six], atol=1e-9)


def test_logs_of_none_is_empty() -> None:
    assert rotations.logs(np.zeros((0, 3, 3))).shape == (0, 3)


def test_zeros_and_parallel_columns_tell_no_rotation() -> None:
    assert rotations.defined(np.array([[1.0, 0, 0, 0, 1, 0]]))
    assert not rotations.defined(np.zeros((1, 6)))
    assert not rotations.defined(np.array([[1.0, 0, 0, 1, 0, 0]]))
    assert not rotations.defined(np.array([[1.0, 0, 0, 0, 1, 0], [0.0, 0, 0, 0, 1, 0]]))
