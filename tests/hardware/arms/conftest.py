"""A UR driver on an emulated controller."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from hardware.arms.ur import UrArm
from hardware.arms.ur_config import UrConfig
from hardware.emulation.process import EmulatedController
from hardware.interfaces import Safety
from hardware.poses import Pose


def patient(host: str, **settings: object) -> UrConfig:
    """Return a configuration whose bounds a busy machine with two cores keeps; a lab keeps the defaults."""
    bounds = {"max_age_s": 0.5, "watchdog_hz": 2.0, "connect_timeout_s": 60.0, "respawn_pause_s": 0.2}
    return UrConfig(host=host, **{**bounds, "realtime": False, **settings})


class UrRig:
    """An emulated controller, the driver on it, and the real-time loop that an application would run."""

    def __init__(self, controller: EmulatedController, **settings: object) -> None:
        self.controller = controller
        self.arm = UrArm(patient(controller.host, **settings))
        self.target = self.arm.read().base_from_tcp

    def servo(self, seconds: float, velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        """Servo at a velocity in base (m/s) in real time."""
        last = time.monotonic()
        end = last + seconds
        while (now := time.monotonic()) < end:
            step = np.array(velocity) * min(now - last, 0.02)
            self.target, last = Pose(self.target.position + step, self.target.rotation), now
            self.arm.servo(self.target)
            time.sleep(self.arm.servo_period_s)

    def arrives(self, timeout_s: float = 20.0) -> bool:
        """Servo on the present target until it is measured; return whether that happened in time."""
        deadline = time.monotonic() + timeout_s
        while np.abs(self.arm.read().base_from_tcp.position - self.target.position).max() > 1e-4:
            self.servo(0.05)
            if time.monotonic() > deadline:
                return False
        return True

    def until(self, condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
        """Read in a loop until a condition holds; return whether it did in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.arm.read()
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)

    def safety(self) -> Safety:
        """Return the state as an application sees it."""
        return self.arm.read().safety

    def at_rest(self) -> bool:
        """Tell whether the emulated arm itself stands still, over a tenth of a second."""
        before = self.position()
        time.sleep(0.1)
        return bool(np.abs(self.position() - before).max() < 1e-7)

    def position(self) -> np.ndarray:
        """Return the true TCP position."""
        return np.array(self.controller.state()["tcp_position"])

    def starts(self) -> int:
        """How often a control program has been started on the controller."""
        return self.controller.events().count("program started")

    def watchdog_ends_program(self) -> bool:
        """Wait for the controller's own watchdog to end the program and for the arm to come to rest."""
        return self.until(
            lambda: "program ended: the watchdog expired" in self.controller.events(), 5.0
        ) and self.until(self.at_rest, 2.0)

    def recover(self) -> bool:
        """Give the operator's word and wait until the arm is ready."""
        self.arm.recover()
        ready = self.until(lambda: self.arm.armed and self.safety() is Safety.NORMAL)
        self.target = self.arm.read().base_from_tcp
        return ready

    def moves(self) -> bool:
        """Tell whether servo commands move the arm now."""
        before = self.position()
        self.servo(0.5, (0.0, 0.05, 0.0))
        return bool(self.position()[1] - before[1] > 0.005)


@pytest.fixture
def config(host: str) -> Callable[..., UrConfig]:
    """Return patient configurations for the test's address."""
    return lambda **settings: patient(host, **settings)


@pytest.fixture
def ur(emulate: Callable[..., EmulatedController]) -> Iterator[Callable[..., UrRig]]:
    """Start an emulated controller with options, and the driver on it with settings."""
    rigs: list[UrRig] = []

    def start(*options: str, **settings: object) -> UrRig:
        rigs.append(UrRig(emulate(*options), **settings))
        return rigs[-1]

    yield start
    for rig in rigs:
        rig.arm.close()
