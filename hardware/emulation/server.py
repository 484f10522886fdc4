"""The emulated controller's ports and its real-time loop: one thread, one cycle after another.

RTDE 30004, script 30003, dashboard 29999 (none on PolyScope X), Robotiq URCap 63352, and the admin socket in the file
system. The ports are those that clients have built in, so every robot needs a loopback address of its own.
"""

import ipaddress
import json
import os
import selectors
import socket
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hardware.emulation import dashboard
from hardware.emulation.admin import admin_path
from hardware.emulation.controller import Controller, Settings
from hardware.emulation.faults import Admin, Faults
from hardware.emulation.robot import Robot, Scenery
from hardware.emulation.robotiq import RobotiqServer
from hardware.emulation.rtde import RtdeSession, Written
from hardware.emulation.variables import Version, parse_version
from hardware.errors import DeviceError

PORTS = {"rtde": 30004, "script": 30003, "dashboard": 29999, "robotiq": 63352}
POLYSCOPE_X = 10
LATE_S = 0.05
"""Behind by more than this, the loop gives up the missed cycles."""


@dataclass(eq=False)
class Connection:
    """One client."""

    service: str
    socket: socket.socket
    session: RtdeSession | None = None
    buffer: bytes = b""


def serve(
    host: str,
    controller_version: str,
    robot: Robot,
    scenery: Scenery | None = None,
    *,
    settings: Settings | None = None,
    ready: Callable[[], None] = lambda: None,
    running: Callable[[], bool] = lambda: True,
) -> None:
    """Run an emulated controller in real time until `running` says no or the admin socket says quit.

    `robot` is stepped once a controller cycle, 125 or 500 times a second by version; `scenery` is what is around it.
    Raises DeviceError if `host` is no loopback address or its ports are taken.
    """
    check_host(host)
    controller = Controller(parse_version(controller_version), robot, settings or Settings())
    server = Server(host, controller, scenery)
    try:
        ready()
        server.run(running)
    finally:
        server.close()


def ports(version: Version) -> dict[str, int]:
    """Return the port of every service that a controller of this version has; PolyScope X has no dashboard."""
    return {name: port for name, port in PORTS.items() if name != "dashboard" or version[0] < POLYSCOPE_X}


def check_host(host: str) -> None:
    """Raise DeviceError unless `host` is a loopback address."""
    try:
        loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise DeviceError(f"The emulated controller serves loopback addresses only, not {host}; use 127.0.0.2.")


