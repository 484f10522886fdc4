"""The doctor on software RealSense cameras and on a network camera: each fault of theirs is found."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from pydantic import TypeAdapter

from drift_robot.doctor import cameras
from drift_robot.doctor.findings import Finding, Level
from drift_robot.doctor.pictures import COLOURS, TILE, save_contact_sheet, save_picture
from hardware.cameras.config import RealSenseConfig
from hardware.cameras.health import RecoveryConfig
from hardware.cameras.realsense import RealSenseCamera, connected_cameras
from hardware.devices import DevicesConfig
from hardware.emulation.realsense import CameraFault, Image, SoftwareBus, SoftwareCamera
from hardware.emulation.webcam import EmulatedNetworkCamera, StreamFault
from hardware.interfaces import Frame

WIDTH, HEIGHT, FPS = 64, 48, 30
NOT_HERE = "192.0.2.1"
"""An address that is nobody's (RFC 5737): a real arm, as far as the configuration knows."""
RNG = np.random.default_rng(0)


def render() -> Image:
    return RNG.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def bus() -> Iterator[SoftwareBus]:
    bus = SoftwareBus()
    yield bus
    bus.close()


@pytest.fixture
def tried(bus: SoftwareBus, tmp_path: Path) -> Callable[..., list[Finding]]:
    """Plug a software camera in, give it a fault, and return what is found on it."""

    def tried(
        fault: CameraFault = CameraFault.NONE,
        shows: Callable[[], Image] = render,
        recovery: RecoveryConfig = RecoveryConfig(),
    ) -> list[Finding]:
        software = SoftwareCamera(
            "A1", lambda: Frame(time.monotonic_ns(), shows()), width=WIDTH, height=HEIGHT, fps=FPS
        )
        bus.plug(software)
        camera = RealSenseCamera(RealSenseConfig("A1", WIDTH, HEIGHT, FPS, recovery=recovery), bus.context)
        camera.read(5.0)
        software.fault = fault
        check = cameras.try_camera("camera front", camera, FPS, 2.0, tmp_path / "front.png")
        found = [said for said in check if isinstance(said, Finding)]
        camera.close()
        return found

    return tried


def test_a_camera_that_works_gives_its_rate_and_a_picture(tried: Callable[..., list[Finding]], tmp_path: Path) -> None:
    frames, picture = tried()
    assert frames.level in (Level.OK, Level.WARNING)  # a busy machine may miss the rate
    assert "of 30 frames a second" in frames.found
    assert picture.level is Level.OK
    with Picture.open(tmp_path / "front.png") as kept:
        assert kept.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(CameraFault.DROP, "dropped"), (CameraFault.REORDER, "out of order")],
    ids=["drop", "reorder"],
)
def test_frames_that_are_lost_are_told(tried: Callable[..., list[Finding]], fault: CameraFault, words: str) -> None:
    frames, _ = tried(fault)
    assert frames.level is Level.WARNING
    assert words in frames.found


@pytest.mark.parametrize("fault", [CameraFault.FREEZE, CameraFault.REPEAT], ids=["freeze", "repeat"])
def test_a_camera_that_sends_nothing_new_stops_a_session(
    tried: Callable[..., list[Finding]], fault: CameraFault
) -> None:
    found = tried(fault, recovery=RecoveryConfig(stalled_s=0.3 if fault is CameraFault.FREEZE else 60.0, restarts=1))
    assert found[0].level is Level.PROBLEM


def test_a_lens_cap_is_seen(tried: Callable[..., list[Finding]]) -> None:
    _, picture = tried(shows=lambda: np.full((HEIGHT, WIDTH, 3), 2, np.uint8))
    assert picture.level is Level.WARNING
    assert "lens cap" in picture.advice


def test_what_is_connected_is_compared_with_what_is_configured(bus: SoftwareBus) -> None:
    for serial, usb in (("A1", "2.1"), ("B2", "3.2")):
        bus.plug(
            SoftwareCamera(
                serial, lambda: Frame(time.monotonic_ns(), render()), width=WIDTH, height=HEIGHT, fps=FPS, usb=usb
            )
        )
    wanted = {"front": RealSenseConfig("A1", fps=60), "wrist": RealSenseConfig("ZZ")}
    front, wrist = cameras.judge_bus(wanted, connected_cameras(bus.context))
    assert (front.level, wrist.level) == (Level.WARNING, Level.PROBLEM)
    assert front.found.startswith("Software camera A1, firmware 5.16.0.1, USB 2.1")
    assert wrist.found == "RealSense ZZ is not connected; connected: B2 (Software camera)."


@pytest.fixture
def network() -> Iterator[EmulatedNetworkCamera]:
    camera = EmulatedNetworkCamera(render, FPS)
    yield camera
    camera.fault = StreamFault.HANG_UP
    camera.close()


def webcam(source: str | int) -> DevicesConfig:
    camera = {"driver": "webcam", "source": source, "width": WIDTH, "height": HEIGHT}
    return TypeAdapter(DevicesConfig).validate_python({"arm": {"host": NOT_HERE}, "cameras": {"front": camera}})


def checked(devices: DevicesConfig, folder: Path) -> list[Finding]:
    return [said for said in cameras.check_camera("front", devices, 2.0, folder) if isinstance(said, Finding)]


def test_a_network_camera_is_watched_and_its_picture_kept(network: EmulatedNetworkCamera, tmp_path: Path) -> None:
    found = checked(webcam(network.address), tmp_path)
    assert all(finding.level in (Level.OK, Level.WARNING) for finding in found)
    assert "frames a second" in found[0].found
    with Picture.open(tmp_path / "front.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)
        assert np.asarray(picture).std() > 10


def test_a_camera_that_does_not_open_is_said(tmp_path: Path) -> None:
    (found,) = checked(webcam(99), tmp_path)
    assert found.level is Level.PROBLEM
    assert "Webcam 99 does not open" in found.found


def test_the_contact_sheet_shows_every_camera_in_the_colour_of_its_state(tmp_path: Path) -> None:
    save_picture(np.full((HEIGHT, WIDTH, 3), (250, 0, 0), np.uint8), tmp_path / "front.png")
    save_contact_sheet({"front": Level.OK, "wrist": Level.PROBLEM}, tmp_path, tmp_path / "cameras.png")
    with Picture.open(tmp_path / "cameras.png") as sheet:
        left, right = sheet.width // 4, 3 * sheet.width // 4
        assert sheet.width >= 2 * TILE[0]
        assert sheet.getpixel((left, sheet.height // 2)) == (250, 0, 0)
        frames = [f"#{bytes(sheet.getpixel((x, 2))).hex()}" for x in (left, right)]  # type: ignore[arg-type]
        assert frames == [COLOURS[Level.OK], COLOURS[Level.PROBLEM]]
