"""An Intel RealSense camera as a `Camera`: colour pictures of one device, found by its serial number.

Stamps are the middle of the exposure on the device's own clock, mapped onto the host's here. The library's own mapping
(its "global time") is switched off: it can step by seconds when the device's 32-bit clock turns over, after 71.6 min.
"""

import ctypes
import importlib
import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hardware.cameras.clock_map import ClockMap, Unwrap
from hardware.cameras.config import RealSenseConfig
from hardware.cameras.health import FrameCounts, FrameHealth, Recovery, Verdict
from hardware.cameras.lens import Lens
from hardware.clock import NS_PER_S, Clock, MonotonicClock
from hardware.errors import DeviceError
from hardware.interfaces import Frame

INSTALL = "The RealSense cameras need a library: pip install 'drift-robot[realsense]'."
COUNTER_US = 2**32
POLL_S = 0.1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CameraInfo:
    """A connected camera; `usb` is the version of the link in use, "2.1" or "3.2" for instance."""

    serial: str
    name: str
    firmware: str
    usb: str


def load_library() -> ModuleType:
    """Import pyrealsense2, with the libusb of the Python package where the system has none. Raises DeviceError."""
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        if "libusb" not in str(error):
            raise DeviceError(INSTALL) from error
    try:
        libusb = importlib.import_module("libusb_package").get_library_path()
        ctypes.CDLL(str(libusb), mode=ctypes.RTLD_GLOBAL)
        return importlib.import_module("pyrealsense2")
    except (ImportError, OSError) as error:
        raise DeviceError(INSTALL) from error


def connected_cameras(context: Any = None) -> list[CameraInfo]:
    """Return the cameras that the library sees. `context` is an `rs.context`; the default is a new one."""
    rs = load_library()
    return [_info(rs, device) for device in (context or rs.context()).query_devices()]


def _info(rs: ModuleType, device: Any) -> CameraInfo:
    def get(key: Any) -> str:
        return str(device.get_info(key)) if device.supports(key) else "unknown"

    info = rs.camera_info
    return CameraInfo(
        get(info.serial_number), get(info.name), get(info.firmware_version), get(info.usb_type_descriptor)
    )


