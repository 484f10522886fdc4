"""An emulated robot as a whole: which controller, what is behind it, and serving until somebody ends it.

One implementation for `drift-robot emulate` and `python -m hardware.emulation`.
"""

import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING

from hardware.clock import MonotonicClock
from hardware.emulation.controller import Settings
from hardware.emulation.robot import IdealRobot
from hardware.emulation.server import check_host, serve
from hardware.emulation.variables import parse_version, rate_hz
from hardware.errors import DeviceError

if TYPE_CHECKING:
    from hardware.emulation.cell_robot import CellRobot

PHYSICS_STEP_S = 0.002
"""Divides the cycles of all controllers, 2 and 8 ms, so that the physics are the same behind each of them."""
PRIORITY = 20
"""Under SCHED_FIFO, below the arm's own process: a real controller is a machine of its own."""


@dataclass(frozen=True)
class Emulation:
    """What to emulate. Without a `task` there is no cell: an ideal robot with nothing around it."""

    host: str
    controller_version: str = "5.12.0.0"
    task: str | None = None
    seed: int = 0
    settings: Settings = field(default_factory=Settings)
    realtime: bool = False


def emulate(emulation: Emulation, *, ready: Callable[[bool], None], running: Callable[[], bool] = lambda: True) -> None:
    """Serve in this thread until SIGINT or SIGTERM, or until `running` says no.

    `ready` is called once the ports are open, with whether the process has real-time priority. Raises DeviceError for
    an address that cannot be served, an unknown version or an unknown task.
    """
    check_host(emulation.host)
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        robot = _cell(emulation.task, emulation.seed, emulation.controller_version) if emulation.task else None
        gc.freeze()
        serve(
            emulation.host,
            emulation.controller_version,
            robot or IdealRobot(),
            robot,
            settings=emulation.settings,
            ready=lambda: ready(emulation.realtime and _ask_for_real_time()),
            running=lambda: not stopping and running(),
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _cell(name: str, seed: int, controller_version: str) -> "CellRobot":
    from hardware.cell.cell import Cell  # MuJoCo, which the ideal robot need not wait for
    from hardware.cell.tasks import SCENES
    from hardware.emulation.cell_robot import CellRobot

    task = SCENES.get(name)
    if task is None:
        raise DeviceError(f"There is no task '{name}'; choose one of {', '.join(SCENES)}.")
    period_s = 1.0 / rate_hz(parse_version(controller_version))
    cell = Cell(task, physics_step_s=PHYSICS_STEP_S, servo_period_s=period_s, clock=MonotonicClock())
    cell.reset(seed)
    return CellRobot(cell)


def _ask_for_real_time() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError:
        return False
    return True
