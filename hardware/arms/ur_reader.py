"""A look at a UR controller that only reads: an RTDE client that counts every package, and one try of the library.

ur-rtde keeps only the newest of several packages that wait, so it cannot tell how many were lost; this client can, and
it never hangs. Nothing here takes an input register or sends a program. Source: "Real-Time Data Exchange (RTDE)
Guide", Universal Robots, protocol version 2.
"""

import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from hardware.arms.ur_pose import pose
from hardware.clock import NS_PER_S
from hardware.errors import DeviceError
from hardware.interfaces import ArmState

PORT = 30004
HEADER = struct.Struct(">HB")
VERSION_OF_PROTOCOL, VERSION_OF_CONTROLLER, OUTPUTS, START, DATA = (ord(letter) for letter in "VvOSU")
FORMATS = {"DOUBLE": "d", "VECTOR3D": "3d", "VECTOR6D": "6d", "INT32": "i", "UINT32": "I", "UINT64": "Q"}
VARIABLES = (
    "timestamp",
    "actual_TCP_pose",
    "actual_TCP_force",
    "robot_mode",
    "safety_status_bits",
    "runtime_state",
    "tcp_offset",  # since 5.5 and 3.12
    "payload",
)
ROUND_TRIPS = 20
LIBRARY_S = 2.0


@dataclass(frozen=True)
class Package:
    """One state of the controller, when it came, and its `VARIABLES` as far as this controller has them."""

    receipt_ns: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Listening:
    """What was heard in a time: the controller's version, how long questions took, all packages, when it ended."""

    version: tuple[int, int, int]
    round_trips_s: tuple[float, ...]
    packages: tuple[Package, ...]
    end_ns: int

    @property
    def rate_hz(self) -> float:
        """The controller's cycle rate: 125 Hz up to CB3, 500 Hz after."""
        return 125.0 if self.version[0] <= 3 else 500.0


def listen(host: str, seconds: float, timeout_s: float = 2.0) -> Listening:
    """Listen to a controller. Raises DeviceError if it cannot be reached or does not answer in `timeout_s`."""
    with _Link(host, timeout_s) as link:
        version = link.version()
        round_trips = tuple(link.round_trip_s() for _ in range(ROUND_TRIPS))
        offered = [name for name, kind in zip(VARIABLES, link.types(VARIABLES), strict=True) if kind != "NOT_FOUND"]
    with _Link(host, timeout_s) as link:
        packages = link.packages(offered, seconds)
        return Listening(version, round_trips, packages, time.monotonic_ns())


class UrObserver:
    """Reads an arm that something else moves, for instance a person who holds down the pendant's freedrive button."""

    def __init__(self, host: str, flange_from_tcp: Sequence[float], timeout_s: float = 2.0) -> None:
        """Listen to a controller, for a tool (6,) of position in m and rotation vector in rad. Raises DeviceError."""
        self._tool = pose(flange_from_tcp)
        self._link = _Link(host, timeout_s)
        wanted = ("actual_q", "actual_qd", "actual_TCP_pose", "actual_TCP_force", "tcp_offset")
        offered = [name for name, kind in zip(wanted, self._link.types(wanted), strict=True) if kind != "NOT_FOUND"]
        self._newest = self._link.start(offered)

    def read(self) -> ArmState:
        """Return the newest state, stamped at receipt; the pose is that of the tool given, whatever the robot has."""
        values = self._newest()
        base_from_tcp = pose(values["actual_TCP_pose"])
        if "tcp_offset" in values:
            base_from_tcp = base_from_tcp @ pose(values["tcp_offset"]).inverse() @ self._tool
        joints, speeds, wrench = (np.array(values[name]) for name in ("actual_q", "actual_qd", "actual_TCP_force"))
        return ArmState(time.monotonic_ns(), joints, speeds, base_from_tcp, wrench)

    def close(self) -> None:
        """End the connection."""
        self._link.close()


def library_reads(host: str) -> bool:
    """Whether ur-rtde connects and its time stamp runs. Raises whatever the library does; it may hang or crash."""
    import rtde_receive

    receiver = rtde_receive.RTDEReceiveInterface(host, -1.0, ["timestamp"])
    first = receiver.getTimestamp()
    deadline_s = time.monotonic() + LIBRARY_S
    while receiver.getTimestamp() == first and time.monotonic() < deadline_s:
        time.sleep(0.002)
    return bool(receiver.getTimestamp() != first)


