"""The real OpenCV capture, on a network camera that is emulated on loopback."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hardware.cameras.health import RecoveryConfig
from hardware.cameras.webcam import Webcam, WebcamConfig
from hardware.clock import NS_PER_S
from hardware.emulation.webcam import EmulatedNetworkCamera, Image, StreamFault
from hardware.errors import DeviceError
from hardware.interfaces import Frame

WIDTH, HEIGHT = 64, 48
RNG = np.random.default_rng(0)


def render() -> Image:
    """A picture with a red left half and noise, as a real camera has, in the right one."""
    image = RNG.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:, : WIDTH // 2] = (220, 0, 0)
    return image


@pytest.fixture
def server() -> Iterator[EmulatedNetworkCamera]:
    server = EmulatedNetworkCamera(render, fps=60)
    yield server
    server.fault = StreamFault.HANG_UP
    server.close()


def config(source: int | str, restarts: int = 3) -> WebcamConfig:
    recovery = RecoveryConfig(stalled_s=0.4, restarts=restarts, first_wait_s=0.1, longest_wait_s=0.2)
    return WebcamConfig(source, WIDTH, HEIGHT, 60, recovery=recovery)


@pytest.fixture
def camera(server: EmulatedNetworkCamera) -> Iterator[Webcam]:
    camera = Webcam(config(server.address, restarts=50))
    yield camera
    camera.close()


def read_until(camera: Webcam, done: Callable[[], bool], timeout_s: float = 20.0) -> list[Frame]:
    frames = []
    deadline_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline_s, "the camera did not get there in time"
        try:
            frames.append(camera.read(0.1))
        except TimeoutError:
            continue
    return frames


def test_frames_are_rgb_and_stamped_in_order(camera: Webcam) -> None:
    frames = [camera.read(5.0) for _ in range(10)]
    red, green, blue = frames[-1].image[HEIGHT // 2, 8].astype(int)
    assert red > 180
    assert max(green, blue) < 60
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
    stamps = [frame.capture_ns for frame in frames]
    assert stamps == sorted(set(stamps))
    assert 0 <= time.monotonic_ns() - stamps[-1] < NS_PER_S


def test_the_calibrated_latency_is_taken_off_the_receipt(server: EmulatedNetworkCamera) -> None:
    camera = Webcam(WebcamConfig(server.address, WIDTH, HEIGHT, latency_s=0.5))
    frame = camera.read(5.0)
    assert time.monotonic_ns() - frame.capture_ns >= 0.5 * NS_PER_S
    camera.close()


def test_a_picture_that_repeats_is_withheld_and_counts_as_no_picture(
    server: EmulatedNetworkCamera, camera: Webcam
) -> None:
    camera.read(5.0)
    server.fault = StreamFault.REPEAT
    read_until(camera, lambda: camera.counts.repeated >= 3 and camera.counts.restarts >= 1)
    assert "has stopped sending new frames" in camera.problem
    server.fault = StreamFault.NONE
    read_until(camera, lambda: camera.problem == "")


def test_a_stream_that_stops_is_opened_anew(server: EmulatedNetworkCamera, camera: Webcam) -> None:
    camera.read(5.0)
    server.fault = StreamFault.FREEZE
    read_until(camera, lambda: camera.problem != "")
    server.fault = StreamFault.NONE
    read_until(camera, lambda: camera.problem == "")
    assert camera.counts.restarts >= 1
    assert time.monotonic_ns() - camera.read(5.0).capture_ns < NS_PER_S


def test_a_camera_that_is_gone_ends_in_one_sentence(server: EmulatedNetworkCamera) -> None:
    camera = Webcam(config(server.address))
    camera.read(5.0)
    server.fault = StreamFault.HANG_UP
    with pytest.raises(DeviceError, match=r"^Webcam .* sends no frames, also after 3 restarts: check its cable"):
        read_until(camera, lambda: False)
    camera.close()


def test_a_number_without_a_camera_is_refused() -> None:
    with pytest.raises(DeviceError, match="Webcam 99 does not open: plug it in, or correct its source"):
        Webcam(WebcamConfig(99))


def test_a_size_that_the_camera_does_not_give_is_refused(server: EmulatedNetworkCamera) -> None:
    with pytest.raises(DeviceError, match="gives 64x48 instead of 640x480: set a size that it offers"):
        Webcam(WebcamConfig(server.address))