class RealSenseCamera:
    """Reads one device's colour stream; restarts it when frames stop, and gives up after a bounded number of tries.

    The library can block for good inside a call on a broken link, so this belongs into a process of its own.
    """

    def __init__(self, config: RealSenseConfig, context: Any = None, clock: Clock | None = None) -> None:
        """Start streaming. Raises DeviceError if the camera is not connected or does not offer the mode."""
        self._rs = load_library()
        self._config = config
        self._context = context or self._rs.context()
        self._clock = clock or MonotonicClock()
        self._clock_map = ClockMap()
        self._unwrap = Unwrap(COUNTER_US * 1000)
        self._health = FrameHealth(self._clock.now_ns())
        self._recovery = Recovery(config.recovery)
        self._problem = ""
        self._pipeline: Any = self._start()

    @property
    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        return self._health.counts

    @property
    def problem(self) -> str:
        """What is wrong with the camera now, in one sentence, or nothing."""
        return self._problem

    @property
    def clock_drift(self) -> float:
        """The estimated drift of the device's clock, in seconds per second."""
        return self._clock_map.drift

    @property
    def factory_lens(self) -> Lens:
        """What the camera itself says of its lens; its distortion is taken for OpenCV's, as the ROS driver does."""
        stream = self._pipeline.get_active_profile().get_stream(self._rs.stream.color)
        told = stream.as_video_stream_profile().get_intrinsics()
        k1, k2, p1, p2, k3 = map(float, told.coeffs)
        return Lens(told.width, told.height, told.fx, told.fy, told.ppx, told.ppy, (k1, k2, p1, p2, k3))

    def read(self, timeout_s: float) -> Frame:
        """Return the next good frame. Raises TimeoutError, and DeviceError once every restart has failed."""
        deadline_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while True:
            now_ns = self._clock.now_ns()
            frame = self._poll(min(max((deadline_ns - now_ns) / NS_PER_S, 0.0), POLL_S))
            if frame is not None:
                return frame
            self._recover()
            if self._clock.now_ns() >= deadline_ns:
                raise TimeoutError(self._problem or f"{self._name} sent no new frame within {timeout_s:g} s.")

    def close(self) -> None:
        """Stop streaming."""
        if self._pipeline is not None:
            pipeline, self._pipeline = self._pipeline, None
            try:
                pipeline.stop()
            except RuntimeError as error:
                log.warning("%s did not stop cleanly: %s.", self._name, error)

    @property
    def _name(self) -> str:
        return f"RealSense camera {self._config.serial}"

    def _start(self) -> Any:
        config = self._config
        rs = self._rs
        devices = {info.serial: device for device in self._context.query_devices() for info in [_info(rs, device)]}
        if config.serial not in devices:
            seen = ", ".join(sorted(devices)) or "none"
            raise DeviceError(f"{self._name} is not connected (connected: {seen}): plug it in or correct its serial.")
        for sensor in devices[config.serial].query_sensors():
            if sensor.supports(rs.option.global_time_enabled):
                sensor.set_option(rs.option.global_time_enabled, 0.0)
        mode = f"{config.width}x{config.height} at {config.fps} Hz"
        wanted = rs.config()
        wanted.enable_device(config.serial)
        wanted.enable_stream(rs.stream.color, config.width, config.height, rs.format.rgb8, config.fps)
        pipeline = rs.pipeline(self._context)
        try:
            pipeline.start(wanted)
        except RuntimeError as error:
            raise DeviceError(
                f"{self._name} does not start in {mode} ({error}): "
                "choose a mode that it offers, use a USB 3 port, and close other programs that use it."
            ) from error
        return pipeline

    def _poll(self, timeout_s: float) -> Frame | None:
        """Return a good frame if one comes in time."""
        if self._pipeline is None:
            self._clock.sleep_until_ns(self._clock.now_ns() + round(timeout_s * NS_PER_S))
            return None
        try:
            arrived, frames = self._pipeline.try_wait_for_frames(max(1, round(timeout_s * 1000)))
        except RuntimeError as error:
            log.warning("%s broke off: %s.", self._name, error)
            self.close()
            return None
        color = frames.get_color_frame() if arrived else None
        if not color:
            return None
        receipt_ns = self._clock.now_ns()
        stamp_ns = self._unwrap(round(color.get_timestamp() * 1e6)) - self._exposure_lag_ns(color)
        verdict = self._health.judge(color.get_frame_number(), stamp_ns, receipt_ns)
        if verdict is not Verdict.GOOD:
            log.debug("%s: frame %d is %s.", self._name, color.get_frame_number(), verdict.value)
            return None
        self._recovery.good_frame(receipt_ns)
        if self._problem:
            log.warning("%s sends frames again.", self._name)
            self._problem = ""
        capture_ns = self._clock_map.map(stamp_ns, receipt_ns) - round(self._config.latency_s * NS_PER_S)
        return Frame(capture_ns, np.array(color.get_data(), dtype=np.uint8))

    def _exposure_lag_ns(self, color: Any) -> int:
        """Return the time from the middle of the exposure to the frame's stamp, where the device tells both."""
        sensor, frame = self._rs.frame_metadata_value.sensor_timestamp, self._rs.frame_metadata_value.frame_timestamp
        if not (color.supports_frame_metadata(sensor) and color.supports_frame_metadata(frame)):
            return 0
        lag_us = (color.get_frame_metadata(frame) - color.get_frame_metadata(sensor)) % COUNTER_US
        return int(lag_us) * 1000 if lag_us < 1_000_000 else 0

    def _recover(self) -> None:
        """Restart the stream if it has stopped and a restart is due."""
        now_ns = self._clock.now_ns()
        if self._pipeline is not None and self._health.silent_s(now_ns) < self._config.recovery.stalled_s:
            return
        if not self._problem:
            self._problem = f"{self._name} has stopped sending new frames and is being restarted."
            log.warning("%s", self._problem)
        if not self._recovery.due(now_ns):
            return
        self.close()
        if self._recovery.exhausted:
            raise DeviceError(
                f"{self._name} sends no frames, also after {self._config.recovery.restarts} restarts: "
                "check its cable and its USB port, then start again."
            )
        self._recovery.tried(now_ns)
        try:
            self._pipeline = self._start()
        except DeviceError as error:
            self._problem = str(error)
            log.warning("%s", error)
        self._clock_map.restart()
        self._health.restarted(self._clock.now_ns())
        self._health.forget_order()
