"""`python -m hardware.emulation`: an emulated robot in a process of its own, by default an ideal one without a cell."""

import argparse
import os
import sys

from hardware.emulation.admin import UNLOCK_DELAY_S
from hardware.emulation.controller import COMPILE_S, Settings
from hardware.emulation.emulator import Emulation, emulate
from hardware.errors import DeviceError


def main() -> None:
    """Serve until interrupted; says `ready` once the ports are open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.2", help="loopback address, one for every robot")
    parser.add_argument("--controller-version", default="5.12.0.0", help="3.15, 5.x or 10.x")
    parser.add_argument("--task", default=None, help="put the simulated cell behind it, with this task")
    parser.add_argument("--seed", type=int, default=0, help="the cell's first scene")
    parser.add_argument("--local-control", action="store_true", help="remote control is switched off at the pendant")
    parser.add_argument("--compile-s", type=float, default=COMPILE_S, help="time from upload to start of a program")
    parser.add_argument(
        "--unlock-delay-s", type=float, default=UNLOCK_DELAY_S, help="wait before a protective stop unlocks"
    )
    parser.add_argument("--clock-drift", type=float, default=0.0, help="what its clock gains on the host's, s/s")
    parser.add_argument("--realtime", action="store_true", help="ask for real-time priority")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started it does")
    arguments = parser.parse_args()
    parent = os.getppid()
    emulation = Emulation(
        arguments.host,
        arguments.controller_version,
        arguments.task,
        arguments.seed,
        Settings(arguments.compile_s, arguments.unlock_delay_s, not arguments.local_control, arguments.clock_drift),
        arguments.realtime,
    )
    try:
        emulate(
            emulation,
            ready=lambda _: print("ready", flush=True),
            running=lambda: not arguments.with_parent or os.getppid() == parent,
        )
    except DeviceError as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
