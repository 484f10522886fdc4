"""The Robotiq driver against the emulated URCap socket."""

import time

import pytest

from hardware.errors import DeviceError
from hardware.grippers.robotiq import RobotiqConfig, RobotiqGripper

pytestmark = pytest.mark.realtime


def until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def rig(emulate, host):
    controller = emulate()
    gripper = RobotiqGripper(RobotiqConfig(host=host))
    yield gripper, controller
    gripper.close()


def test_it_moves_to_openings_without_blocking_and_measures_them(rig):
    gripper, controller = rig
    assert gripper.read() == pytest.approx(1.0, abs=0.01)
    started = time.monotonic()
    for opening in (0.8, 0.5, 0.25):
        gripper.move(opening)
    assert time.monotonic() - started < 0.2
    assert until(lambda: abs(gripper.read() - 0.25) < 0.01)
    assert controller.state()["opening"] == pytest.approx(0.25, abs=0.01)
    gripper.move(0.0)
    assert until(lambda: gripper.read() < 0.01)


def test_a_cut_link_is_told_and_nothing_moves_before_the_operators_word(rig):
    gripper, controller = rig
    controller.do("drop", service="robotiq")
    assert until(lambda: gripper.fault is not None)
    assert "check it, then confirm" in gripper.fault
    gripper.move(0.0)
    time.sleep(0.2)
    assert controller.state()["opening"] == pytest.approx(1.0, abs=0.01)
    gripper.recover()
    assert until(lambda: gripper.fault is None)
    gripper.move(0.0)
    assert until(lambda: gripper.read() < 0.01)


def test_a_silent_link_is_told_in_bounded_time(rig):
    gripper, controller = rig
    controller.do("silence", on=True)
    assert until(lambda: gripper.fault is not None, 5.0)
    assert "broke" in gripper.fault


def test_a_gripper_without_power_is_told(rig):
    gripper, controller = rig
    controller.do("emergency_stop", on=True)
    assert until(lambda: gripper.fault is not None)
    assert "without power" in gripper.fault


def test_nobody_there_is_said_in_a_sentence(host):
    with pytest.raises(DeviceError, match="Robotiq URCap"):
        RobotiqGripper(RobotiqConfig(host=host))


def test_openings_out_of_range_are_refused(rig):
    with pytest.raises(DeviceError, match="between 0 and 1"):
        rig[0].move(float("nan"))


def test_positions_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="open_position must be below"):
        RobotiqConfig(host="127.0.0.2", open_position=230, closed_position=3)


def test_a_recovery_that_fails_says_why_and_can_be_tried_again(rig):
    gripper, controller = rig
    controller.do("refuse", on=True)
    controller.do("drop", service="robotiq")
    assert until(lambda: gripper.fault is not None)
    gripper.recover()
    assert until(lambda: "cannot be reached" in gripper.fault)
    controller.do("refuse", on=False)
    assert until(lambda: gripper.recover() or gripper.fault is None)
    gripper.move(0.5)
    assert until(lambda: abs(gripper.read() - 0.5) < 0.02)
