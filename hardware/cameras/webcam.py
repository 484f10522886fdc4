"""A webcam or network camera as a `Camera`, through OpenCV: the cheap alternative to a RealSense.

A webcam tells no frame numbers and, but for Linux's V4L2, no time of capture. So repeats are found by their pixels,
which noise makes different from frame to frame; and a frame without a stamp counts as captured at its receipt. The
calibrated latency is taken off.
"""

import logging
import threading
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from hardware.cameras.clock_map import ClockMap
from hardware.cameras.config import WebcamConfig
from hardware.cameras.health import FrameCounts, FrameHealth, Recovery, Verdict
from hardware.clock import NS_PER_S
from hardware.errors import DeviceError
from hardware.interfaces import Frame

OPEN_TIMEOUT_S = 5.0
HANGS_S = 20.0

log = logging.getLogger(__name__)


class Webcam:
    """Reads a camera from a thread of its own, because OpenCV can wait for ten seconds for a frame."""

    def __init__(self, config: WebcamConfig) -> None:
        """Open the camera. Raises DeviceError if it is not there or does not offer the size."""
        self._config = config
        self._recovery = Recovery(config.recovery)
        self._clock_map = ClockMap()
        self._number = 0
        self._picture: NDArray[np.uint8] | None = None
        self._problem = ""
        self._given_up = ""
        self._frame: Frame | None = None
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._capture = self._open()
        self._health = FrameHealth(time.monotonic_ns())
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def counts(self) -> FrameCounts:
        """What became of the frames so far; dropped ones cannot be told."""
        return self._health.counts

    @property
    def problem(self) -> str:
        """What is wrong with the camera now, in one sentence, or nothing."""
        return self._problem

    def read(self, timeout_s: float) -> Frame:
        """Return the next good frame. Raises TimeoutError, and DeviceError once every restart has failed."""
        with self._news:
            self._news.wait_for(lambda: self._frame is not None or self._given_up, timeout_s)
            frame, self._frame = self._frame, None
        if frame is not None:
            return frame
        if self._given_up:
            raise DeviceError(self._given_up)
        if self._health.silent_s(time.monotonic_ns()) > HANGS_S:
            raise DeviceError(f"{self._name} hangs: unplug it, plug it in again and start again.")
        raise TimeoutError(self._problem or f"{self._name} sent no new frame within {timeout_s:g} s.")

    def close(self) -> None:
        """Release the camera; one that hangs is left behind."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    @property
    def _name(self) -> str:
        return f"Webcam {self._config.source}"

    def _open(self) -> cv2.VideoCapture:
        config = self._config
        if isinstance(config.source, int):
            capture = cv2.VideoCapture(config.source)
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
            capture.set(cv2.CAP_PROP_FPS, config.fps)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        else:
            timeouts_ms = [round(OPEN_TIMEOUT_S * 1000), round(config.recovery.stalled_s * 1000)]
            capture = cv2.VideoCapture(
                config.source,
                cv2.CAP_FFMPEG,
                [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeouts_ms[0], cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeouts_ms[1]],
            )
        if not capture.isOpened():
            raise DeviceError(f"{self._name} does not open: plug it in, or correct its source.")
        size = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if size != (config.width, config.height):
            capture.release()
            raise DeviceError(
                f"{self._name} gives {size[0]}x{size[1]} instead of {config.width}x{config.height}: "
                "set a size that it offers."
            )
        return capture

    def _run(self) -> None:
        while not self._stop.is_set() and not self._given_up:
            arrived, picture = self._capture.read()
            now_ns = time.monotonic_ns()
            if arrived:
                self._take(np.asarray(picture, dtype=np.uint8), now_ns)
            if self._health.silent_s(time.monotonic_ns()) >= self._config.recovery.stalled_s:
                self._recover()
            elif not arrived:
                self._stop.wait(0.02)
        self._capture.release()

    def _take(self, picture: NDArray[np.uint8], receipt_ns: int) -> None:
        """Hand out a frame if it is new."""
        repeated = self._picture is not None and np.array_equal(picture, self._picture)
        self._picture = picture
        self._number += not repeated
        stamped = self._capture.getBackendName() == "V4L2"
        stamp_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6) if stamped else receipt_ns
        if self._health.judge(self._number, stamp_ns, receipt_ns) is not Verdict.GOOD:
            return
        self._recovery.good_frame(receipt_ns)
        if self._problem:
            log.warning("%s sends frames again.", self._name)
            self._problem = ""
        capture_ns = self._clock_map.map(stamp_ns, receipt_ns) if stamped else receipt_ns
        image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        with self._news:
            self._frame = Frame(capture_ns - round(self._config.latency_s * NS_PER_S), image)
            self._news.notify()

    def _recover(self) -> None:
        """Open the camera anew if that is due; give up after the last try."""
        now_ns = time.monotonic_ns()
        if not self._problem:
            self._problem = f"{self._name} has stopped sending new frames and is being restarted."
            log.warning("%s", self._problem)
        if not self._recovery.due(now_ns):
            self._stop.wait(0.02)
            return
        if self._recovery.exhausted:
            with self._news:
                self._given_up = (
                    f"{self._name} sends no frames, also after {self._config.recovery.restarts} restarts: "
                    "check its cable, then start again."
                )
                self._news.notify()
            return
        self._recovery.tried(now_ns)
        self._capture.release()
        try:
            self._capture = self._open()
        except DeviceError as error:
            self._problem = str(error)
            log.warning("%s", error)
        self._clock_map.restart()
        self._health.restarted(time.monotonic_ns())
