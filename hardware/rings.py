"""Rings in shared memory: one process writes fixed-size records, many read the newest, and nobody waits for anybody.

A record is a numpy structured scalar. Every slot carries the number of its record: the writer sets it, fills the slot,
and then publishes the number for the ring. A reader asks only for published numbers, copies, and then looks whether the
slot still carries that number; if not, it has been overwritten meanwhile and the copy is thrown away. This relies on
stores becoming visible in their order, as on x86-64.

The supervisor creates a ring and hands its `RingHandle` to its children (start method spawn), who attach. Up to Python
3.12 a process that is no descendant of the supervisor must not attach: it would delete the segment at its exit.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.errors import DeviceError

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "drift-robot-"
MIN_SLOTS = 4
LINE_BYTES = 64
ATTEMPTS = 1000


@dataclass(frozen=True)
class RingHandle:
    """What a child needs to attach; goes to it as an argument of its process."""

    name: str
    dtype: np.dtype[Any]
    slots: int

    @property
    def stride(self) -> int:
        """Bytes from slot to slot: a line with the number, then the record, up to a whole line."""
        return LINE_BYTES + -(-self.dtype.itemsize // LINE_BYTES) * LINE_BYTES


@dataclass(frozen=True)
class Record:
    """A record and its number, counted from 1 without gaps; `value` is a structured scalar of the ring's dtype."""

    sequence: int
    value: Any


class Ring:
    """The segment itself, in the supervisor. `close` deletes it; a context manager closes it."""

    def __init__(self, dtype: np.dtype[Any], slots: int = 8) -> None:
        """Create a ring of records of `dtype`. Raises DeviceError."""
        if slots < MIN_SLOTS:
            raise DeviceError(f"A ring needs at least {MIN_SLOTS} slots, not {slots}.")
        if dtype.names is None or dtype.hasobject:
            raise DeviceError(f"A ring holds structured records without Python objects, not {dtype}.")
        size = LINE_BYTES + slots * RingHandle("", dtype, slots).stride
        with _folder_locked(fcntl.LOCK_SH):
            self._segment = SharedMemory(f"{PREFIX}{secrets.token_hex(8)}", create=True, size=size)
            self._claim = _claim(SHARED_MEMORY / self._segment.name)
        self.handle = RingHandle(self._segment.name, dtype, slots)

    def close(self) -> None:
        """Delete the segment; those attached keep what they have mapped until they close."""
        try:
            self._segment.close()
            self._segment.unlink()
        finally:
            if self._claim is not None:
                os.close(self._claim)
                self._claim = None

    def __enter__(self) -> "Ring":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _claim(path: Path) -> int | None:
    """Return a descriptor that tells others, as long as it is open, that a segment is in use."""
    if not path.exists():
        return None  # not on Linux
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove_abandoned_rings() -> None:
    """Delete segments whose owner was killed together with Python's resource tracker, which would have done it."""
    with _folder_locked(fcntl.LOCK_EX):
        for path in SHARED_MEMORY.glob(f"{PREFIX}*"):
            with suppress(OSError):  # another user's, in use, or just deleted by its owner
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)


@contextmanager
def _folder_locked(operation: int) -> Iterator[None]:
    """Keep a segment that is being made from being taken for an abandoned one before it is claimed."""
    if not SHARED_MEMORY.exists():  # not on Linux
        yield
        return
    descriptor = os.open(SHARED_MEMORY, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


class _Attached:
    """The views on a segment that writer and readers share."""

    def __init__(self, handle: RingHandle) -> None:
        self._handle = handle
        self._slots = handle.slots
        try:
            self._segment = SharedMemory(handle.name)
        except FileNotFoundError as error:
            raise DeviceError(f"Ring {handle.name} is gone: its supervisor has ended.") from error
        buffer, shape, strides = self._segment.buf, (handle.slots,), (handle.stride,)
        self._count: NDArray[np.int64] = np.ndarray((1,), np.int64, buffer)
        self._numbers: NDArray[np.int64] = np.ndarray(shape, np.int64, buffer, LINE_BYTES, strides)
        self._values: NDArray[Any] = np.ndarray(shape, handle.dtype, buffer, 2 * LINE_BYTES, strides)

    def close(self) -> None:
        """Detach; the ring stays."""
        if hasattr(self, "_values"):
            del self._count, self._numbers, self._values
            self._segment.close()

    def __del__(self) -> None:
        # The segment alone would find its memory still in use by our views, and keep its file handle.
        self.close()


class RingWriter(_Attached):
    """The one writer of a ring. A writer that takes the place of a dead one goes on with the numbers."""

    def write(self, fields: Mapping[str, Any]) -> int:
        """Write a record from the values of its fields, and return its number."""
        sequence = int(self._count[0]) + 1
        i = sequence % self._slots
        self._numbers[i] = sequence
        slot = self._values[i]
        for name, value in fields.items():
            slot[name] = value
        self._count[0] = sequence
        return sequence


class RingReader(_Attached):
    """A reader of a ring."""

    def latest(self) -> Record | None:
        """Return the newest record, None before the first. Raises DeviceError if the writer always outruns the copy."""
        for _ in range(ATTEMPTS):
            sequence = int(self._count[0])
            if sequence == 0:
                return None
            record = self._copy(sequence)
            if record is not None:
                return record
        raise DeviceError(f"Ring {self._handle.name} is overwritten faster than it can be read; give it more slots.")

    def since(self, sequence: int) -> list[Record]:
        """Return the records after a number, oldest first; those overwritten are missing, as their numbers tell."""
        newest = int(self._count[0])
        first = max(sequence, newest - self._slots) + 1
        return [record for wanted in range(first, newest + 1) if (record := self._copy(wanted)) is not None]

    def _copy(self, sequence: int) -> Record | None:
        i = sequence % self._slots
        value = self._values[i : i + 1].copy()[0]
        return Record(sequence, value) if self._numbers[i] == sequence else None
