"""The cameras: which are connected and how, whether their frames come, and whether the pictures show anything.

Every camera is looked at in a process of its own and all at the same time, as in a session, so that they share the bus.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from drift_robot.doctor.findings import Check, Finding, note, ok, problem, warning
from drift_robot.doctor.pictures import save_picture
from hardware.cameras.config import RealSenseConfig
from hardware.cameras.health import FrameCounts
from hardware.cameras.realsense import CameraInfo, connected_cameras
from hardware.devices import DevicesConfig, open_camera
from hardware.errors import DeviceError
from hardware.interfaces import Camera, Frame

BUS = "RealSense"
WATCH_S = 2.0
SETTLE_S = 1.0
"""So long a camera may take to its first frames and to set its exposure."""
FIRST_FRAME_S = 5.0
FEW_FRAMES = 0.9
MANY_LOST = 0.01
USB2_BYTES_S = 30e6
"""What USB 2 carries in practice, of 60 MB/s in theory; all cameras on one controller share it."""
WIRE_BYTES = 2
"""A pixel on the wire: RealSense cameras send colour as YUYV."""
DARK, BRIGHT, SATURATED, UNIFORM = 25.0, 250, 0.5, 4.0


class CountingCamera(Camera, Protocol):
    """A camera that counts its frames, as all drivers do."""

    @property
    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        ...


@dataclass(frozen=True)
class Watch:
    """What was seen of a camera in a time: its counts then, and the last picture (height, width, 3) RGB."""

    seconds: float
    counts: FrameCounts
    image: NDArray[np.uint8]


def open_for_check(name: str, devices: DevicesConfig) -> CountingCamera:
    """Return a configured camera that streams. Raises DeviceError."""
    return cast(CountingCamera, open_camera(name, devices.cameras[name], devices.emulator))


def subject(name: str) -> str:
    """Return what a line about a camera is headed."""
    return f"camera {name}"


def check_bus(wanted: Mapping[str, RealSenseConfig]) -> Check:
    """Look which RealSense cameras are connected, and how."""
    yield "looking for RealSense cameras"
    try:
        connected = connected_cameras()
    except DeviceError as error:
        yield problem(BUS, str(error))
        return
    yield from judge_bus(wanted, connected)


def judge_bus(wanted: Mapping[str, RealSenseConfig], connected: Sequence[CameraInfo]) -> list[Finding]:
    """Judge the connected cameras against the configured ones."""
    by_serial = {info.serial: info for info in connected}
    serials = [config.serial for config in wanted.values()]
    spare = [info for info in connected if info.serial not in serials]
    others = ", ".join(f"{info.serial} ({info.name})" for info in spare) or "no other"
    on_usb2 = {n for n, c in wanted.items() if c.serial in by_serial and by_serial[c.serial].usb.startswith("2")}
    load = sum(WIRE_BYTES * wanted[name].width * wanted[name].height * wanted[name].fps for name in on_usb2)
    findings = []
    for name, config in wanted.items():
        about = subject(name)
        if serials.count(config.serial) > 1:
            findings.append(
                problem(about, f"Serial {config.serial} is given to more than one camera.", "Correct devices.cameras.")
            )
        elif config.serial not in by_serial:
            advice = f"Plug it in, or correct devices.cameras.{name}.serial."
            findings.append(problem(about, f"RealSense {config.serial} is not connected; connected: {others}.", advice))
        else:
            findings.append(judge_link(about, by_serial[config.serial], name in on_usb2, load))
    return findings


def judge_link(about: str, info: CameraInfo, usb2: bool, usb2_bytes_s: float) -> Finding:
    """Judge how a camera is connected; `usb2_bytes_s` is what all configured cameras on USB 2 send together."""
    found = f"{info.name} {info.serial}, firmware {info.firmware}, USB {info.usb}"
    if not usb2:
        return ok(about, found)
    advice = "Use a USB 3 port (blue, or marked SS) and the USB 3 cable that came with the camera."
    if usb2_bytes_s > USB2_BYTES_S:
        return warning(
            about,
            f"{found}, which is too slow for {usb2_bytes_s / 1e6:.0f} MB/s of pictures: frames will be lost.",
            f"{advice} Or lower width, height or fps.",
        )
    return note(about, found, advice)


def check_camera(name: str, devices: DevicesConfig, policy_hz: float, folder: Path) -> Check:
    """Watch one configured camera, and keep a picture of it as NAME.png in a folder."""
    yield f"watching the cameras for {WATCH_S:g} s"
    try:
        camera = open_for_check(name, devices)
    except DeviceError as error:
        yield problem(subject(name), str(error))
        return
    try:
        yield from try_camera(subject(name), camera, devices.cameras[name].fps, policy_hz, folder / f"{name}.png")
    finally:
        camera.close()


def try_camera(about: str, camera: CountingCamera, fps: int, policy_hz: float, picture: Path) -> Check:
    """Watch a camera that should give `fps` frames a second, of which the policy needs `policy_hz`; keep a picture."""
    try:
        seen = watch(camera)
    except (DeviceError, TimeoutError) as error:
        yield problem(about, str(error))
        return
    save_picture(seen.image, picture)
    yield judge_frames(about, seen.seconds, seen.counts, fps, policy_hz)
    yield judge_picture(about, seen.image)


def watch(camera: CountingCamera, seconds: float = WATCH_S) -> Watch:
    """Read a camera, after it has settled, for a time. Raises TimeoutError if no frame comes, and DeviceError."""
    frame = camera.read(FIRST_FRAME_S)
    _, frame = _read_for(camera, SETTLE_S, frame)
    before = camera.counts
    took_s, frame = _read_for(camera, seconds, frame)
    return Watch(took_s, _since(before, camera.counts), frame.image)


def _read_for(camera: CountingCamera, seconds: float, newest: Frame) -> tuple[float, Frame]:
    """Read all frames of a time; return how long it took and the last frame."""
    began_s = time.monotonic()
    while (left_s := began_s + seconds - time.monotonic()) > 0:
        try:
            newest = camera.read(left_s)
        except TimeoutError:
            continue
    return time.monotonic() - began_s, newest


def _since(before: FrameCounts, after: FrameCounts) -> FrameCounts:
    return FrameCounts(
        after.good - before.good,
        after.dropped - before.dropped,
        after.repeated - before.repeated,
        after.out_of_order - before.out_of_order,
        after.restarts - before.restarts,
    )


def judge_frames(about: str, seconds: float, counts: FrameCounts, fps: int, policy_hz: float) -> Finding:
    """Judge how many frames came; `policy_hz` is how many a second the policy needs."""
    rate_hz = counts.good / seconds
    lost = {
        "dropped": counts.dropped,
        "repeated": counts.repeated,
        "out of order": counts.out_of_order,
        "restarts": counts.restarts,
    }
    faults = ", ".join(f"{count} {name}" for name, count in lost.items() if count)
    found = f"{rate_hz:.1f} of {fps} frames a second, {faults or 'none lost'}"
    advice = "Use a USB 3 port of its own and a short cable, close other programs that use it, and give it more light."
    if rate_hz < policy_hz:
        return problem(about, f"{found}; the policy needs {policy_hz:g}.", advice)
    if rate_hz < FEW_FRAMES * fps or sum(lost.values()) > MANY_LOST * counts.good:
        return warning(about, found, advice)
    return ok(about, found)


def judge_picture(about: str, image: NDArray[np.uint8]) -> Finding:
    """Judge whether a picture (height, width, 3) shows anything."""
    brightness, contrast = float(image.mean()), float(image.astype(np.float32).std(axis=(0, 1)).max())
    saturated = float((image.min(axis=2) >= BRIGHT).mean())
    found = f"picture {image.shape[1]}x{image.shape[0]}, brightness {brightness:.0f} of 255, contrast {contrast:.0f}"
    if brightness < DARK:
        return warning(about, f"{found}: dark.", "Switch the light on, and take off the lens cap.")
    if saturated > SATURATED:
        return warning(about, f"{found}: overexposed.", "Shade the camera, or dim the light.")
    if contrast < UNIFORM:
        return warning(about, f"{found}: it shows nothing.", "Clean the lens, and look where the camera points.")
    return ok(about, found)
