"""The server side of one RTDE connection: framing, negotiation, recipes, data packages. No sockets, no time.

Frames are big-endian: uint16 size (with its 3-byte header), uint8 type, payload. Source: "Real-Time Data Exchange
(RTDE) Guide", Universal Robots, protocol version 2.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardware.emulation.variables import FORMATS, INPUTS, LENGTHS, Version

HEADER = struct.Struct(">HB")
PROTOCOL_VERSION = 2

REQUEST_PROTOCOL_VERSION = ord("V")
GET_CONTROLLER_VERSION = ord("v")
SETUP_OUTPUTS = ord("O")
SETUP_INPUTS = ord("I")
START = ord("S")
PAUSE = ord("P")
DATA = ord("U")

OUTPUT_RECIPE_ID = 1


@dataclass(frozen=True)
class Recipe:
    """Named variables that travel together, and how they are packed."""

    names: tuple[str, ...]
    types: tuple[str, ...]

    def fitting(self, size: int) -> "Recipe":
        """Return the leading variables that fit into a payload of `size` bytes."""
        count = len(self.names)
        while count and _layout(self.types[:count]).size > size:
            count -= 1
        return Recipe(self.names[:count], self.types[:count])

    def unpack(self, payload: bytes) -> dict[str, Any]:
        """Return the values by name; an excess of bytes is ignored, variables that are cut off are left out."""
        recipe = self.fitting(len(payload))
        flat = _layout(recipe.types).unpack_from(payload)
        values: dict[str, Any] = {}
        start = 0
        for name, kind in zip(recipe.names, recipe.types, strict=True):
            length = LENGTHS.get(kind)
            values[name] = flat[start] if length is None else flat[start : start + length]
            start += length or 1
        return values


@dataclass(frozen=True)
class Written:
    """A data package that a client wrote: the values by variable name, in recipe order."""

    values: dict[str, Any]


class RtdeSession:
    """One client's negotiation. `taken` returns the input variables that other clients hold."""

    def __init__(
        self, version: Version, offered: Mapping[str, str], rate_hz: float, taken: Callable[[], set[str]]
    ) -> None:
        self._version, self._offered, self._rate_hz, self._taken = version, offered, rate_hz, taken
        self._buffer = b""
        self._inputs: list[Recipe] = []
        self._output_layout: struct.Struct | None = None
        self.outputs: tuple[str, ...] = ()
        self.divisor = 1
        self.started = False

    @property
    def held(self) -> set[str]:
        """The input variables that this client may write."""
        return {name for recipe in self._inputs for name in recipe.names}

    def receive(self, data: bytes) -> Iterator[bytes | Written]:
        """Take in bytes; yield replies to send and packages that were written, in order."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            size, kind = HEADER.unpack_from(self._buffer)
            if size < HEADER.size:
                self._buffer = b""
                return
            if len(self._buffer) < size:
                return
            payload, self._buffer = self._buffer[HEADER.size : size], self._buffer[size:]
            if kind == DATA:
                if payload and 1 <= payload[0] <= len(self._inputs):
                    yield Written(self._inputs[payload[0] - 1].unpack(payload[1:]))
            elif (reply := self._reply(kind, payload)) is not None:
                yield frame(kind, reply)

    def package(self, values: Mapping[str, Any]) -> bytes | None:
        """Return a data package of the agreed outputs, or None if the client has not started."""
        if not self.started or self._output_layout is None:
            return None
        flat: list[Any] = []
        for name in self.outputs:
            value = values[name]
            if isinstance(value, Sequence) or hasattr(value, "__len__"):
                flat.extend(value)
            else:
                flat.append(value)
        return frame(DATA, bytes([OUTPUT_RECIPE_ID]) + self._output_layout.pack(*flat))

    def _reply(self, kind: int, payload: bytes) -> bytes | None:
        if kind == REQUEST_PROTOCOL_VERSION:
            return bytes([len(payload) == 2 and struct.unpack(">H", payload)[0] == PROTOCOL_VERSION])
        if kind == GET_CONTROLLER_VERSION:
            return struct.pack(">4I", *self._version)
        if kind == SETUP_OUTPUTS and len(payload) >= 8:
            return self._set_up_outputs(payload)
        if kind == SETUP_INPUTS:
            return self._set_up_inputs(payload)
        if kind in (START, PAUSE):
            self.started = kind == START
            return b"\x01"
        return None

    def _set_up_outputs(self, payload: bytes) -> bytes:
        (frequency,) = struct.unpack_from(">d", payload)
        names = _names(payload[8:])
        types = tuple(self._offered.get(name, "NOT_FOUND") for name in names)
        if "NOT_FOUND" not in types:
            self.outputs, self._output_layout = names, _layout(types)
            self.divisor = max(1, round(self._rate_hz / frequency)) if frequency > 0 else 1
        return bytes([OUTPUT_RECIPE_ID]) + ",".join(types).encode()

    def _set_up_inputs(self, payload: bytes) -> bytes:
        names, taken = _names(payload), self._taken()
        types = tuple("IN_USE" if name in taken else INPUTS.get(name, "NOT_FOUND") for name in names)
        if {"IN_USE", "NOT_FOUND"} & set(types):
            return b"\x00" + ",".join(types).encode()
        self._inputs.append(Recipe(names, types))
        return bytes([len(self._inputs)]) + ",".join(types).encode()


def frame(kind: int, payload: bytes) -> bytes:
    """Return a payload with its header."""
    return HEADER.pack(HEADER.size + len(payload), kind) + payload


def _names(payload: bytes) -> tuple[str, ...]:
    return tuple(name for name in payload.decode("ascii", errors="replace").split(",") if name)


def _layout(types: Sequence[str]) -> struct.Struct:
    return struct.Struct(">" + "".join(FORMATS[kind] for kind in types))
