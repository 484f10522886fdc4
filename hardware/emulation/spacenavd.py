"""The spacenavd daemon without a SpaceMouse: its Unix socket, spoken as the real one speaks it.

Motions are in the daemon's axes: x right, y up, z forward, then the turns about them; 350 is the end of the travel.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from pathlib import Path

EVENT = struct.Struct("=8i")
TAG, CHANGE_PROTOCOL, GET_USB_ID = 0x7FAA0000, 0x5500, 0x2004
MOTION, PRESS, RELEASE, DEVICE = range(4)
ADDED, REMOVED = range(2)
COMPACT, PRO = (0x256F, 0xC635), (0x046D, 0xC62B)


class EmulatedSpacenavd:
    """Serves any number of clients from a thread. `protocol` 0 is a daemon before version 1.0, which never answers."""

    def __init__(self, path: Path, usb_id: tuple[int, int] | None = COMPACT, protocol: int = 1) -> None:
        self._path, self._usb_id, self._protocol = path, usb_id, protocol
        path.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(4)
        self._clients: dict[socket.socket, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def protocols(self) -> list[int]:
        """The protocol version of each connected client."""
        return list(self._clients.values())

    def wait_for_client(self, timeout_s: float = 5.0) -> None:
        """Return when a client is connected. Raises TimeoutError."""
        deadline_s = time.monotonic() + timeout_s
        while not self._clients:
            if time.monotonic() > deadline_s:
                raise TimeoutError("No client has connected to the emulated spacenavd.")
            time.sleep(0.002)

    def move(self, x: int = 0, y: int = 0, z: int = 0, rx: int = 0, ry: int = 0, rz: int = 0) -> None:
        """Report a deflection of the puck."""
        self._send(MOTION, x, y, z, rx, ry, rz, 8)

    def press(self, number: int) -> None:
        """Report a button that goes down."""
        self._send(PRESS, number)

    def release(self, number: int) -> None:
        """Report a button that goes up."""
        self._send(RELEASE, number)

    def plug(self, usb_id: tuple[int, int]) -> None:
        """Plug a device in; clients of version 1 are told."""
        self._usb_id = usb_id
        self._send(DEVICE, ADDED, 0, 0, *usb_id, versions=(1,))

    def unplug(self) -> None:
        """Take the device away; clients of version 1 are told."""
        usb_id, self._usb_id = self._usb_id or (0, 0), None
        self._send(DEVICE, REMOVED, 0, 0, *usb_id, versions=(1,))

    def close(self) -> None:
        """Die: every client sees the end of the stream, and the socket is gone."""
        self._stop.set()
        self._thread.join()
        for connection in [self._server, *self._clients]:
            connection.close()
        self._path.unlink(missing_ok=True)

    def _send(self, *words: int, versions: tuple[int, ...] = (0, 1)) -> None:
        event = EVENT.pack(*words, *[0] * (8 - len(words)))
        for client, protocol in list(self._clients.items()):
            if protocol in versions:
                with contextlib.suppress(OSError):
                    client.sendall(event)

    def _serve(self) -> None:
        while not self._stop.is_set():
            readable, _, _ = select.select([self._server, *self._clients], [], [], 0.02)
            for connection in readable:
                if connection is self._server:
                    self._clients[self._server.accept()[0]] = 0
                elif not self._answered(connection):
                    del self._clients[connection]
                    connection.close()

    def _answered(self, client: socket.socket) -> bool:
        """Answer one request, or tell that the client has left."""
        try:
            return self._answer(client)
        except OSError:
            return False

    def _answer(self, client: socket.socket) -> bool:
        """Read one request: a word from a client of version 0, eight from one of version 1."""
        request = client.recv(4 if self._clients[client] == 0 else EVENT.size, socket.MSG_WAITALL)
        if len(request) == 4:
            (word,) = struct.unpack("=I", request)
            if self._protocol and word & 0xFFFFFF00 == TAG | CHANGE_PROTOCOL:
                client.sendall(struct.pack("=I", TAG | CHANGE_PROTOCOL | 1))
                self._clients[client] = 1
        elif len(request) == EVENT.size:
            words = list(EVENT.unpack(request))
            words[7] = -1
            if words[0] & 0xFFFF == GET_USB_ID and self._usb_id is not None:
                words[1:3] = self._usb_id
                words[7] = 0
            client.sendall(EVENT.pack(*words))
        return bool(request)
