"""The link to a SpaceMouse through the spacenavd daemon: a plain client of its Unix socket, without any library.

libspnav cannot tell a silent device from a dead daemon; the socket can, by its end of file. The protocol is spacenavd's
proto.h: eight native 32-bit integers an event; version 1 adds requests, their answers and devices that come and go.
"""

import os
import socket
import struct
import time
from typing import Final

from hardware.errors import DeviceError
from hardware.input_devices.puck import COMPACT, Button, Model, Motion, model_of

SOCKET = "/var/run/spnav.sock"
EVENT: Final = struct.Struct("=8i")
WORD: Final = struct.Struct("=I")
MOTION, PRESS, RELEASE, DEVICE = range(4)
REMOVED = 1
TAG = 0x7FAA0000
CHANGE_PROTOCOL = TAG | 0x5500
ASK_USB_ID = TAG | 0x2004
RETRY_S = 1.0
START = "start it with `sudo systemctl start spacenavd`"


class SpacenavLink:
    """A PuckLink on spacenavd's socket; connects again by itself when the daemon comes back.

    With `repeat-interval = 50` in /etc/spnavrc the daemon repeats the deflection of a puck that is held quite still;
    without it such a puck falls silent, which stops the arm.
    """

    def __init__(self, path: str = "", answer_s: float = 0.5) -> None:
        """Connect; an empty path means `$SPNAV_SOCKET` or the usual place. Raises DeviceError if nothing is there."""
        self._path = path or os.environ.get("SPNAV_SOCKET", SOCKET)
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._model: Model = COMPACT
        self._attached: bool | None = None
        self._retry_s = 0.0
        try:
            self._connect()
        except OSError as error:
            raise DeviceError(f"spacenavd does not answer at {self._path} ({error.strerror}): {START}.") from error
        self._await_answer(answer_s)
        if problem := self.problem:
            self.close()
            raise DeviceError(problem)

    @property
    def model(self) -> Model:
        """The SpaceMouse that the daemon told of; a Compact if it could not tell (before version 1.0)."""
        return self._model

    @property
    def problem(self) -> str:
        """What is wrong with the link now, in one sentence, or nothing."""
        if self._socket is None:
            return f"spacenavd has stopped: {START}; the arm waits."
        if self._attached is False:
            return "spacenavd sees no SpaceMouse: plug it in; the arm waits."
        return ""

    def events(self) -> list[Motion | Button]:
        """Return what came since the last call, in order; never waits."""
        if self._socket is None and time.monotonic() >= self._retry_s:
            try:
                self._connect()
            except OSError:
                self._retry_s = time.monotonic() + RETRY_S
        self._receive()
        events: list[Motion | Button] = []
        while True:
            self._greet()
            if len(self._buffer) < EVENT.size:
                return events
            words = EVENT.unpack_from(self._buffer)
            self._buffer = self._buffer[EVENT.size :]
            event = self._decode(words)
            if event is not None:
                events.append(event)

    def close(self) -> None:
        """Leave the daemon."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _await_answer(self, answer_s: float) -> None:
        """Wait until the daemon has told which device it has; one before version 1.0 never does."""
        deadline_s = time.monotonic() + answer_s
        while self._attached is None and time.monotonic() < deadline_s:
            self.events()
            time.sleep(0.005)

    def _connect(self) -> None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            link.connect(self._path)
            link.setblocking(False)
            link.send(WORD.pack(CHANGE_PROTOCOL | 1))
        except OSError:
            link.close()
            raise
        self._socket, self._buffer, self._attached = link, b"", None

    def _receive(self) -> None:
        while self._socket is not None:
            try:
                received = self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError:
                received = b""
            if not received:
                self.close()
                self._retry_s = time.monotonic() + RETRY_S
            self._buffer += received

    def _greet(self) -> None:
        """Take the daemon's answer to the change of version, a single word that may come between two events."""
        if len(self._buffer) >= WORD.size and WORD.unpack_from(self._buffer)[0] & 0xFFFFFF00 == CHANGE_PROTOCOL:
            self._buffer = self._buffer[WORD.size :]
            self._ask_usb_id()

    def _ask_usb_id(self) -> None:
        if self._socket is not None:
            try:
                self._socket.send(EVENT.pack(ASK_USB_ID, 0, 0, 0, 0, 0, 0, 0))
            except OSError:
                self.close()

    def _decode(self, words: tuple[int, ...]) -> Motion | Button | None:
        kind = words[0]
        if kind == MOTION:
            x, up, forward, rx, turn, roll = words[1:7]
            return Motion((x, forward, up, rx, roll, turn))
        if kind in (PRESS, RELEASE):
            return Button(self._model.numbered(words[1]), kind == PRESS)
        if kind == DEVICE:
            if words[1] == REMOVED:
                self._attached = False
            self._ask_usb_id()
        elif kind == ASK_USB_ID:
            self._attached = words[7] == 0
            if self._attached:
                self._model = model_of((words[1], words[2]))
        return None
