"""RealSense cameras without hardware: software devices that the real library lists, opens and streams from.

A camera is fed by a function that renders. Its clock, latency and faults can be set, so that a driver can be tested on
frames whose true capture time is known.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.cameras.realsense import COUNTER_US, connected_cameras, load_library
from hardware.clock import NS_PER_S
from hardware.errors import DeviceError
from hardware.interfaces import Frame

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class DeviceClock:
    """A camera's clock: microseconds that turn over at 2^32. `drift` is seconds gained on each host second."""

    offset_s: float = 0.0
    drift: float = 0.0

    def stamp_us(self, host_ns: int) -> int:
        """Return what the camera's counter shows at a host time."""
        return round((host_ns + host_ns * self.drift + self.offset_s * NS_PER_S) / 1000) % COUNTER_US


class CameraFault(Enum):
    """What a camera can be told to do wrong."""

    NONE = "none"
    FREEZE = "send nothing"
    REPEAT = "send the same frame again and again"
    REORDER = "send every second frame after the one that follows it"
    DROP = "leave out every second frame"


class SoftwareCamera:
    """A camera that renders at its own rate from `start` on; frames arrive `latency_s` after their capture.

    `render` returns a picture (height, width, 3) uint8 RGB with its capture time, or None for none this time. It and
    `finish`, which follows the last one, are called in the camera's own thread. The stamp lies `readout_s` after the
    capture, as a device's does, and the metadata tell both.
    """

    def __init__(
        self,
        serial: str,
        render: Callable[[], Frame | None],
        *,
        finish: Callable[[], None] = lambda: None,
        width: int = 640,
        height: int = 480,
        fps: int = 30,
        latency_s: float = 0.0,
        readout_s: float = 0.008,
        clock: DeviceClock | None = None,
        usb: str = "3.2",
        focal_px: float | None = None,
    ) -> None:
        self.serial, self.fault = serial, CameraFault.NONE
        self._render, self._finish = render, finish
        self._clock, self._usb = clock or DeviceClock(), usb
        self._focal_px = focal_px or 0.95 * width
        self._width, self._height, self._fps = width, height, fps
        self._latency_ns, self._readout_ns = round(latency_s * NS_PER_S), round(readout_s * NS_PER_S)
        self._device: Any = None
        self._sensor: Any = None
        self._profile: Any = None
        self._number = 0
        self._held: tuple[int, int, Image] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def build(self) -> Any:
        """Return a new `rs.software_device` with one colour stream, for a `SoftwareBus`."""
        rs = load_library()
        self._device = rs.software_device()
        info = rs.camera_info
        for key, value in (
            (info.serial_number, self.serial),
            (info.name, "Software camera"),
            (info.product_line, "D400"),
            (info.firmware_version, "5.16.0.1"),
            (info.usb_type_descriptor, self._usb),
        ):
            self._device.register_info(key, value)
        self._sensor = self._device.add_sensor("RGB Camera")
        self._sensor.add_option(rs.option.global_time_enabled, rs.option_range(0.0, 1.0, 1.0, 1.0), True)
        lens = rs.intrinsics()
        lens.width, lens.height = self._width, self._height
        lens.fx = lens.fy = self._focal_px
        lens.ppx, lens.ppy = (self._width - 1) / 2, (self._height - 1) / 2
        lens.model, lens.coeffs = rs.distortion.brown_conrady, [0.0] * 5
        stream = rs.video_stream()
        stream.type, stream.fmt, stream.uid = rs.stream.color, rs.format.rgb8, 1
        stream.width, stream.height, stream.fps, stream.bpp = self._width, self._height, self._fps, 3
        stream.intrinsics = lens
        self._profile = rs.video_stream_profile(self._sensor.add_video_stream(stream))
        return self._device

    def forget(self) -> None:
        """Drop the device, so that the library sees it vanish once nobody streams from it."""
        self.stop()
        self._device = self._sensor = self._profile = None

    def start(self) -> None:
        """Render and deliver frames from a thread."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def push(self, number: int, capture_ns: int, image: Image) -> None:
        """Deliver one frame now, captured at a host time."""
        rs = load_library()
        stamp_us = self._clock.stamp_us(capture_ns + self._readout_ns)
        frame = rs.software_video_frame()
        frame.pixels = np.ascontiguousarray(image)
        frame.stride, frame.bpp = self._width * 3, 3
        frame.timestamp, frame.domain = stamp_us / 1000.0, rs.timestamp_domain.hardware_clock
        frame.frame_number, frame.profile = number, self._profile
        self._sensor.set_metadata(rs.frame_metadata_value.frame_timestamp, stamp_us)
        self._sensor.set_metadata(rs.frame_metadata_value.sensor_timestamp, self._clock.stamp_us(capture_ns))
        self._sensor.on_video_frame(frame)

    def _run(self) -> None:
        try:
            self._stream()
        finally:
            self._finish()

    def _stream(self) -> None:
        period_ns = NS_PER_S // self._fps
        capture_ns = time.monotonic_ns()
        waiting: deque[tuple[int, int, Image]] = deque()
        while True:
            due_ns = min(capture_ns, waiting[0][1] + self._latency_ns) if waiting else capture_ns
            if self._stop.wait(max(0, due_ns - time.monotonic_ns()) / NS_PER_S):
                return
            if waiting and due_ns == waiting[0][1] + self._latency_ns:
                self._deliver(*waiting.popleft())
            else:
                taken_ns = time.monotonic_ns()
                if (frame := self._render()) is not None:
                    self._number += 1
                    waiting.append((self._number, frame.capture_ns, frame.image))
                capture_ns = max(capture_ns + period_ns, taken_ns)

    def _deliver(self, number: int, capture_ns: int, image: Image) -> None:
        fault, held = self.fault, self._held
        if fault is CameraFault.FREEZE or (fault is CameraFault.DROP and number % 2):
            return
        if fault is CameraFault.REPEAT:
            self._held = held = held or (number, capture_ns, image)
            self.push(*held)
        elif fault is CameraFault.REORDER and number % 2:
            self._held = number, capture_ns, image
            if held is not None:
                self.push(*held)
        else:
            self.push(number, capture_ns, image)
            if fault is CameraFault.NONE:
                self._held = None


class SoftwareBus:
    """An `rs.context` into which software cameras are plugged and from which they are unplugged."""

    def __init__(self) -> None:
        self.context: Any = load_library().context()
        # The context keeps weak references only: a device stays listed as long as somebody holds the list it came in.
        self._news: list[Any] = []
        self._plugged: dict[str, tuple[SoftwareCamera, list[Any]]] = {}
        self.context.set_devices_changed_callback(lambda event: self._news.append(event.get_new_devices()))

    def plug(self, camera: SoftwareCamera, timeout_s: float = 5.0) -> None:
        """Make a camera visible and start it. Raises DeviceError if the library does not list it."""
        camera.build().add_to(self.context)
        deadline_s = time.monotonic() + timeout_s
        while camera.serial not in self._serials():
            if time.monotonic() > deadline_s:
                raise DeviceError(f"The RealSense library does not list the software camera {camera.serial}.")
            time.sleep(0.005)
        self._plugged[camera.serial] = camera, self._news.copy()
        self._news.clear()
        camera.start()

    def unplug(self, serial: str) -> None:
        """Make a camera vanish; a pipeline that streams from it gets no more frames."""
        camera, devices = self._plugged.pop(serial)
        camera.forget()
        devices.clear()

    def close(self) -> None:
        """Unplug all."""
        for serial in list(self._plugged):
            self.unplug(serial)

    def _serials(self) -> list[str]:
        return [info.serial for info in connected_cameras(self.context)]