class Server:
    """Sockets around a controller."""

    def __init__(self, host: str, controller: Controller, scenery: Scenery | None) -> None:
        self._host, self._controller = host, controller
        self._faults = Faults()
        self._admin = Admin(controller, self._faults, scenery)
        self._gripper = RobotiqServer()
        self._selector = selectors.SelectSelector()
        self._listeners: list[socket.socket] = []
        self._connections: list[Connection] = []
        self._delayed: deque[tuple[float, Connection, bytes]] = deque()
        self._listen()
        self._admin_path = admin_path(host)
        self._register(_admin_listener(self._admin_path), "admin")

    def run(self, running: Callable[[], bool]) -> None:
        """Cycle in real time: sockets until each deadline, then one controller cycle."""
        cycle_s = self._controller.cycle_s
        deadline = time.monotonic() + cycle_s
        cycle = 0
        while not self._admin.quit and running():
            while (left := deadline - time.monotonic()) > 0.0:
                self._exchange(left)
            self._exchange(0.0)
            self._tick(deadline, cycle)
            cycle += 1
            deadline += cycle_s
            if time.monotonic() - deadline > LATE_S:
                deadline = time.monotonic() + cycle_s

    def close(self) -> None:
        """Close every socket."""
        self._admin_path.unlink(missing_ok=True)
        for key in [*self._selector.get_map().values()]:
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _tick(self, now_s: float, cycle: int) -> None:
        controller, gripper = self._controller, self._gripper
        gripper.powered = not controller.emergency_stop
        gripper.tick(controller.robot.opening, controller.cycle_s)
        if gripper.target_opening is not None:
            controller.mechanism.target_opening = gripper.target_opening
        controller.tick(now_s)
        if not self._faults.freeze and not self._faults.silence:
            self._publish(now_s, cycle)

    def _publish(self, now_s: float, cycle: int) -> None:
        for connection in self._connections:
            session = connection.session
            if session is None or not session.started or cycle % session.divisor:
                continue
            package = session.package(self._controller.published(session.outputs))
            if package is not None:
                self._delayed.append((now_s + self._faults.slow_s, connection, package))
        while self._delayed and self._delayed[0][0] <= now_s:
            _, connection, package = self._delayed.popleft()
            self._send(connection, package)

    # Sockets

    def _listen(self) -> None:
        for service, port in ports(self._controller.version).items():
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((self._host, port))
            except OSError as problem:
                listener.close()
                raise DeviceError(
                    f"Port {port} of {self._host} cannot be served ({problem.strerror});"
                    " another emulated controller runs there, so use another 127.0.0.x address."
                ) from problem
            self._register(listener, service)
            self._listeners.append(listener)

    def _register(self, listener: socket.socket, service: str) -> None:
        listener.listen(8)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, service)

    def _exchange(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if isinstance(key.data, Connection):
                self._read(key.data)
            else:
                self._accept(key.fileobj, key.data)  # type: ignore[arg-type]
        self._obey_faults()

    def _obey_faults(self) -> None:
        dropped, self._admin.drops = self._admin.drops, []
        for connection in [*self._connections]:
            if connection.service in dropped:
                self._close(connection)
        if self._faults.refuse and self._listeners:
            for listener in self._listeners:
                self._selector.unregister(listener)
                listener.close()
            self._listeners = []
        elif not self._faults.refuse and not self._listeners:
            self._listen()

    def _accept(self, listener: socket.socket, service: str) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        client.setblocking(False)
        connection = Connection(service, client)
        if service == "rtde":
            connection.session = RtdeSession(
                self._controller.version,
                self._controller.offered,
                1.0 / self._controller.cycle_s,
                lambda: self._held_by_others(connection),
            )
        if service != "admin":
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.append(connection)
        self._selector.register(client, selectors.EVENT_READ, connection)
        if service == "dashboard" and not self._faults.silence:
            self._send(connection, f"{dashboard.GREETING}\n".encode())

    def _held_by_others(self, connection: Connection) -> set[str]:
        sessions = [other.session for other in self._connections if other is not connection]
        return {name for session in sessions if session is not None for name in session.held}

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
        elif self._faults.silence and connection.service != "admin":
            return
        elif connection.session is not None:
            for item in connection.session.receive(data):
                if isinstance(item, Written):
                    self._controller.write(item.values, time.monotonic())
                else:
                    self._send(connection, item)
        elif connection.service == "script":
            connection.buffer += data
            self._take_programs(connection)
        else:
            connection.buffer += data
            self._take_lines(connection)

    def _take_programs(self, connection: Connection) -> None:
        """Cut programs out of the stream: from "def " to the first "end" at the start of a line."""
        while (start := connection.buffer.find(b"def ")) >= 0:
            end = connection.buffer.find(b"\nend\n", start)
            if end < 0:
                return
            text = connection.buffer[start : end + 5].decode("utf-8", errors="replace")
            connection.buffer = connection.buffer[end + 5 :]
            self._controller.upload(text, time.monotonic())

    def _take_lines(self, connection: Connection) -> None:
        while b"\n" in connection.buffer:
            line, connection.buffer = connection.buffer.split(b"\n", 1)
            text = line.decode("utf-8", errors="replace")
            if connection.service == "dashboard":
                answer = f"{dashboard.reply(self._controller, text)}\n".encode()
            elif connection.service == "robotiq":
                answer = self._gripper.reply(text)
            else:
                answer = self._answer_admin(text)
            self._send(connection, answer)

    def _answer_admin(self, text: str) -> bytes:
        try:
            request = json.loads(text)
        except json.JSONDecodeError as problem:
            return (json.dumps({"error": str(problem)}) + "\n").encode()
        return (json.dumps(self._admin.answer(request)) + "\n").encode()

    def _send(self, connection: Connection, data: bytes) -> None:
        if connection not in self._connections:
            return
        try:
            if connection.service == "admin":
                connection.socket.setblocking(True)
                connection.socket.sendall(data)
                connection.socket.setblocking(False)
            else:
                connection.socket.send(data)
        except BlockingIOError:
            return  # the client does not read: like a real controller, skip the package
        except OSError:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()


def _admin_listener(path: Path) -> socket.socket:
    """Return a socket bound to a path that only this user can reach; one that a dead emulator left is replaced."""
    folder = path.parent
    listener = socket.socket(socket.AF_UNIX)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise DeviceError(f"{folder} is not a folder of yours alone; remove it, or set TMPDIR elsewhere.")
        with socket.socket(socket.AF_UNIX) as other:
            if other.connect_ex(os.fspath(path)) == 0:
                raise DeviceError(f"Another emulated controller has {path}; end it, or use another 127.0.0.x address.")
        path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError as problem:
        raise DeviceError(f"The admin socket {path} cannot be made ({problem}); set TMPDIR elsewhere.") from problem
    return listener
