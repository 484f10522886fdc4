from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pydantic import ValidationError

from hardware.arms import rotations
from hardware.arms.limits import ArmLimits, Limit, TaughtWorkspace, Workspace, approach_speed, leash
from hardware.poses import Array, Pose

LIMITS = ArmLimits()
WORKSPACE = Workspace(LIMITS)
DOWN = rotations.exp(np.array([np.pi, 0.0, 0.0]))
points = npst.arrays(np.float64, 3, elements=st.floats(-2.0, 2.0))
tilts = npst.arrays(np.float64, 3, elements=st.floats(-3.0, 3.0))


def lowest_tool_point(pose: Pose) -> float:
    return min(float((pose.position + pose.rotation @ point)[2]) for point in [(0, 0, 0), *LIMITS.tool_points_m])


@given(points, tilts)
def test_a_clipped_pose_is_in_the_box_and_every_tool_point_above_the_table(position: Array, tilt: Array) -> None:
    rotation = rotations.exp(tilt)
    clipped, limited = WORKSPACE.clip(position, rotation)
    assert (clipped >= np.array(LIMITS.workspace_min_m) - 1e-12).all()
    assert (clipped <= np.array(LIMITS.workspace_max_m) + 1e-12).all()
    assert lowest_tool_point(Pose(clipped, rotation)) >= LIMITS.table_height_m - 1e-9
    assert bool(limited) == bool((clipped != position).any())
    assert WORKSPACE.holds(Pose(clipped, rotation))


def test_what_acted_is_named() -> None:
    low = np.array([0.5, 0.0, 0.001])
    np.testing.assert_allclose(WORKSPACE.clip(low, DOWN)[0], [0.5, 0.0, 0.012], atol=1e-9)
    assert WORKSPACE.clip(low, DOWN)[1] == {Limit.TABLE}
    assert WORKSPACE.clip(np.array([2.0, 0.0, 0.3]), DOWN)[1] == {Limit.WORKSPACE}
    assert WORKSPACE.clip(np.array([0.5, 0.0, 0.3]), DOWN)[1] == frozenset()


def test_a_batch_is_clipped_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    positions = rng.uniform(-1.0, 1.0, (20, 3))
    matrices = np.stack([rotations.exp(tilt) for tilt in rng.uniform(-1.0, 1.0, (20, 3))])
    clipped, _ = WORKSPACE.clip(positions, matrices)
    for position, matrix, batch in zip(positions, matrices, clipped, strict=True):
        np.testing.assert_array_equal(WORKSPACE.clip(position, matrix)[0], batch)


@given(points, points, tilts)
def test_a_command_that_starts_outside_is_never_let_further_out_nor_pulled_in(a: Array, b: Array, tilt: Array) -> None:
    start, pose = Pose(a, rotations.exp(tilt)), Pose(b, rotations.exp(tilt))
    position, _ = WORKSPACE.confine(pose, start)
    low, high = WORKSPACE.bounds(start)

    def outside(x: Array) -> Array:
        return np.maximum(low - x, 0.0) + np.maximum(x - high, 0.0)

    assert (outside(position) <= np.maximum(outside(a), 0.0) + 1e-9).all()
    still, _ = WORKSPACE.confine(start, start)
    np.testing.assert_allclose(still, a, atol=1e-9)


@given(st.floats(0.0, 2.0), st.floats(0.1, 10.0), st.floats(0.001, 0.2))
def test_a_wall_is_approached_so_that_one_can_stop_before_it(
    distance: float, acceleration: float, reaction_s: float
) -> None:
    speed = float(approach_speed(np.array(distance), acceleration, reaction_s))
    assert speed >= 0.0
    assert speed * reaction_s + speed**2 / (2.0 * acceleration) == pytest.approx(distance, abs=1e-9)


def test_behind_a_wall_the_approach_speed_is_zero() -> None:
    assert approach_speed(np.array([-0.1, 0.0]), 2.0, 0.03).tolist() == [0.0, 0.0]


@given(points, tilts)
def test_the_leash_bounds_the_distance_to_the_measured_pose(offset: Array, turn: Array) -> None:
    measured = Pose(np.array([0.5, 0.1, 0.3]), DOWN)
    command = Pose(measured.position + offset, rotations.exp(turn) @ DOWN)
    pose, pulled = leash(command, measured, LIMITS)
    assert np.linalg.norm(pose.position - measured.position) <= LIMITS.leash_m + 1e-9
    assert np.linalg.norm(rotations.log(pose.rotation @ DOWN.T)) <= LIMITS.leash_rad + 1e-6
    if not pulled:
        assert pose is command


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="below workspace_max_m"):
        ArmLimits(workspace_min_m=(1.0, 0.0, 0.0))
    with pytest.raises(ValidationError):
        ArmLimits(max_speed_m_s=0.0)
    with pytest.raises(ValidationError):
        ArmLimits(table_height_m=float("nan"))


@given(
    st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)), st.floats(-0.05, 0.2), st.booleans(), points, points, tilts
)
def test_with_a_taught_workspace_a_command_is_never_let_further_out_nor_pulled_in(
    lean: tuple[float, float], height: float, boxed: bool, a: Array, b: Array, tilt: Array
) -> None:
    normal = rotations.exp(np.array([*lean, 0.0]))[:, 2].tolist()
    box = {"box_min_m": (0.2, -0.3, -0.1), "box_max_m": (0.7, 0.4, 0.5)} if boxed else {}
    taught = TaughtWorkspace((normal[0], normal[1], normal[2]), height, margin_m=0.002, **box)
    workspace = Workspace(replace(LIMITS, taught=taught))
    start, rotation = Pose(a, rotations.exp(tilt)), rotations.exp(tilt)
    position, _ = workspace.confine(Pose(b, rotation), start)

    def outside(x: Array) -> Array:
        low, high = workspace.bounds(Pose(x, rotation))
        return np.maximum(low - x, 0.0) + np.maximum(x - high, 0.0)

    assert (outside(position) <= outside(a) + 1e-9).all()
    np.testing.assert_allclose(workspace.confine(start, start)[0], a, atol=1e-9)
    clipped, limited = workspace.clip(b, rotation)
    assert workspace.holds(Pose(clipped, rotation))
    assert workspace.holds(Pose(b, rotation)) == (not limited)


def test_a_taught_workspace_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValidationError, match="points up"):
        TaughtWorkspace((0.0, 0.0, -1.0), 0.0)
    with pytest.raises(ValidationError, match="unit vector"):
        TaughtWorkspace((0.0, 0.0, 2.0), 0.0)
    with pytest.raises(ValidationError, match="belong together"):
        TaughtWorkspace((0.0, 0.0, 1.0), 0.0, box_min_m=(0.0, 0.0, 0.0))


def test_every_limit_is_a_sentence() -> None:
    assert all(limit.value.endswith(".") and " " in limit.value for limit in Limit)
