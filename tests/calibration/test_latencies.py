"""What follows from latency calibrations: shifts of stamps, whatever drivers were and are told; what is noted."""

from pathlib import Path

import pytest

from calibration.errors import CalibrationError
from calibration.files import Calibration, Kind, write_calibration
from calibration.latencies import Latencies, read_latencies


def write(folder: Path, name: str, **values: float) -> None:
    write_calibration(folder, Calibration(Kind.LATENCY, name, values, {"expected_error_ms": 0.3}))


def camera(folder: Path, name: str, late_s: float, camera_s: float = 0.0, arm_s: float = 0.0, **more: float) -> None:
    write(folder, name, against_arm_s=late_s, camera_configured_s=camera_s, arm_configured_s=arm_s, **more)


def test_nothing_measured_shifts_nothing(tmp_path: Path) -> None:
    found = read_latencies(tmp_path, ["front"], {"front": 0.03}, 0.002)
    assert found == Latencies()
    assert found.record() == {}


def test_without_a_screen_pictures_are_put_back_against_the_arm(tmp_path: Path) -> None:
    camera(tmp_path, "front", 0.034)
    found = read_latencies(tmp_path, ["front", "wrist"], {}, 0.0)
    assert found.cameras == {"front": pytest.approx(0.034)}
    assert found.arm_s == 0.0


def test_with_a_screen_the_arm_is_put_back_too_and_with_it_every_camera(tmp_path: Path) -> None:
    camera(tmp_path, "front", 0.034, shown_s=0.047)
    camera(tmp_path, "wrist", 0.020)
    found = read_latencies(tmp_path, ["front", "wrist"], {}, 0.0)
    assert found.arm_s == pytest.approx(0.013)
    assert found.cameras == {"front": pytest.approx(0.047), "wrist": pytest.approx(0.033)}


@pytest.mark.parametrize(("then_s", "now_s"), [(0.0, 0.0), (0.03, 0.03), (0.0, 0.03), (0.03, 0.01)])
@pytest.mark.parametrize("arm_now_s", [0.0, 0.004])
def test_what_drivers_take_off_is_not_taken_off_twice(
    tmp_path: Path, then_s: float, now_s: float, arm_now_s: float
) -> None:
    camera_late_s, arm_late_s, arm_then_s = 0.047, 0.013, 0.004
    against_s = (camera_late_s - then_s) - (arm_late_s - arm_then_s)
    camera(tmp_path, "front", against_s, then_s, arm_then_s, shown_s=camera_late_s - then_s)
    found = read_latencies(tmp_path, ["front"], {"front": now_s}, arm_now_s)
    assert found.cameras["front"] == pytest.approx(camera_late_s - now_s)
    assert found.arm_s == pytest.approx(arm_late_s - arm_now_s)


def test_everything_measured_is_noted(tmp_path: Path) -> None:
    camera(tmp_path, "front", 0.034)
    write(tmp_path, "arm", command_to_state_s=0.06, arm_configured_s=0.0)
    write(tmp_path, "gripper", command_to_report_s=0.11)
    write(tmp_path, "input", host_s=0.002, host_p99_s=0.004)
    assert read_latencies(tmp_path, ["front"], {}, 0.0).record() == {
        "camera front": pytest.approx(0.034),
        "arm state": 0.0,
        "arm command to state": 0.06,
        "gripper command to report": 0.11,
        "input host": 0.002,
    }


def test_a_file_without_its_values_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path, "front", against_arm_s=0.03)
    with pytest.raises(CalibrationError, match="latency calibration of front does not tell"):
        read_latencies(tmp_path, ["front"], {}, 0.0)
