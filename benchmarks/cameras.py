"""How long a picture takes from its capture to shared memory, and how many are lost on the way.

    python benchmarks/cameras.py [--load]

Two software RealSense cameras of 640x480 at 30 Hz show the emulated cell, each in the camera process of a session,
which writes them in the recorded size. 30 ms of the way are the emulated cameras' own, from capture to arrival.
"""

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from emulated_session import emulated_config, emulated_session
from measuring import Row, conditions, figures, options, report
from numpy.typing import NDArray

from drift_robot.realtime.camera_process import CameraSetup, run_camera
from drift_robot.realtime.child import Life
from hardware.cameras.config import CameraConfig
from hardware.cameras.health import FrameCounts
from hardware.clock import NS_PER_S
from hardware.errors import DeviceError
from hardware.rings import RingWriter

WARM_UP_S = 2.0


@dataclass(frozen=True)
class MeasuredCamera:
    """A camera process' setup, and the file for what is measured."""

    camera: CameraSetup
    file: Path


def run_measured_camera(setup: MeasuredCamera, life: Life) -> None:
    """Be the camera process, and note of every picture when it was captured and written, and the driver's counts."""
    from hardware.emulation.cell_camera import EmulatedCamera, open_emulated_camera

    opened: list[EmulatedCamera] = []
    notes: list[tuple[int, ...]] = []

    def open_noted(name: str, config: CameraConfig, host: str) -> EmulatedCamera:
        opened.append(open_emulated_camera(name, config, host))
        return opened[0]

    class NotedWriter(RingWriter):
        def write(self, fields: Mapping[str, Any]) -> int:
            number = super().write(fields)
            notes.append((fields["capture_ns"], time.monotonic_ns(), *astuple(opened[0].counts)))
            return number

    with ExitStack() as stack:
        stack.enter_context(patch("drift_robot.realtime.camera_process.RingWriter", NotedWriter))
        stack.enter_context(patch("hardware.emulation.cell_camera.open_emulated_camera", open_noted))
        run_camera(setup.camera, life)
    np.save(setup.file, np.array(notes))


def measure(host: str, seconds: float) -> list[Row]:
    """Return a row for each camera."""
    config = emulated_config(host)
    devices = config.devices
    assert devices is not None
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.npy" for name in config.cell.cameras}
        processes = {
            f"camera {name}": (
                run_measured_camera,
                MeasuredCamera(
                    CameraSetup(name, devices.cameras[name], devices.emulator, picture.height, picture.width),
                    files[name],
                ),
            )
            for name, picture in config.cell.cameras.items()
        }
        with emulated_session(config, 500, processes) as session:
            session.await_ready()
            session.drive(WARM_UP_S)
            began_ns = time.monotonic_ns()
            session.drive(seconds)
            session.stop()
        return [figures_of(name, np.load(file), began_ns, seconds) for name, file in files.items()]


def figures_of(name: str, notes: NDArray[np.int64], began_ns: int, seconds: float) -> Row:
    """Return a camera's row from its notes since the measurement began."""
    notes = notes[(notes[:, 1] >= began_ns) & (notes[:, 1] < began_ns + seconds * NS_PER_S)]
    captured, written = notes[:, :2].T
    counts = FrameCounts(*(notes[-1, 2:] - notes[0, 2:]).tolist())
    return {
        "camera": name,
        **figures("capture to shared memory, ms", (written - captured) / 1e6, 50, 99),
        "pictures": len(captured),
        "rate, Hz": (len(captured) - 1) / (captured[-1] - captured[0]) * NS_PER_S,
        "longest pause, ms": float(np.diff(captured).max()) / 1e6,
        "dropped": counts.dropped,
        "repeated": counts.repeated,
        "out of order": counts.out_of_order,
        "restarts": counts.restarts,
    }


def main() -> None:
    """Measure and print."""
    chosen = options(__doc__, "127.0.5.3", 300.0).parse_args()
    with conditions(chosen.load) as told:
        rows = measure(chosen.host, chosen.seconds)
    report(told, {"Cameras": rows}, chosen.json)


if __name__ == "__main__":
    try:
        main()
    except DeviceError as problem:
        raise SystemExit(str(problem)) from None
