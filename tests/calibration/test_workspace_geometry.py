"""Planes fitted to touches, boxes spanned by corners, and the limits that follow: against truth, for any table."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.errors import CalibrationError, NotGoodEnoughError
from calibration.files import Calibration, Kind, pose_entry
from calibration.workspace import (
    CELL,
    Box,
    Plane,
    box_of,
    box_values,
    contacts,
    edge_heights,
    fit_table,
    missing_corners,
    missing_touches,
    plane_of,
    span_box,
    taught_limits,
)
from hardware.arms.limits import ArmLimits, Workspace
from hardware.poses import Array, Pose, rotation_matrix

TOOL = np.array([(0.0, 0.0, 0.0), *ArmLimits().tool_points_m])
DOWN = rotation_matrix(np.array([np.pi, 0.0, 0.0]))
FIVE = ((0.3, -0.3), (0.3, 0.3), (0.45, 0.0), (0.65, -0.3), (0.65, 0.3))
tilts = st.tuples(st.floats(-0.15, 0.15), st.floats(-0.15, 0.15))
heights = st.floats(-0.1, 0.1)


def plane(tilt: tuple[float, float], height: float) -> Plane:
    normal = rotation_matrix(np.array([*tilt, 0.0]))[:, 2]
    return Plane(normal, height * float(normal[2]))  # at (0, 0)


def touch(true: Plane, x: float, y: float, lean: Array | None = None) -> Pose:
    """Return the pose at which a leaning tool, coming down at (x, y), first touches a plane."""
    rotation = rotation_matrix(np.zeros(3) if lean is None else lean) @ DOWN
    lowest = float((TOOL @ rotation.T @ true.normal).min())
    z = (true.offset_m - lowest - true.normal[0] * x - true.normal[1] * y) / true.normal[2]
    return Pose(np.array([x, y, z]), rotation)


def raised(pose: Pose, by_m: float) -> Pose:
    return Pose(pose.position + np.array([0.0, 0.0, by_m]), pose.rotation)


@settings(max_examples=30)
@given(tilts, heights, st.integers(0, 2**32 - 1))
def test_touches_with_a_leaning_tool_tell_the_table_exactly(
    tilt: tuple[float, float], height: float, seed: int
) -> None:
    rng, true = np.random.default_rng(seed), plane(tilt, height)
    table = fit_table([touch(true, x, y, rng.uniform(-0.1, 0.1, 3)) for x, y in FIVE], TOOL)
    np.testing.assert_allclose(table.plane.normal, true.normal, atol=1e-6)
    assert table.plane.offset_m == pytest.approx(true.offset_m, abs=1e-6)
    assert table.rms_m < 1e-7
    frame = table.base_from_table
    np.testing.assert_allclose(frame.rotation.T @ frame.rotation, np.eye(3), atol=1e-12)
    assert true.above_m(frame.position) == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=30)
@given(tilts, heights, st.integers(0, 4), st.floats(0.01, 0.2), st.integers(0, 2**32 - 1))
def test_one_of_five_touches_may_have_hit_something_else(
    tilt: tuple[float, float], height: float, bad: int, on_m: float, seed: int
) -> None:
    true = plane(tilt, height)
    touches = [touch(true, x, y) for x, y in FIVE]
    noise = np.random.default_rng(seed).normal(0.0, 1e-4, 5)
    touches = [raised(pose, off) for pose, off in zip(touches, noise, strict=True)]
    touches[bad] = raised(touches[bad], on_m)
    table = fit_table(touches, TOOL)
    assert table.used.tolist() == [number != bad for number in range(5)]
    places = np.array(FIVE)
    assert np.abs(table.plane.height_m(places) - true.height_m(places)).max() < 1e-3


@given(st.floats(0.0, 2 * np.pi), st.integers(3, 8), st.integers(0, 2**32 - 1))
def test_touches_on_one_line_are_refused_wherever_it_runs(angle: float, count: int, seed: int) -> None:
    along = np.random.default_rng(seed).uniform(0.0, 0.4, count)
    line = 0.5 + along[:, None] * np.array([[np.cos(angle), np.sin(angle)]])
    with pytest.raises(NotGoodEnoughError, match=r"beside the line of the others|apart"):
        fit_table([touch(plane((0.0, 0.0), 0.0), x, y) for x, y in line.tolist()], TOOL)


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ((), "3 more touches"),
        (FIVE[:2], "1 more touches"),
        (((0.4, 0.0), (0.45, 0.05), (0.4, 0.1), (0.45, 0.1)), "at least 15 cm apart"),
    ],
)
def test_too_few_or_too_close_touches_are_refused(places: tuple[tuple[float, float], ...], words: str) -> None:
    touches = [touch(plane((0.0, 0.0), 0.0), x, y) for x, y in places]
    lacks, score = missing_touches(touches)
    assert words in "; ".join(lacks)
    assert 0.0 <= score < 1.0
    with pytest.raises(NotGoodEnoughError, match=words):
        fit_table(touches, TOOL)


def test_a_wavy_or_steep_or_cluttered_table_is_refused() -> None:
    level = plane((0.0, 0.0), 0.0)
    grid = [(0.3 + 0.12 * i, -0.3 + 0.2 * k, 0.0018 * (-1) ** (i + k)) for i in range(4) for k in range(4)]
    with pytest.raises(NotGoodEnoughError, match=r"uneven by 1\.\d mm"):
        fit_table([raised(touch(level, x, y), up) for x, y, up in grid], TOOL)
    clutter = zip(FIVE, (0.0, 0.08, 0.02, 0.05, 0.0), strict=True)
    with pytest.raises(NotGoodEnoughError, match=r"Only . of 5 touches lie on one plane"):
        fit_table([raised(touch(level, x, y), up) for (x, y), up in clutter], TOOL)
    with pytest.raises(NotGoodEnoughError, match="leans by 20 degrees"):
        fit_table([touch(plane((np.radians(20.0), 0.0), 0.0), x, y) for x, y in FIVE], TOOL)


def test_the_point_that_touches_is_the_lowest_on_the_plane() -> None:
    right_high = plane((0.1, 0.0), 0.0)  # rises towards +y
    (point,) = contacts([touch(right_high, 0.5, 0.0)], TOOL, right_high.normal)
    assert point[1] == pytest.approx(0.04)
    assert right_high.above_m(point) == pytest.approx(0.0, abs=1e-12)


@given(tilts, heights, st.integers(0, 2**32 - 1))
def test_a_box_holds_the_corners_it_was_spanned_by_and_reaches_down_to_the_table(
    tilt: tuple[float, float], height: float, seed: int
) -> None:
    true = plane(tilt, height)
    a, b = np.random.default_rng(seed).uniform((0.2, -0.4, 0.3), (0.3, -0.2, 0.5), (2, 3))
    b += np.array([0.3, 0.5, 0.0])
    box = span_box([a, b], true)
    for corner in (a, b):
        assert ((box.low <= corner + 1e-12) & (corner <= box.high + 1e-12)).all()
    assert box.low[2] == pytest.approx(edge_heights(box, true).min())
    assert missing_corners([a, b], true) == ((), 1.0)


def test_corners_that_span_nothing_are_refused_with_what_is_missing() -> None:
    level = plane((0.0, 0.0), 0.0)
    a = np.array([0.3, -0.3, 0.05])
    assert missing_corners([], level) == (("two opposite corners",), 0.0)
    with pytest.raises(NotGoodEnoughError, match="farther along y; a corner higher above the table"):
        span_box([a, a + np.array([0.3, 0.02, 0.0])], level)


def workspace(true: Plane, box: Box | None = None) -> Calibration:
    along = np.cross([0.0, 1.0, 0.0], true.normal)
    along = along / np.linalg.norm(along)
    axes = np.stack([along, np.cross(true.normal, along), true.normal], axis=1)
    values = {"base_from_table": pose_entry(Pose(true.offset_m * true.normal, axes))}
    return Calibration(
        Kind.WORKSPACE, CELL, values | ({} if box is None else {"box": box_values(box)}), {"rms_mm": 0.1}
    )


@given(tilts, heights)
def test_plane_and_box_survive_the_file(tilt: tuple[float, float], height: float) -> None:
    true, box = plane(tilt, height), Box(np.array([0.2, -0.4, -0.1]), np.array([0.7, 0.4, 0.5]))
    found = workspace(true, box)
    np.testing.assert_allclose(plane_of(found).normal, true.normal, atol=1e-9)
    assert plane_of(found).offset_m == pytest.approx(true.offset_m, abs=1e-9)
    kept = box_of(found)
    assert kept is not None
    np.testing.assert_array_equal([kept.low, kept.high], [box.low, box.high])
    assert box_of(workspace(true)) is None


@given(
    tilts,
    heights,
    st.tuples(*[st.floats(-1.0, 1.0)] * 3),
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    st.floats(0.0, 0.01),
)
def test_taught_limits_are_within_what_is_configured_and_within_what_was_taught(
    tilt: tuple[float, float], height: float, place: tuple[float, ...], lean: tuple[float, ...], margin: float
) -> None:
    limits, true = ArmLimits(), plane(tilt, height)
    box = Box(np.array([0.2, -0.4, height - 0.2]), np.array([0.7, 0.6, 0.5]))
    both = Workspace(taught_limits(limits, workspace(true, box), margin))
    pose = Pose(np.array(place), rotation_matrix(np.array(lean)) @ DOWN)
    clipped = Pose(both.clip(pose.position, pose.rotation)[0], pose.rotation)
    tool = clipped.position + TOOL @ pose.rotation.T
    assert (tool >= box.low + margin - 1e-9).all()
    assert (tool <= box.high - margin + 1e-9).all()
    assert (true.above_m(tool) >= margin - 1e-9).all()
    assert Workspace(limits).holds(clipped)
    assert both.holds(clipped)


def test_a_workspace_that_leaves_no_room_or_is_damaged_is_one_sentence() -> None:
    level, limits = plane((0.0, 0.0), 0.0), ArmLimits()
    beside = Box(np.array([0.2, 0.45, 0.0]), np.array([0.7, 0.9, 0.5]))
    for found in (workspace(level, beside), workspace(plane((0.0, 0.0), 0.55))):
        with pytest.raises(CalibrationError, match="hardly any room left"):
            taught_limits(limits, found, 0.0)
    damaged = replace(workspace(level), values={**workspace(level).values, "box": {"min_m": [0, 0, 0]}})
    with pytest.raises(CalibrationError, match="no proper box"):
        taught_limits(limits, damaged, 0.0)
    with pytest.raises(CalibrationError, match="no proper table"):
        taught_limits(limits, workspace(plane((3.0, 0.0), 0.0)), 0.0)
