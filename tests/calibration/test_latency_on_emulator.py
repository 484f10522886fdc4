"""Latencies on an emulated arm, through its drivers: pictures hold the true time of what they show."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.board import Board
from calibration.guide import conduct, unattended
from calibration.lag import find_lag
from calibration.latency import calibrate_camera_latency, calibrate_gripper_latency
from calibration.real_rig import RealRig
from hardware.arms.limits import ArmLimits
from hardware.arms.ur_config import UrConfig
from hardware.board import BoardConfig
from hardware.cameras.config import RealSenseConfig
from hardware.devices import DevicesConfig
from hardware.emulation import cell_camera
from hardware.emulation.admin import fault_request
from hardware.emulation.process import EmulatedController
from hardware.emulation.realsense import SoftwareCamera
from hardware.grippers.robotiq import RobotiqConfig
from hardware.interfaces import Frame

pytestmark = pytest.mark.long
CAMERA_LATE_S, OBEYS_LATE_S = 0.06, 0.12
BITS, ROWS = 64, 16
WITHOUT_S = 0.072
"""From command to report without what is injected: `lookahead_s` and the simulated arm's servos."""


def write_time(image: NDArray[np.uint8], time_ns: int) -> None:
    """Draw a time as black and white squares along the upper edge."""
    bits = time_ns >> np.arange(BITS) & 1
    image[:ROWS] = np.repeat(255 * bits, image.shape[1] // BITS)[None, :, None]


def read_time(image: NDArray[np.uint8]) -> int:
    """Return the time in a picture."""
    middles = ((np.arange(BITS) + 0.5) * image.shape[1] / BITS).astype(int)
    return sum(1 << bit for bit, value in enumerate(image[ROWS // 2, middles, 0].tolist()) if value > 127)


class _Truthful(RealRig):
    """Notes by how much the stamp of every picture comes after what it shows."""

    def look(self, camera: str) -> Frame:
        frame = super().look(camera)
        self.__dict__.setdefault("late_s", []).append((frame.capture_ns - read_time(frame.image)) / 1e9)
        return frame


def stamping(serial: str, render: Any, **more: Any) -> SoftwareCamera:
    """A software camera that writes the true time into its pictures."""

    def stamped() -> Frame | None:
        frame: Frame | None = render()
        if frame is not None:
            write_time(frame.image, frame.capture_ns)
        return frame

    return SoftwareCamera(serial, stamped, **more)


def test_camera_arm_and_gripper_are_timed_through_their_drivers(
    host: str, emulate: Callable[..., EmulatedController], monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = emulate("--controller-version", "3.15.0.0", "--task", "board_on_table", "--realtime")
    for fault, seconds in (("camera-late", CAMERA_LATE_S), ("obey-late", OBEYS_LATE_S)):
        robot.do(fault_request(fault, str(seconds)).pop("do"), seconds=seconds)
    monkeypatch.setattr(cell_camera, "SoftwareCamera", stamping)
    tool = (0.0, 0.0, 0.15, 0.0, 0.0, 0.0)
    arm = UrConfig(host, flange_from_tcp=tool, payload_kg=0.9, max_age_s=2.0, watchdog_hz=1.0)
    devices = DevicesConfig(arm, RobotiqConfig(), {"wrist": RealSenseConfig("17", fps=15)})
    board, nobody = Board(BoardConfig()), unattended(lambda sentence: None)
    limits = ArmLimits(arm_timeout_s=1.0)
    with closing(_Truthful(devices, ["wrist"], ("wrist",), limits, drives=True, grips=True)) as rig:
        camera = conduct(calibrate_camera_latency(rig, "wrist", board, (0.0, 0.0), "1"), nobody).calibration
        log = rig.log()
        gripper = conduct(calibrate_gripper_latency(rig, "1"), nobody).calibration
        late_s = np.array(rig.__dict__["late_s"])
    # A busy machine delays pictures by more than was injected; what is then true, the pictures tell.
    assert np.median(late_s) > CAMERA_LATE_S - 0.005
    assert abs(camera.values["against_arm_s"] - late_s.mean()) < 0.005 + late_s.std()
    assert camera.devices == {"camera": "17", "arm": host}
    loop_s = find_lag(log.commanded, log.reported, "the arm").lag_s
    assert abs(loop_s - OBEYS_LATE_S - WITHOUT_S) < 0.04
    assert 0.01 < gripper.values["command_to_report_s"] < 0.4
