"""One camera in its own process: a real one through its driver, or one of the simulated cell, drawn from its state."""

from dataclasses import dataclass

from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import Said
from drift_robot.realtime.pacing import Pace
from hardware.cameras.config import CameraConfig
from hardware.cameras.pictures import resized
from hardware.clock import MonotonicClock
from hardware.devices import open_camera
from hardware.rings import RingReader, RingWriter

READ_TIMEOUT_S = 0.5


@dataclass(frozen=True)
class CameraSetup:
    """A camera of a real cell by name, its driver's configuration, and the size in pixels at which it is recorded.

    `emulator` is the address of the emulated cell that it shows, or None.
    """

    name: str
    config: CameraConfig
    emulator: str | None
    height: int
    width: int


@dataclass(frozen=True)
class SimulatedCameraSetup:
    """Which camera of which task's simulated cell, the size of its pictures in pixels, and their period.

    `perception_offset_m` in base displaces what the fixed camera sees.
    """

    task: str
    name: str
    height: int
    width: int
    period_s: float
    perception_offset_m: tuple[float, float, float]


def run_camera(setup: CameraSetup, life: Life) -> None:
    """Pass pictures on until the session is over; what is wrong with the camera is said once."""
    camera = open_camera(setup.name, setup.config, setup.emulator)
    frames = RingWriter(life.lines.cameras[setup.name])
    life.ready()
    said = ""
    try:
        while not life.over():
            try:
                frame = camera.read(READ_TIMEOUT_S)
            except TimeoutError as problem:
                if str(problem) != said:
                    said = str(problem)
                    life.say(Said(said))
                continue
            said = ""
            frames.write({"capture_ns": frame.capture_ns, "image": resized(frame.image, setup.height, setup.width)})
    finally:
        camera.close()


def run_simulated_camera(setup: SimulatedCameraSetup, life: Life) -> None:
    """Draw until the session is over."""
    from hardware.cell.rendering import Renderer
    from hardware.cell.tasks import TASKS

    renderer = Renderer(TASKS[setup.task], perception_offset_m=setup.perception_offset_m)
    cell, frames = RingReader(life.lines.cell), RingWriter(life.lines.cameras[setup.name])
    pace = Pace(setup.period_s, MonotonicClock())
    life.ready()
    try:
        while not life.over():
            pace.wait()
            state = cell.latest()
            if state is not None:
                image = renderer.render(state.value["drawing"], setup.name, setup.height, setup.width)
                frames.write({"capture_ns": state.value["capture_ns"], "image": image})
    finally:
        renderer.close()
