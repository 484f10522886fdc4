"""The newest record of a fixed form, from one writing process to any reader, through anonymous shared memory.

Four slots in turn, each with its number and a checksum over number and record, so that a reader knows a torn or
overwritten slot whatever the order in which the machine's memory became visible. Nobody ever waits for anybody. Unlike
a ring (hardware/rings.py) it has no name and no tracker: the process that it serves is killed and started at any time.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Sequence

SLOTS = 4
_COUNT = struct.Struct("=Q")
_HEAD = struct.Struct("=QI4x")


class Mailbox:
    """A mailbox for records of `layout` (a struct format). `descriptor` is handed to the other process."""

    def __init__(self, layout: str, descriptor: int | None = None) -> None:
        self._record = struct.Struct(layout)
        self._stride = _HEAD.size + self._record.size + -self._record.size % 8
        size = _COUNT.size + SLOTS * self._stride
        self.descriptor = os.memfd_create("mailbox") if descriptor is None else descriptor
        if descriptor is None:
            os.ftruncate(self.descriptor, size)
        self._memory = mmap.mmap(self.descriptor, size)
        self._newest: tuple[int, tuple[float, ...]] | None = None
        (self._count,) = _COUNT.unpack_from(self._memory)

    def write(self, values: Sequence[float]) -> None:
        """Publish a record. Only one process may write."""
        self._count += 1
        body = self._record.pack(*values)
        checksum = zlib.crc32(body, self._count & 0xFFFFFFFF)
        start = self._start(self._count)
        self._memory[start : start + _HEAD.size + len(body)] = _HEAD.pack(self._count, checksum) + body
        self._memory[: _COUNT.size] = _COUNT.pack(self._count)  # pack_into would show a zero for a moment

    def read(self) -> tuple[int, tuple[float, ...]] | None:
        """Return the newest whole record and its number, which counts up from 1; None before the first.

        Where a torn write hides the newest for long, it is the last one that was read.
        """
        for _ in range(10 * SLOTS):
            (count,) = _COUNT.unpack_from(self._memory)
            start = self._start(count)
            slot = self._memory[start : start + _HEAD.size + self._record.size]
            number, checksum = _HEAD.unpack_from(slot)
            body = slot[_HEAD.size :]
            if number == count and checksum == zlib.crc32(body, count & 0xFFFFFFFF):
                self._newest = count, self._record.unpack(body)
                break
        return self._newest

    def close(self) -> None:
        """Release the memory."""
        self._memory.close()
        os.close(self.descriptor)

    def _start(self, count: int) -> int:
        return _COUNT.size + count % SLOTS * self._stride