class _Link:
    """One connection, on protocol version 2."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self._host = host
        try:
            self._socket = socket.create_connection((host, PORT), timeout_s)
        except OSError as problem:
            raise DeviceError(
                f"Nothing answers at {host}:{PORT} ({problem}): switch the robot on, and check the cable, its address,"
                " and that RTDE is enabled under Settings, Security, Services."
            ) from problem
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        try:
            self._accept_protocol()
        except DeviceError:
            self._socket.close()
            raise

    def version(self) -> tuple[int, int, int]:
        """Return the controller's major, minor and bug-fix version."""
        major, minor, bugfix, _ = struct.unpack(">4I", self._ask(VERSION_OF_CONTROLLER, b"", 16))
        return major, minor, bugfix

    def round_trip_s(self) -> float:
        """Return the time of one question and its answer."""
        began = time.perf_counter()
        self.version()
        return time.perf_counter() - began

    def types(self, names: Sequence[str]) -> list[str]:
        """Return the wire type of each output variable, NOT_FOUND for one that this controller does not have."""
        return self._ask(OUTPUTS, struct.pack(">d", 500.0) + ",".join(names).encode(), 2)[1:].decode().split(",")

    def packages(self, names: Sequence[str], seconds: float) -> tuple[Package, ...]:
        """Return every package of a time; fewer or none if the controller stops sending."""
        kinds = self.types(names)
        layout = struct.Struct(">B" + "".join(FORMATS[kind] for kind in kinds))
        self._ask(START, b"", 1)
        end_ns = time.monotonic_ns() + round(seconds * NS_PER_S)
        packages = []
        while (left_ns := end_ns - time.monotonic_ns()) > 0:
            self._socket.settimeout(left_ns / NS_PER_S)
            try:
                kind, payload = self._frame()
            except TimeoutError:
                break
            if kind == DATA and len(payload) == layout.size:
                packages.append(Package(time.monotonic_ns(), _named(names, kinds, layout.unpack(payload)[1:])))
        return tuple(packages)

    def start(self, names: Sequence[str]) -> Callable[[], dict[str, Any]]:
        """Let the controller send these variables; return a function that gives the newest values, waiting for them."""
        kinds = self.types(names)
        layout = struct.Struct(">B" + "".join(FORMATS[kind] for kind in kinds))
        self._ask(START, b"", 1)
        timeout_s = self._socket.gettimeout()

        def newest() -> dict[str, Any]:
            values: dict[str, Any] = {}
            try:
                while True:
                    self._socket.settimeout(0.0 if values else timeout_s)
                    kind, payload = self._frame()
                    if kind == DATA and len(payload) == layout.size:
                        values = _named(names, kinds, layout.unpack(payload)[1:])
            except TimeoutError as problem:
                raise DeviceError(f"The robot at {self._host} went silent; check the cable.") from problem
            except BlockingIOError:
                return values

        return newest

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> "_Link":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _accept_protocol(self) -> None:
        if self._ask(VERSION_OF_PROTOCOL, struct.pack(">H", 2), 1) == b"\x00":
            raise DeviceError(f"The controller at {self._host} does not speak RTDE version 2: update its software.")

    def _ask(self, kind: int, payload: bytes, size: int) -> bytes:
        """Return the answer to a request, which has at least `size` bytes."""
        try:
            self._socket.sendall(HEADER.pack(HEADER.size + len(payload), kind) + payload)
            while True:
                answered, answer = self._frame()
                if answered == kind and len(answer) >= size:
                    return answer
        except TimeoutError as problem:
            raise DeviceError(
                f"The controller at {self._host} takes the connection but never answers: wait until it has started, or"
                " restart it."
            ) from problem
        except OSError as problem:
            raise DeviceError(f"The connection to the controller at {self._host} broke ({problem}).") from problem

    def _frame(self) -> tuple[int, bytes]:
        while True:
            if len(self._buffer) >= HEADER.size:
                size, kind = HEADER.unpack_from(self._buffer)
                if len(self._buffer) >= max(size, HEADER.size):
                    payload, self._buffer = self._buffer[HEADER.size : size], self._buffer[max(size, HEADER.size) :]
                    return kind, payload
            received = self._socket.recv(65536)
            if not received:
                raise DeviceError(
                    f"What answers at {self._host}:{PORT} closed the connection: check that it is the robot's address,"
                    " and look for a message on the pendant."
                )
            self._buffer += received


def _named(names: Sequence[str], kinds: Sequence[str], flat: tuple[Any, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    start = 0
    for name, kind in zip(names, kinds, strict=True):
        length = {"VECTOR3D": 3, "VECTOR6D": 6}.get(kind, 1)
        values[name] = flat[start] if length == 1 else flat[start : start + length]
        start += length
    return values
