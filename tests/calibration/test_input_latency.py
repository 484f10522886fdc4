"""What the host adds to a motion on an input device, with virtual devices behind the real drivers."""

import pytest

from calibration.errors import NotGoodEnoughError
from calibration.input_latency import MOTIONS, measure_input_latency
from hardware.input_devices import DeviceName


@pytest.mark.parametrize("device", ["gamepad", "spacemouse"])
def test_a_motion_is_timed_from_the_virtual_device_to_the_reading(device: DeviceName) -> None:
    result = measure_input_latency(device, "1")
    values = result.calibration.values
    assert 0.0 < values["host_s"] <= values["host_p99_s"] < 5.0
    assert result.calibration.views == {"motions": MOTIONS}
    assert result.calibration.devices == {"input": f"virtual {device}"}
    assert result.pictures["delays"].ndim == 3


def test_a_keyboard_is_not_timed() -> None:
    with pytest.raises(NotGoodEnoughError, match="keyboard is not measured"):
        measure_input_latency("keyboard", "1")
