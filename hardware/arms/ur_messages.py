"""What the arm's driver and its isolated process say to each other: records for what is newest, lines for the rest."""

import json
import socket
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from hardware.interfaces import Safety
from hardware.poses import Array

STATE_LAYOUT = "=qq6d6d6d6d6dqqQ"
COMMAND_LAYOUT = "=qqq6d"


class Kind(IntEnum):
    """What a command asks for."""

    STOP = 0
    SERVO = 1


@dataclass(frozen=True)
class State:
    """A reading: arrays (6,), poses as position in m and rotation vector in rad; `armed` is the arming in force."""

    receipt_ns: int
    capture_ns: int
    joints: Array
    joint_velocities: Array
    base_from_tcp: Array
    base_from_commanded: Array
    wrench: Array
    safety: Safety
    armed: int
    digital_outputs: int

    def record(self) -> tuple[float, ...]:
        """Return the numbers of a STATE_LAYOUT record."""
        return (
            self.receipt_ns,
            self.capture_ns,
            *self.joints.tolist(),
            *self.joint_velocities.tolist(),
            *self.base_from_tcp.tolist(),
            *self.base_from_commanded.tolist(),
            *self.wrench.tolist(),
            int(self.safety),
            self.armed,
            self.digital_outputs,
        )

    @classmethod
    def of(cls, record: tuple[float, ...]) -> "State":
        """Return the state of a STATE_LAYOUT record."""
        vectors = np.array(record[2:32]).reshape(5, 6)
        safety, armed, outputs = (int(value) for value in record[32:])
        joints, velocities, tcp, commanded, wrench = vectors
        times = int(record[0]), int(record[1])
        return cls(*times, joints, velocities, tcp, commanded, wrench, Safety(safety), armed, outputs)


@dataclass(frozen=True)
class Command:
    """What the arm shall do, valid only while the arming that it was given under is in force."""

    sent_ns: int
    armed: int
    kind: Kind
    base_from_tcp: Array

    def record(self) -> tuple[float, ...]:
        """Return the numbers of a COMMAND_LAYOUT record."""
        return (self.sent_ns, self.armed, int(self.kind), *self.base_from_tcp.tolist())

    @classmethod
    def of(cls, record: tuple[float, ...]) -> "Command":
        """Return the command of a COMMAND_LAYOUT record."""
        return cls(int(record[0]), int(record[1]), Kind(int(record[2])), np.array(record[3:9]))


class Line:
    """One end of a socket pair for small JSON messages. Never blocks; `closed` once the other end is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)
        self.closed = False

    def send(self, **message: Any) -> None:
        """Send a message; one that cannot be sent at once is lost with the other end."""
        try:
            self._socket.send(json.dumps(message).encode())
        except OSError:
            self.closed = True

    def receive(self) -> list[dict[str, Any]]:
        """Return the messages that have come since."""
        messages: list[dict[str, Any]] = []
        while not self.closed:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            messages.append(json.loads(data))
        return messages

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a line."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
