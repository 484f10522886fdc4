"""A client of the UR dashboard server (port 29999): states, remote control, unlocking. Bounded in time, no library.

PolyScope X has no dashboard server. Source: "Dashboard Server e-Series", Universal Robots.
"""

import re
import socket
from types import TracebackType

from hardware.errors import DeviceError

PORT = 29999
REMOTE_CONTROL_SINCE = (5, 6)


class UrDashboard:
    """One connection. Raises DeviceError if the server cannot be reached or does not answer in `timeout_s`."""

    def __init__(self, host: str, timeout_s: float = 1.0) -> None:
        self._host = host
        try:
            self._socket = socket.create_connection((host, PORT), timeout_s)
        except OSError as problem:
            raise DeviceError(
                f"The dashboard server of the robot at {host} cannot be reached ({problem}); check the address, the"
                " network and, on PolyScope 5, that the dashboard server is enabled under Settings, Security, Services."
            ) from problem
        self._socket.settimeout(timeout_s)
        self._lines = self._socket.makefile("rw", newline="\n")
        self._line()

    def ask(self, command: str) -> str:
        """Send a line and return the answer."""
        try:
            self._lines.write(f"{command}\n")
            self._lines.flush()
        except OSError as problem:
            raise self._silent(problem) from problem
        return self._line()

    def version(self) -> tuple[int, int]:
        """Return the controller's major and minor version."""
        answer = self.ask("PolyscopeVersion")
        found = re.search(r"(\d+)\.(\d+)", answer)
        if found is None:
            raise DeviceError(f"The robot at {self._host} says '{answer}' where its version was expected.")
        return int(found.group(1)), int(found.group(2))

    def remote_control(self) -> bool:
        """Whether the robot may be controlled from outside; always true before the switch existed (5.6)."""
        return self.version() < REMOTE_CONTROL_SINCE or self.ask("is in remote control").strip() == "true"

    def robot_mode(self) -> str:
        """Return the robot mode, for instance RUNNING or POWER_OFF."""
        return self.ask("robotmode").removeprefix("Robotmode:").strip()

    def safety_status(self) -> str:
        """Return the safety status, for instance NORMAL or PROTECTIVE_STOP."""
        return self.ask("safetystatus").removeprefix("Safetystatus:").strip()

    def stop_program(self) -> None:
        """Stop whatever program runs."""
        self.ask("stop")

    def unlock_protective_stop(self) -> None:
        """Release a protective stop. Raises DeviceError with the controller's own words if it refuses."""
        self.ask("close safety popup")
        answer = self.ask("unlock protective stop")
        if answer.strip() != "Protective stop releasing":
            raise DeviceError(f"The robot does not release its protective stop: {answer.strip().rstrip('.')}.")

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> "UrDashboard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self) -> str:
        try:
            line = self._lines.readline()
        except OSError as problem:
            raise self._silent(problem) from problem
        if not line:
            raise DeviceError(f"The dashboard server of the robot at {self._host} closed the connection.")
        return line.rstrip("\n")

    def _silent(self, problem: OSError) -> DeviceError:
        return DeviceError(f"The dashboard server of the robot at {self._host} does not answer ({problem}).")
