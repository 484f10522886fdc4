import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.arms.ur_config import UrConfig
from hardware.arms.ur_guard import SLACK_M, SLACK_RAD, Posture, joint_refusal, refusal
from hardware.arms.ur_pose import distance

CONFIG = UrConfig(host="127.0.0.2")
HERE = np.array([0.4, 0.1, 0.3, 3.1, 0.0, 0.0])
JOINTS = np.array([2.8, -1.6, 1.8, -1.8, -1.6, -1.9])
REST = Posture(JOINTS, np.zeros(6), HERE)
PERIOD_S = 0.002
number = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1.0, 1.0)


def moved(meters=0.0, radians=0.0):
    return HERE + np.array([meters, 0.0, 0.0, radians, 0.0, 0.0])


def test_a_small_step_passes():
    assert refusal(moved(0.0005, 0.002), HERE, PERIOD_S, REST, CONFIG) is None


@given(st.lists(number, min_size=6, max_size=6), st.floats(0.0, 10.0))
def test_whatever_passes_is_finite_and_within_every_bound(values, elapsed_s):
    target = np.array(values)
    if refusal(target, HERE, elapsed_s, REST, CONFIG) is None:
        assert np.isfinite(target).all()
        meters, radians = distance(target, HERE)
        assert meters <= min(CONFIG.max_speed_m_s * min(elapsed_s, 0.1) + SLACK_M, CONFIG.leash_m)
        assert radians <= min(CONFIG.max_rotation_speed_rad_s * min(elapsed_s, 0.1) + SLACK_RAD, CONFIG.leash_rad)


@given(st.integers(0, 5), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_command_that_is_not_finite_is_refused(index, value):
    target = HERE.copy()
    target[index] = value
    assert "six finite numbers" in refusal(target, HERE, PERIOD_S, REST, CONFIG)


def test_a_command_of_the_wrong_shape_is_refused():
    assert "six finite numbers" in refusal(HERE[:5], HERE, PERIOD_S, REST, CONFIG)


def test_jumps_in_position_and_rotation_are_refused_with_their_size():
    assert "jumped by 50 mm" in refusal(moved(0.05), HERE, PERIOD_S, REST, CONFIG)
    assert "turned by 0.20 rad" in refusal(moved(radians=0.03), moved(radians=-0.17), PERIOD_S, REST, CONFIG)


def test_a_long_pause_does_not_license_a_jump():
    assert refusal(moved(0.14), HERE, 60.0, REST, CONFIG) is not None


def test_a_command_far_from_the_measured_pose_is_refused():
    behind = Posture(JOINTS, np.zeros(6), moved(-0.2))
    assert "away from its command" in refusal(HERE, HERE, PERIOD_S, behind, CONFIG)


def test_a_joint_that_turns_too_fast_is_named():
    velocities = np.array([0, 0, 0, 0, -2.9, 0])
    assert "Joint 5 turns at 2.90 rad/s" in joint_refusal(Posture(JOINTS, velocities, HERE), CONFIG)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_joint_at_the_end_of_its_range_may_only_go_back(sign):
    joints, velocities = JOINTS.copy(), np.zeros(6)
    joints[2], velocities[2] = sign * 3.12, sign * 0.2
    assert "Joint 3 is at the end" in joint_refusal(Posture(joints, velocities, HERE), CONFIG)
    assert joint_refusal(Posture(joints, -velocities, HERE), CONFIG) is None
