"""How well pictures and arm states are put on one time line, against times that are known.

    python benchmarks/time_alignment.py [--load] [--rate 125] [--width 320] [--no-realtime]

The emulated cell's physics say when they were as a picture or a state shows them; the real library clients, drivers and
processes find that time again from stamps of clocks that are off and drift, after delays. The delays are in the
configuration, as if they had been calibrated.
"""

import argparse
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from emulated_session import RATES_HZ, arm_process, emulated_config, emulated_session
from measuring import Row, conditions, options, percentiles, report
from numpy.typing import NDArray

from drift_robot.realtime.camera_process import CameraSetup, run_camera
from drift_robot.realtime.child import Life
from hardware.emulation.link import EmulatedCellLink
from hardware.emulation.realsense import DeviceClock, SoftwareCamera
from hardware.errors import DeviceError
from hardware.interfaces import Frame
from hardware.poses import Array
from hardware.rings import RingReader

BITS, STRIP_ROWS = 64, 16
ARM_DELAY_S = 0.008
"""The emulator holds states back for whole cycles: four at 500 Hz, one at 125 Hz."""
ARM_DRIFT = 3e-5
DELAYS_S = {"front": 0.02, "wrist": 0.045}
CLOCKS = {"front": DeviceClock(1234.5, 4e-5), "wrist": DeviceClock(-98.7, -6e-5)}


@dataclass(frozen=True)
class InjectedCamera:
    """A camera process' setup, and the true delay and clock of its camera."""

    camera: CameraSetup
    delay_s: float
    clock: DeviceClock


def run_injected_camera(setup: InjectedCamera, life: Life) -> None:
    """Be the camera process; the camera writes the true time of capture into its pictures."""

    def injected(serial: str, render: Any, **more: Any) -> SoftwareCamera:
        def stamped() -> Frame | None:
            frame: Frame | None = render()
            if frame is not None:
                write_time(frame.image, frame.capture_ns)
            return frame

        return SoftwareCamera(serial, stamped, **{**more, "clock": setup.clock})

    with ExitStack() as stack:
        stack.enter_context(patch("hardware.emulation.cell_camera.SoftwareCamera", injected))
        stack.enter_context(patch("hardware.emulation.cell_camera.LATENCY_S", setup.delay_s))
        run_camera(setup.camera, life)


def write_time(image: NDArray[np.uint8], time_ns: int) -> None:
    """Draw a time as a strip of black and white squares along the upper edge of a picture (h, w, 3)."""
    bits = time_ns >> np.arange(BITS) & 1
    image[:STRIP_ROWS] = np.repeat(255 * bits, image.shape[1] // BITS)[None, :, None]


def read_time(image: NDArray[np.uint8]) -> int:
    """Return the time in the strip of a picture (h, w, 3) that may have been averaged down."""
    column = image.shape[1] / BITS
    middles = ((np.arange(BITS) + 0.5) * column).astype(int)
    return sum(1 << bit for bit, value in enumerate(image[1, middles, 0].tolist()) if value > 127)


@dataclass
class Watch:
    """What is seen while the session runs: true times of views and their joints, and the cameras' pictures."""

    link: EmulatedCellLink
    rings: dict[str, RingReader]

    def __post_init__(self) -> None:
        self.views: list[tuple[int, tuple[float, ...]]] = []
        self.pictures: dict[str, list[tuple[int, int]]] = {name: [] for name in self.rings}
        self._read = dict.fromkeys(self.rings, 0)

    def look(self) -> bool:
        """Take in what is new; it is never enough."""
        view = self.link.view()
        self.views.append((view.capture_ns, tuple(view.drawing[:6].tolist())))
        for name, ring in self.rings.items():
            for record in ring.since(self._read[name]):
                self._read[name] = record.sequence
                self.pictures[name].append((read_time(record.value["image"]), int(record.value["capture_ns"])))
        return False


def measure(host: str, rate_hz: int, seconds: float, width: int, real_time: bool) -> list[Row]:
    """Return a row for arm, each camera, and each camera against the arm; pictures are 4:3."""
    config = emulated_config(host, real_time)
    assert config.devices is not None
    devices = replace(
        config.devices,
        arm=replace(config.devices.arm, latency_s=ARM_DELAY_S),
        cameras={
            name: replace(camera, width=width, height=width * 3 // 4) for name, camera in config.devices.cameras.items()
        },
    )
    config = replace(config, devices=devices)
    cameras = {
        f"camera {name}": (
            run_injected_camera,
            InjectedCamera(
                CameraSetup(name, devices.cameras[name], devices.emulator, picture.height, picture.width),
                DELAYS_S[name],
                CLOCKS[name],
            ),
        )
        for name, picture in config.cell.cameras.items()
    }
    drift = ("--clock-drift", str(ARM_DRIFT))
    with emulated_session(config, rate_hz, {"arm": arm_process(config), **cameras}, *drift) as session:
        session.robot.do("slow", seconds=ARM_DELAY_S)
        session.begin()
        rings = {name: RingReader(handle) for name, handle in session.lines.cameras.items()}
        with EmulatedCellLink(host) as link:
            watch = Watch(link, rings)
            session.drive(seconds, until=watch.look)
        stamps = {tuple(record["joints"].tolist()): int(record["capture_ns"]) for record in session.arm_records}
    arm = np.array([(true_ns, stamps[joints]) for true_ns, joints in watch.views if joints in stamps])
    rows = [row("arm", ARM_DELAY_S, ARM_DRIFT, error_ms(arm))]
    for name, pictures in watch.pictures.items():
        if len(pictures) < 2:
            raise DeviceError(f"Camera {name} sent no pictures: the machine is overloaded; try --rate 125.")
        seen = np.array(pictures)[1:]  # the first may be older than the measurement
        off_ms = error_ms(seen)
        against = off_ms - np.interp(seen[:, 0], arm[:, 0], error_ms(arm))
        rows.append(row(f"camera {name}", DELAYS_S[name], CLOCKS[name].drift, off_ms))
        rows.append({"stamps of": f"camera {name} against arm", **spread(against)})
    return rows


def error_ms(pairs: NDArray[np.int64]) -> Array:
    """Return how much later than true (n, 2) true and found times are found, in ms."""
    return (pairs[:, 1] - pairs[:, 0]) / 1e6


def row(name: str, delay_s: float, drift: float, error: Array) -> Row:
    """Return a row with what was injected."""
    injected: Row = {"injected delay, ms": delay_s * 1e3, "injected drift, ppm": drift * 1e6}
    return {"stamps of": name, **injected, **spread(error)}


def spread(error: Array) -> Row:
    """Return how large errors are, in ms."""
    sizes = {f"size {name}, ms": value for name, value in percentiles(np.abs(error), 50, 99).items()}
    return {"n": len(error), "mean error, ms": float(error.mean()), **sizes}


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, "127.0.5.4", 45.0)
    parser.add_argument("--rate", type=int, choices=RATES_HZ, default=500, help="of the robot, Hz")
    parser.add_argument("--width", type=int, choices=(640, 320), default=640, help="of the emulated cameras' pictures")
    parser.add_argument(
        "--realtime",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="ask for SCHED_FIFO; on two cores, which robot and session share, it takes them away from the cameras",
    )
    chosen = parser.parse_args()
    with conditions(chosen.load) as told:
        rows = measure(chosen.host, chosen.rate, chosen.seconds, chosen.width, chosen.realtime)
    report(told, {"Time alignment": rows}, chosen.json)


if __name__ == "__main__":
    try:
        main()
    except DeviceError as problem:
        raise SystemExit(str(problem)) from None
