"""How late the host learns of a motion on an input device: a virtual one is played on, and read through its driver.

That is the part which the host adds: library, driver, and waiting for the next reading. What the device itself, its
cable or its radio adds cannot be seen from here.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from calibration.errors import NotGoodEnoughError
from calibration.files import INPUT, Calibration, Kind
from calibration.pictures import delays_picture
from calibration.procedures import Result
from hardware.clock import NS_PER_S, MonotonicClock
from hardware.errors import DeviceError
from hardware.input_devices import DeviceName
from hardware.interfaces import InputDevice

READ_PERIOD_S = 0.002
"""How often a session reads the device."""
PAUSE_S = 0.01
PATIENCE_S = 5.0
MOTIONS = 60
PUSHED = 0.9
FULL_TRAVEL = 350


def measure_input_latency(device: DeviceName, software_version: str) -> Result:
    """Return what a virtual gamepad or SpaceMouse gave.

    Raises DeviceError, and NotGoodEnoughError for other devices.
    """
    if device == "gamepad":
        with _gamepad() as (virtual, push):
            delays_s = _delays(virtual, push)
    elif device == "spacemouse":
        with _spacemouse() as (virtual, push):
            delays_s = _delays(virtual, push)
    else:
        raise NotGoodEnoughError(f"The latency of the {device} is not measured: gamepads and SpaceMice only.")
    median_s, worst_s = float(np.median(delays_s)), float(np.quantile(delays_s, 0.99))
    sentence = (
        f"The host learns of a motion on the {device} after {1000 * median_s:.1f} ms (99 %: {1000 * worst_s:.1f})."
    )
    calibration = Calibration(
        Kind.LATENCY,
        INPUT,
        {"host_s": median_s, "host_p99_s": worst_s},
        {"expected_error_ms": 1000 * float(np.std(delays_s, ddof=1)) / float(np.sqrt(len(delays_s)))},
        {"motions": len(delays_s)},
        {"input": f"virtual {device}"},
        software_version=software_version,
    )
    return Result(calibration, {"delays": delays_picture(delays_s, sentence)}, (sentence,))


def _delays(device: InputDevice, push: Callable[[float], None]) -> list[float]:
    """Return the times in s from a motion to the stamp of the first reading that shows it."""
    rng = np.random.default_rng(0)
    delays_s = []
    for motion in range(2 * MOTIONS):
        _rest(device)
        time.sleep(rng.uniform(0.0, READ_PERIOD_S))  # so that it may come at any time between two readings
        out = motion % 2 == 0
        began_ns = time.monotonic_ns()
        push(PUSHED if out else 0.0)
        time.sleep(rng.uniform(0.0, READ_PERIOD_S))
        reading = device.read()
        while bool(np.any(reading.twist)) is not out:
            if time.monotonic_ns() - began_ns > PATIENCE_S * NS_PER_S:
                raise DeviceError(
                    "The driver does not hear the virtual device: another one may be plugged in; unplug it."
                )
            time.sleep(READ_PERIOD_S)
            reading = device.read()
        if out:
            delays_s.append((reading.capture_ns - began_ns) / NS_PER_S)
    return delays_s


def _rest(device: InputDevice) -> None:
    """Read the device for a moment, as a session does."""
    until_ns = time.monotonic_ns() + round(PAUSE_S * NS_PER_S)
    while time.monotonic_ns() < until_ns:
        device.read()
        time.sleep(READ_PERIOD_S)


@contextmanager
def _gamepad() -> Iterator[tuple[InputDevice, Callable[[float], None]]]:
    from hardware.emulation.gamepad import VirtualPad
    from hardware.input_devices.gamepad import Gamepad

    pad = VirtualPad()
    try:
        with closing(Gamepad(MonotonicClock())) as gamepad:
            yield gamepad, lambda value: pad.set("left_x", value)
    finally:
        pad.unplug()


@contextmanager
def _spacemouse() -> Iterator[tuple[InputDevice, Callable[[float], None]]]:
    from hardware.emulation.spacenavd import EmulatedSpacenavd
    from hardware.input_devices.spacemouse import SpaceMouse
    from hardware.input_devices.spacenav import SpacenavLink

    with tempfile.TemporaryDirectory() as folder, closing(EmulatedSpacenavd(Path(folder) / "spnav.sock")) as daemon:
        link = SpacenavLink(str(Path(folder) / "spnav.sock"))
        with closing(SpaceMouse(link, MonotonicClock())) as mouse:
            yield mouse, lambda value: daemon.move(x=round(FULL_TRAVEL * value))
