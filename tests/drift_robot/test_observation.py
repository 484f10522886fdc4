"""What is observed together was measured together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift_robot.observation import Reading, reading_at, together
from hardware.arms import rotations
from hardware.interfaces import ArmState, Frame
from hardware.poses import Pose

PERIOD_NS = 2_000_000
VELOCITY = np.array([0.2, -0.1, 0.05])
TURNING = np.array([0.3, 0.0, 1.0])


def truth(time_ns: float) -> Reading:
    """An arm in steady motion; its gripper closes."""
    t = time_ns / 1e9
    pose = Pose(VELOCITY * t, rotations.exp(TURNING * t))
    return Reading(ArmState(int(time_ns), np.full(6, t), np.ones(6), pose, np.full(6, 2 * t)), 1.0 - t)


def readings(count: int, start_ns: int = 0) -> list[Reading]:
    return [truth(start_ns + k * PERIOD_NS) for k in range(count)]


@given(st.integers(0, 49 * PERIOD_NS))
def test_between_two_readings_steady_motion_is_met_exactly(time_ns: int) -> None:
    found, wanted = reading_at(readings(50), time_ns), truth(time_ns)
    assert found.state.capture_ns == time_ns
    np.testing.assert_allclose(found.state.base_from_tcp.position, wanted.state.base_from_tcp.position, atol=1e-9)
    np.testing.assert_allclose(found.state.base_from_tcp.rotation, wanted.state.base_from_tcp.rotation, atol=1e-9)
    np.testing.assert_allclose(found.state.joints, wanted.state.joints, atol=1e-9)
    assert found.opening == pytest.approx(wanted.opening, abs=1e-9)


def test_outside_the_readings_nothing_is_extrapolated() -> None:
    known = readings(3, start_ns=1000)
    assert reading_at(known, 0) is known[0]
    assert reading_at(known, 10 * PERIOD_NS) is known[-1]


def frame(capture_ms: int) -> Frame:
    return Frame(capture_ms * 1_000_000, np.zeros((2, 2, 3), np.uint8))


def test_pictures_that_belong_together_are_those_nearest_to_the_slowest_cameras_newest() -> None:
    chosen = together({"front": [frame(0), frame(33), frame(66), frame(100)], "wrist": [frame(-10), frame(30)]})
    assert {name: picture.capture_ns // 1_000_000 for name, picture in chosen.items()} == {"front": 33, "wrist": 30}


def test_a_camera_without_pictures_is_left_out() -> None:
    assert list(together({"front": [], "wrist": [frame(5)]})) == ["wrist"]
    assert together({}) == {}
