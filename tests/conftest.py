"""What holds for every test: the same examples in every run, and no test fails because a machine is slow or because
pytest itself runs in the background or under nohup, whose deafness to signals is inherited. And emulated controllers,
each on a loopback address of its own."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from hardware.emulation.process import EmulatedController

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the cores; read when torch is imported

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

_numbers = itertools.count(2)


@pytest.fixture
def host() -> str:
    """An address that no other test of any session running now uses."""
    return f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{next(_numbers)}"


@pytest.fixture
def emulate(host: str) -> Iterator[Callable[..., EmulatedController]]:
    """Start an emulated controller with command-line options; it ends with the test."""
    started: list[EmulatedController] = []

    def start(*options: str) -> EmulatedController:
        started.append(EmulatedController(host, *options))
        return started[-1]

    yield start
    for controller in started:
        controller.close()
