"""Cameras of the emulated cell: software RealSenses that draw what the cell looks like, read by the real driver.

Rendering, library and driver are all in the process that opens the camera, as with a real one.
"""

import dataclasses

from hardware.cameras.config import CameraConfig, RealSenseConfig
from hardware.cameras.health import FrameCounts
from hardware.cameras.lens import Lens
from hardware.cameras.realsense import RealSenseCamera
from hardware.cell.model import CAMERAS
from hardware.cell.optics import true_lens
from hardware.cell.rendering import Backend, Renderer, backend
from hardware.cell.tasks import SCENES
from hardware.emulation.link import EmulatedCellLink
from hardware.emulation.realsense import SoftwareBus, SoftwareCamera
from hardware.errors import DeviceError
from hardware.interfaces import Frame

LATENCY_S = 0.03
"""From capture to arrival, time to draw included. The driver is told, as if it had been calibrated."""
FACTORY_FOCAL = 1.004
"""Factory values are good, but not perfect."""
COARSE = 4
"""Without OpenGL a picture is drawn this much smaller and enlarged: 640x480 would take 0.1 s."""


class EmulatedCamera:
    """A `Camera`: the real RealSense driver on a software camera, and all that it needs, until it is closed."""

    def __init__(self, name: str, config: RealSenseConfig, host: str) -> None:
        self._drawing = _Drawing(name, config.width, config.height, host)
        self._bus = SoftwareBus()
        software = SoftwareCamera(
            config.serial,
            self._drawing.frame,
            finish=self._drawing.close,
            width=config.width,
            height=config.height,
            fps=config.fps,
            latency_s=LATENCY_S + self._drawing.late_s,
            focal_px=true_lens(name, config.height, config.width).fx * FACTORY_FOCAL,
        )
        try:
            self._bus.plug(software)
            self._driver = RealSenseCamera(dataclasses.replace(config, latency_s=LATENCY_S), self._bus.context)
        except DeviceError:
            self._bus.close()
            raise

    @property
    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        return self._driver.counts

    @property
    def problem(self) -> str:
        """What is wrong with the camera now, in one sentence, or nothing."""
        return self._driver.problem

    @property
    def factory_lens(self) -> Lens:
        """What the camera itself says of its lens."""
        return self._driver.factory_lens

    def read(self, timeout_s: float) -> Frame:
        """Return the next good frame. Raises TimeoutError, and DeviceError once every restart has failed."""
        return self._driver.read(timeout_s)

    def close(self) -> None:
        """Stop streaming and drawing, and end the link to the cell."""
        self._driver.close()
        self._bus.close()


def open_emulated_camera(name: str, config: CameraConfig, host: str) -> EmulatedCamera:
    """Return the camera "front" or "wrist" of the emulated cell at a loopback address.

    It streams in the size and at the rate of `config`; in the place of a webcam there is a RealSense too. Raises
    DeviceError if there is no such camera, no emulator at the address, or no cell behind it.
    """
    if name not in CAMERAS:
        raise DeviceError(f"The emulated cell has no camera '{name}'; call the cameras {' and '.join(CAMERAS)}.")
    if not isinstance(config, RealSenseConfig):
        config = RealSenseConfig(name, config.width, config.height, config.fps, recovery=config.recovery)
    return EmulatedCamera(name, config, host)


class _Drawing:
    """Draws the cell as it is now. `frame` and `close` belong to one thread, as OpenGL demands."""

    def __init__(self, name: str, width: int, height: int, host: str) -> None:
        self._name = name
        self._link = EmulatedCellLink(host)
        view = self._link.view()
        self._task, self.late_s = SCENES[view.task], view.camera_late_s
        coarse = backend()[0] is Backend.RAYCAST and width % COARSE == height % COARSE == 0
        self._enlarged = COARSE if coarse else 1
        self._size = height // self._enlarged, width // self._enlarged
        self._renderer: Renderer | None = None

    def frame(self) -> Frame | None:
        """Return the cell's picture with the time of its physics, or None while the cell cannot be reached."""
        try:
            if self._renderer is None:
                self._renderer = Renderer(self._task)
                self._renderer.render(self._link.view().drawing, self._name, *self._size)  # the first one takes long
            view = self._link.view()
        except DeviceError:
            return None
        image = self._renderer.render(view.drawing, self._name, *self._size)
        if self._enlarged > 1:
            image = image.repeat(self._enlarged, axis=0).repeat(self._enlarged, axis=1)
        return Frame(view.capture_ns, image)

    def close(self) -> None:
        """Free the renderer and the link."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._link.close()
