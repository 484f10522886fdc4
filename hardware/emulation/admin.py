"""The admin socket of an emulated robot from outside: where it is, a client, and its faults by the names people type.

One JSON object a line, answered by one line; what the emulator does with it is in faults.py. No numpy here.
"""

import json
import os
import socket
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from hardware.errors import DeviceError

SERVICES = ("rtde", "script", "dashboard", "robotiq")
UNLOCK_DELAY_S = 5.0


def admin_path(host: str) -> Path:
    """Return the path of the admin socket of the emulator at an address; it differs between users."""
    return Path(tempfile.gettempdir()) / f"drift-robot-{os.getuid()}" / f"{host}.admin"


class AdminClient:
    """A connection to the emulator at a loopback address: opened by the first request, and again after a failure."""

    def __init__(self, host: str, timeout_s: float = 2.0) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises DeviceError if no emulator runs at the address, it does not answer in time, or cannot do what was asked.
        """
        try:
            answer: dict[str, Any] = json.loads(self._exchange(json.dumps({"do": do, **details}).encode() + b"\n"))
        except TimeoutError as problem:
            self.close()
            raise DeviceError(
                f"The emulated robot at {self.host} does not answer within {self._timeout_s:g} s;"
                " its process hangs, or the machine is overloaded."
            ) from problem
        except OSError as problem:
            self.close()
            raise DeviceError(
                f"No emulated robot runs at {self.host}; start one with 'drift-robot emulate --host {self.host}'."
            ) from problem
        if "error" in answer:
            raise DeviceError(f"The emulated robot at {self.host}: {answer['error']}.")
        return answer

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> "AdminClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, request: bytes) -> bytes:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(self._timeout_s)
            self._socket.connect(os.fspath(admin_path(self.host)))
        self._socket.sendall(request)
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._socket.recv(1 << 20)
            if not part:
                raise ConnectionResetError
            answer += part
        return answer


class Value(StrEnum):
    """What may follow a fault's name."""

    NONE = ""
    SWITCH = "on|off"
    SECONDS = "SECONDS"
    SERVICE = "|".join((*SERVICES, "all"))


@dataclass(frozen=True)
class Fault:
    """Something that can be made to happen to the robot: the admin request, its argument, and what a person reads."""

    request: str
    effect: str
    value: Value = Value.NONE
    default: str = ""

    @property
    def usage(self) -> str:
        """What may follow the name, for people."""
        return f" [{self.value}, without it {self.default}]" if self.value else ""


FAULTS = {
    "drop": Fault("drop", "cut the connections of a service; it may be connected to again", Value.SERVICE, "all"),
    "freeze": Fault("freeze", "no more state is sent, all else goes on", Value.SWITCH, "on"),
    "silence": Fault("silence", "nothing is read or answered, as with a pulled cable", Value.SWITCH, "on"),
    "refuse": Fault("refuse", "nobody can connect anew", Value.SWITCH, "on"),
    "slow": Fault("slow", "the state is sent late by this much", Value.SECONDS, "0.1"),
    "obey-late": Fault("obey_late", "the arm follows its targets late by this much", Value.SECONDS, "0.05"),
    "camera-late": Fault("camera_late", "cameras opened from now on stamp late by this much", Value.SECONDS, "0.05"),
    "protective-stop": Fault("protective_stop", "the arm brakes and waits to be unlocked"),
    "unlock-delay": Fault(
        "unlock_delay", "from now on a protective stop unlocks only after this", Value.SECONDS, f"{UNLOCK_DELAY_S:g}"
    ),
    "e-stop": Fault("emergency_stop", "the button is pressed (on) or released (off)", Value.SWITCH, "on"),
    "power-on": Fault("power_on", "switch the arm on after an e-stop and release its brakes, as at the pendant"),
    "remote-control": Fault("remote_control", "the switch at the pendant; off is local control", Value.SWITCH, "off"),
    "end-program": Fault("end_program", "the control program stops, as if by the pendant's stop button"),
    "clear": Fault("clear", "all of these end; a protective stop still has to be unlocked from the session"),
}


def fault_request(name: str, value: str | None) -> dict[str, Any]:
    """Return the admin request of a fault by name, with its default for no value. Raises DeviceError on a wrong one."""
    fault = FAULTS.get(name)
    if fault is None:
        raise DeviceError(f"There is no fault '{name}'; choose one of {', '.join(FAULTS)}.")
    if fault.value is Value.NONE:
        if value is not None:
            raise DeviceError(f"The fault {name} takes no value, so leave out '{value}'.")
        return {"do": fault.request}
    given = fault.default if value is None else value
    wrong = DeviceError(f"The fault {name} does not know '{given}'; expected {fault.value} or nothing.")
    if fault.value is Value.SECONDS:
        try:
            seconds = float(given)
        except ValueError:
            raise wrong from None
        if not 0.0 <= seconds < 3600.0:
            raise wrong
        return {"do": fault.request, "seconds": seconds}
    if given not in fault.value.split("|"):
        raise wrong
    if fault.value is Value.SERVICE:
        return {"do": fault.request, "service": given}
    return {"do": fault.request, "on": given == "on"}


def described(state: dict[str, Any]) -> str:
    """Return what a person wants to know of the answer to `state`."""
    power = {"RUNNING": "arm on", "IDLE": "arm on with its brakes locked", "POWER_OFF": "arm off"}[state["robot_mode"]]
    stops = [stop.replace("_", " ") for stop in ("protective_stop", "emergency_stop") if state[stop]]
    link = [name for name in ("freeze", "silence", "refuse") if state[name]]
    if state["slow_s"]:
        link.append(f"slow by {state['slow_s']:g} s")
    return (
        f"{power}; {' and '.join(stops) or 'no stop'}; control program {state['runtime'].lower()};"
        f" {'remote' if state['remote_control'] else 'local'} control; link {', '.join(link) or 'in order'}"
    )
