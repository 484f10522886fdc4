"""The real library and pipeline, fed by software devices whose frames carry their true capture time in their pixels."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest

from hardware.cameras.health import RecoveryConfig
from hardware.cameras.realsense import RealSenseCamera, RealSenseConfig, connected_cameras, load_library
from hardware.clock import NS_PER_S
from hardware.emulation.realsense import CameraFault, DeviceClock, SoftwareBus, SoftwareCamera
from hardware.errors import DeviceError
from hardware.interfaces import Frame

WIDTH, HEIGHT = 64, 48
TURNOVER_S = 2**32 * 1e-6


def render() -> Frame:
    """A red picture with the present time in its first pixels."""
    now_ns = time.monotonic_ns()
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 200
    image.reshape(-1)[:8] = np.frombuffer(np.int64(now_ns).tobytes(), np.uint8)
    return Frame(now_ns, image)


def truth_ns(frame: Frame) -> int:
    return int(np.frombuffer(frame.image.reshape(-1)[:8].tobytes(), np.int64)[0])


def config(serial: str = "A1", **changes: object) -> RealSenseConfig:
    recovery = RecoveryConfig(stalled_s=0.3, restarts=3, first_wait_s=0.1, longest_wait_s=0.2)
    values = {"serial": serial, "width": WIDTH, "height": HEIGHT, "fps": 60, "recovery": recovery}
    return RealSenseConfig(**(values | changes))


@pytest.fixture
def bus() -> Iterator[SoftwareBus]:
    bus = SoftwareBus()
    yield bus
    bus.close()


@pytest.fixture
def plug(bus: SoftwareBus) -> Callable[..., SoftwareCamera]:
    def plug(serial: str = "A1", **options: object) -> SoftwareCamera:
        camera = SoftwareCamera(serial, render, width=WIDTH, height=HEIGHT, fps=60, **options)
        bus.plug(camera)
        return camera

    return plug


def read_until(camera: RealSenseCamera, done: Callable[[], bool], timeout_s: float = 10.0) -> list[Frame]:
    frames = []
    deadline_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline_s, "the camera did not get there in time"
        try:
            frames.append(camera.read(0.1))
        except TimeoutError:
            continue
    return frames


def test_a_camera_delivers_rgb_pictures_with_rising_capture_times(bus: SoftwareBus, plug: Callable) -> None:
    plug()
    camera = RealSenseCamera(config(), bus.context)
    frames = [camera.read(2.0) for _ in range(20)]
    camera.close()
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image[-1, -1].tolist() == [200, 0, 0]
    assert all(a.capture_ns < b.capture_ns <= time.monotonic_ns() for a, b in pairwise(frames))
    assert len({truth_ns(frame) for frame in frames}) == 20


def test_the_cameras_are_told_apart_by_serial(bus: SoftwareBus, plug: Callable) -> None:
    def blue() -> Frame:
        return Frame(time.monotonic_ns(), np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8))

    plug("A1", usb="2.1")
    bus.plug(SoftwareCamera("A2", blue, width=WIDTH, height=HEIGHT, fps=60))
    assert {(info.serial, info.usb) for info in connected_cameras(bus.context)} == {("A1", "2.1"), ("A2", "3.2")}
    first, second = RealSenseCamera(config("A1"), bus.context), RealSenseCamera(config("A2"), bus.context)
    assert first.read(2.0).image[-1, -1].tolist() == [200, 0, 0]
    assert second.read(2.0).image[-1, -1].tolist() == [0, 0, 255]
    first.close()
    second.close()


def test_capture_times_match_the_truth_whatever_the_cameras_clock(bus: SoftwareBus, plug: Callable) -> None:
    plug("A1", latency_s=0.03, clock=DeviceClock(offset_s=-1234.5, drift=50e-6))
    camera = RealSenseCamera(config(latency_s=0.03), bus.context)
    frames = [camera.read(2.0) for _ in range(120)]
    camera.close()
    errors_s = [(frame.capture_ns - truth_ns(frame)) / NS_PER_S for frame in frames[30:]]
    assert abs(float(np.median(errors_s))) < 0.005


def test_the_turnover_of_the_cameras_counter_goes_unnoticed(bus: SoftwareBus, plug: Callable) -> None:
    to_turnover_s = -(time.monotonic() % TURNOVER_S) - 1.0
    plug("A1", clock=DeviceClock(offset_s=to_turnover_s))
    camera = RealSenseCamera(config(), bus.context)
    frames = [camera.read(2.0) for _ in range(120)]
    camera.close()
    assert camera.counts.out_of_order == camera.counts.restarts == 0
    errors_s = [abs(frame.capture_ns - truth_ns(frame)) / NS_PER_S for frame in frames]
    assert float(np.median(errors_s)) < 0.01
    assert max(errors_s) < 0.5


def test_the_librarys_own_clock_mapping_is_switched_off(bus: SoftwareBus, plug: Callable) -> None:
    plug()
    (sensor,) = bus.context.query_devices()[0].query_sensors()
    option = load_library().option.global_time_enabled
    assert sensor.get_option(option) == 1.0
    RealSenseCamera(config(), bus.context).close()
    assert sensor.get_option(option) == 0.0


def test_repeated_frames_are_counted_and_withheld(bus: SoftwareBus, plug: Callable) -> None:
    software = plug()
    camera = RealSenseCamera(config(recovery=RecoveryConfig(stalled_s=60.0)), bus.context)
    camera.read(2.0)
    software.fault = CameraFault.REPEAT
    read_until(camera, lambda: camera.counts.repeated >= 5)
    with pytest.raises(TimeoutError, match="A1 sent no new frame"):
        camera.read(0.2)
    software.fault = CameraFault.NONE
    assert abs(camera.read(2.0).capture_ns - time.monotonic_ns()) < NS_PER_S
    camera.close()


def test_frames_out_of_order_are_counted_and_withheld(bus: SoftwareBus, plug: Callable) -> None:
    software = plug()
    camera = RealSenseCamera(config(), bus.context)
    software.fault = CameraFault.REORDER
    frames = read_until(camera, lambda: camera.counts.out_of_order >= 5)
    camera.close()
    truths = [truth_ns(frame) for frame in frames]
    assert truths == sorted(truths)


def test_missing_frames_are_counted(bus: SoftwareBus, plug: Callable) -> None:
    software = plug()
    camera = RealSenseCamera(config(), bus.context)
    software.fault = CameraFault.DROP
    read_until(camera, lambda: camera.counts.dropped >= 5)
    camera.close()


def test_a_stream_that_stops_is_said_to_have_stopped_and_comes_back(bus: SoftwareBus, plug: Callable) -> None:
    software = plug()
    camera = RealSenseCamera(config(recovery=RecoveryConfig(stalled_s=0.3, first_wait_s=0.1)), bus.context)
    camera.read(2.0)
    software.fault = CameraFault.FREEZE
    read_until(camera, lambda: camera.counts.restarts >= 1)
    assert camera.problem == "RealSense camera A1 has stopped sending new frames and is being restarted."
    software.fault = CameraFault.NONE
    frame = camera.read(5.0)
    assert camera.problem == ""
    assert abs(frame.capture_ns - time.monotonic_ns()) < NS_PER_S
    camera.close()


def test_a_stream_that_stays_silent_ends_in_one_sentence(bus: SoftwareBus, plug: Callable) -> None:
    software = plug()
    camera = RealSenseCamera(config(), bus.context)
    camera.read(2.0)
    software.fault = CameraFault.FREEZE
    with pytest.raises(DeviceError) as caught:
        read_until(camera, lambda: False)
    assert str(caught.value) == (
        "RealSense camera A1 sends no frames, also after 3 restarts: "
        "check its cable and its USB port, then start again."
    )
    assert camera.counts.restarts == 3


def test_a_camera_unplugged_and_plugged_in_again_streams_on(bus: SoftwareBus, plug: Callable) -> None:
    plug(clock=DeviceClock(offset_s=100.0))
    recovery = RecoveryConfig(stalled_s=0.3, restarts=50, first_wait_s=0.1, longest_wait_s=0.2)
    camera = RealSenseCamera(config(recovery=recovery), bus.context)
    before = camera.read(2.0)
    bus.unplug("A1")
    read_until(camera, lambda: "not connected" in camera.problem)
    plug(clock=DeviceClock(offset_s=-300.0))
    after = camera.read(5.0)
    camera.close()
    assert after.capture_ns > before.capture_ns
    assert abs(after.capture_ns - truth_ns(after)) < 0.5 * NS_PER_S
    assert camera.problem == ""


def test_an_unknown_serial_is_refused_with_those_that_are_connected(bus: SoftwareBus, plug: Callable) -> None:
    plug("A1")
    with pytest.raises(DeviceError, match=r"camera ZZ is not connected \(connected: A1\)"):
        RealSenseCamera(config("ZZ"), bus.context)


def test_no_camera_at_all_is_said() -> None:
    with pytest.raises(DeviceError, match=r"camera ZZ is not connected \(connected: none\)"):
        RealSenseCamera(config("ZZ"), load_library().context())


def test_a_mode_that_the_camera_does_not_offer_is_refused(bus: SoftwareBus, plug: Callable) -> None:
    plug("A1")
    with pytest.raises(DeviceError, match="camera A1 does not start in 1280x720 at 60 Hz"):
        RealSenseCamera(config(width=1280, height=720), bus.context)


def test_without_the_library_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(DeviceError, match=r"pip install 'drift-robot\[realsense\]'"):
        RealSenseCamera(config())


def test_importing_the_driver_does_not_import_the_library() -> None:
    assert (
        subprocess.run(
            [sys.executable, "-c", "import sys, hardware.cameras.realsense; sys.exit('pyrealsense2' in sys.modules)"],
            check=False,
        ).returncode
        == 0
    )
