import pytest

from hardware.clock import ManualClock
from hardware.errors import DeviceError
from hardware.grippers.none import NoGripper
from hardware.grippers.ur_output import UrOutputConfig, UrOutputGripper


class Outputs:
    """A controller's outputs that follow at once."""

    def __init__(self):
        self.levels = [False] * 8
        self.writes = 0

    def set_digital_output(self, output, level):
        self.levels[output] = level
        self.writes += 1

    def digital_output(self, output):
        return self.levels[output]


@pytest.fixture
def rig():
    clock, outputs = ManualClock(), Outputs()
    return UrOutputGripper(UrOutputConfig(output=3, travel_s=0.4), outputs, clock), outputs, clock


def test_the_opening_follows_the_output_over_the_travel_time(rig):
    gripper, outputs, clock = rig
    assert gripper.read() == 1.0
    gripper.move(0.0)
    assert outputs.levels[3]
    clock.advance_s(0.1)
    assert gripper.read() == pytest.approx(0.75)
    clock.advance_s(1.0)
    assert gripper.read() == 0.0
    gripper.move(0.9)
    clock.advance_s(0.2)
    assert gripper.read() == pytest.approx(0.5)


def test_the_output_is_set_only_when_it_has_to_change(rig):
    gripper, outputs, _ = rig
    for opening in (0.2, 0.1, 0.0, 0.6, 1.0):
        gripper.move(opening)
    assert outputs.writes == 2


def test_the_closing_level_can_be_low():
    outputs = Outputs()
    gripper = UrOutputGripper(UrOutputConfig(output=0, closing_level=False), outputs, ManualClock())
    assert gripper.read() == 0.0
    gripper.move(1.0)
    assert outputs.levels[0]


@pytest.mark.parametrize("opening", [-0.1, 1.1, float("nan")])
def test_an_opening_out_of_range_is_refused(rig, opening):
    gripper, outputs, _ = rig
    with pytest.raises(DeviceError, match="between 0 and 1"):
        gripper.move(opening)
    assert outputs.writes == 0


def test_no_gripper_is_always_open():
    gripper = NoGripper()
    gripper.move(0.0)
    assert gripper.read() == 1.0
    gripper.close()
