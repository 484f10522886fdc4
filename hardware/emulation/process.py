"""Starting an emulated robot in a process of its own and commanding its faults: for tests, benchmarks and demos.

It has to be another process: the real client's constructors hold the interpreter lock.
"""

import subprocess
from types import TracebackType
from typing import Any

from hardware.child_process import start_module
from hardware.emulation.admin import AdminClient
from hardware.errors import DeviceError

START_S = 30.0


class EmulatedController:
    """A running `python -m hardware.emulation`; a context manager. `options` are its command-line options."""

    def __init__(self, host: str, *options: str) -> None:
        self.host = host
        self._process = start_module(
            "hardware.emulation",
            *("--host", host, "--with-parent", *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output = self._process.stdout
        line = output.readline() if output is not None else b""
        if line.strip() != b"ready":
            _, problem = self._process.communicate(timeout=START_S)
            raise DeviceError(f"The emulated controller did not start: {problem.decode().strip()}")
        self._admin = AdminClient(host, START_S)

    def do(self, name: str, **details: Any) -> dict[str, Any]:
        """Send one admin request (see faults.py) and return the answer. Raises DeviceError if it was not understood."""
        return self._admin.ask(name, **details)

    def state(self) -> dict[str, Any]:
        """Return joints, TCP position, runtime, safety and outputs as the controller itself has them."""
        return self.do("state")

    def events(self) -> list[str]:
        """Return what has happened so far, in words."""
        return [event["text"] for event in self.do("events")["events"]]

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate(timeout=START_S)
        self._admin.close()

    def __enter__(self) -> "EmulatedController":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
