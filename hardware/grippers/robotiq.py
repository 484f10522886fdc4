"""A Robotiq 2F gripper behind the URCap on a UR controller: text over a socket (port 63352). No library needed.

One request takes about ten milliseconds, so a thread of its own owns the socket; the driver's calls only leave and take
values. After any fault nothing moves until `recover()`, which is the operator's word. Source of the registers: Robotiq
2F-85 manual, "Control".
"""

import logging
import socket
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from hardware.errors import DeviceError

PORT = 63352
ACTIVE = 3
POLL_S = 0.02

_log = logging.getLogger(__name__)

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Byte = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RobotiqConfig:
    """A gripper at a robot's address (empty: the arm's). Fully open and closed are positions 0 to 255."""

    host: str = ""
    open_position: Byte = 3
    closed_position: Byte = 230
    speed: Byte = 255
    force: Byte = 50
    timeout_s: Positive = 0.5
    activation_timeout_s: Positive = 10.0
    driver: Literal["robotiq"] = "robotiq"

    @model_validator(mode="after")
    def _positions_differ(self) -> "RobotiqConfig":
        if self.open_position >= self.closed_position:
            raise ValueError("open_position must be below closed_position")
        return self


def read_registers(config: RobotiqConfig, names: Sequence[str]) -> dict[str, str]:
    """Return registers as the gripper tells them, without activating it; `?` while it has no power.

    Raises DeviceError if it cannot be reached or does not answer.
    """
    connection = _connect(config)
    try:
        return {name: _exchange(connection, config, f"GET {name}\n").removeprefix(name).strip() for name in names}
    finally:
        connection.close()


class RobotiqGripper:
    """One gripper. The constructor activates it, which moves the fingers; raises DeviceError if it cannot."""

    def __init__(self, config: RobotiqConfig) -> None:
        self._config = config
        self._wanted: float | None = None
        self._sent: float | None = None
        self._opening = 0.0
        self._fault: str | None = None
        self._ending = threading.Event()
        self._start()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    @property
    def fault(self) -> str | None:
        """Why the gripper does not move until `recover()`, in a sentence; None while it does."""
        return self._fault

    def read(self) -> float:
        """Return the opening measured last, 0 closed and 1 open."""
        return self._opening

    def move(self, opening: float) -> None:
        """Start moving to an opening; without effect after a fault. Raises DeviceError if it is not from 0 to 1."""
        if not 0.0 <= opening <= 1.0:
            raise DeviceError(f"A gripper opening of {opening} was asked for; it has to be between 0 and 1.")
        if self._fault is None:
            self._wanted = opening

    def recover(self) -> None:
        """The operator's word after a fault: connect and activate again, which moves the fingers.

        Returns at once; `fault` becomes None when it is done, or says why it cannot be.
        """
        if self._fault is not None and not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run_again, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop polling and release the socket; the fingers keep their grip."""
        self._ending.set()
        self._thread.join(self._config.activation_timeout_s)
        self._socket.close()

    def _start(self) -> None:
        """Connect and activate. Raises DeviceError."""
        self._wanted = self._sent = None
        self._socket = _connect(self._config)
        try:
            self._activate()
            self._opening = self._measure()
        except DeviceError:
            self._socket.close()
            raise
        self._fault = None

    def _run_again(self) -> None:
        self._socket.close()
        try:
            self._start()
        except DeviceError as problem:
            self._fail(problem)
        else:
            self._poll()

    def _fail(self, problem: DeviceError) -> None:
        self._fault = str(problem)
        _log.error(self._fault)

    def _activate(self) -> None:
        if self._get("STA") == ACTIVE:
            return
        deadline = time.monotonic() + self._config.activation_timeout_s
        self._set("ACT 0")
        while self._get("STA") != 0:
            self._wait(deadline)
        self._set("ACT 1")
        while self._get("STA") != ACTIVE:
            self._wait(deadline)

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise DeviceError(
                f"The gripper at {self._config.host} did not become active in {self._config.activation_timeout_s:g} s;"
                " check its power and that nothing blocks the fingers."
            )
        time.sleep(POLL_S)

    def _poll(self) -> None:
        """Send what is wanted and measure, until told to end or a fault."""
        try:
            while not self._ending.wait(POLL_S):
                wanted = self._wanted
                if wanted is not None and wanted != self._sent:
                    self._command(wanted)
                    self._sent = wanted
                opening = self._measure()
                if self._get("STA") != ACTIVE:
                    raise DeviceError(
                        f"The gripper at {self._config.host} lost its activation; check its power, then confirm."
                    )
                self._opening = opening
        except DeviceError as problem:
            self._fail(problem)

    def _command(self, opening: float) -> None:
        config = self._config
        position = round(config.closed_position + opening * (config.open_position - config.closed_position))
        self._set(f"GTO 1 SPE {config.speed} FOR {config.force} POS {position}")

    def _measure(self) -> float:
        config = self._config
        opening = (config.closed_position - self._get("POS")) / (config.closed_position - config.open_position)
        return min(max(opening, 0.0), 1.0)

    def _set(self, registers: str) -> None:
        answer = self._exchange(f"SET {registers}\n")
        if answer != "ack":
            raise DeviceError(
                f"The gripper at {self._config.host} answered '{answer}' to a command; confirm to try again."
            )

    def _get(self, register: str) -> int:
        words = self._exchange(f"GET {register}\n").split()
        if len(words) != 2 or words[0] != register:
            raise DeviceError(
                f"The gripper at {self._config.host} answered '{' '.join(words)}' when asked for {register}."
            )
        if not words[1].isdigit():
            raise DeviceError(
                f"The gripper at {self._config.host} is without power; end the stop of the robot, then confirm."
            )
        return int(words[1])

    def _exchange(self, request: str) -> str:
        return _exchange(self._socket, self._config, request)


def _connect(config: RobotiqConfig) -> socket.socket:
    try:
        return socket.create_connection((config.host, PORT), config.timeout_s)
    except OSError as problem:
        raise DeviceError(
            f"The gripper at {config.host}:{PORT} cannot be reached ({problem}); check that the Robotiq URCap is"
            " installed and the robot is on."
        ) from problem


def _exchange(connection: socket.socket, config: RobotiqConfig, request: str) -> str:
    try:
        connection.sendall(request.encode())
        answer = connection.recv(1024)
    except OSError as problem:
        raise DeviceError(
            f"The link to the gripper at {config.host} broke ({problem}); check it, then confirm."
        ) from problem
    if not answer:
        raise DeviceError(f"The gripper at {config.host} closed the link; check it, then confirm.")
    return answer.decode(errors="replace").strip()
