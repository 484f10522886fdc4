"""Arrays on disk that grow along their first axis, in the Zarr v3 format (https://zarr-specs.readthedocs.io).

Only the part of the format that episodes use: chunks along time, zstd with its checksum. Any Zarr library reads the
result; the library itself takes 140 ms to write a short episode of 28 arrays, this takes 10. Every file is replaced
whole, so a killed writer leaves each one either old or new.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

from data.errors import DataError, MissingDataError
from data.files import read_bytes, read_json, write_file, write_json
from data.schema import Array, Column

METADATA = "zarr.json"
MAX_CHUNK = 1 << 16
MAX_CHUNK_BYTES = 1 << 30
_FRAME_BYTES = 4096
"""More than zstd adds to what it cannot compress, on top of a share of it."""
LEVEL, COMPACT_LEVEL = 1, 19
"""How hard zstd tries while the arm moves, and afterwards, when there is time."""
_CODEC = Zstd(level=LEVEL, checksum=True)
_BYTES = {"name": "bytes"}
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_DTYPES = ("float32", "int64", "uint8", "bool")


def write_group(folder: Path, attributes: Mapping[str, Any], scratch: Path) -> None:
    """Write a group's attributes. Raises DataError if they are not plain JSON."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write_json(folder / METADATA, document, scratch)


def read_group(folder: Path) -> dict[str, Any]:
    """Return a group's attributes. Raises DataError if the folder holds no readable group."""
    document = read_json(folder / METADATA)
    attributes = document.get("attributes")
    if document.get("node_type") != "group" or not isinstance(attributes, dict):
        raise DataError(f"{folder / METADATA} does not describe a Zarr v3 group.")
    return attributes


def read_column(folder: Path, column: Column) -> tuple[Column, int]:
    """Return a column as stored (its chunk may differ) and its number of rows. Raises DataError if it is another."""
    if folder.is_symlink():
        raise DataError(f"{folder} is a link, which may lead anywhere; copy the data without links.")
    document = read_json(folder / METADATA)
    try:
        rows = int(document["shape"][0])
        stored = replace(column, chunk=int(document["chunk_grid"]["configuration"]["chunk_shape"][0]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{folder / METADATA} does not describe a Zarr v3 array.") from error
    expected = _describe(stored, rows)
    if document.get("codecs") == _codecs(stored, COMPACT_LEVEL):
        expected["codecs"] = document["codecs"]
    row_bytes = np.dtype(column.dtype).itemsize * math.prod(column.shape)
    differing = [key for key in expected if key != "attributes" and document.get(key) != expected[key]]
    if differing or rows < 0 or not 0 < stored.chunk <= MAX_CHUNK or stored.chunk * row_bytes > MAX_CHUNK_BYTES:
        kind = f"{column.dtype} rows of shape {list(column.shape)} as episodes store them"
        raise DataError(f"{folder / METADATA} does not describe {kind} ({', '.join(differing) or 'sizes'}).")
    return stored, rows


def read_chunk(folder: Path, column: Column, index: int) -> Array:
    """Return chunk `index` in full (chunk, *shape). Raises DataError if it is missing or its checksum is wrong."""
    path = folder / _chunk_name(column, index)
    chunk = np.empty((column.chunk, *column.shape), column.dtype)
    content = read_bytes(path, 2 * chunk.nbytes + _FRAME_BYTES)
    try:
        _CODEC.decode(content, out=chunk)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path} is corrupt: {error}.") from error
    return chunk


def read_rows(folder: Path, column: Column, start: int, stop: int) -> Array:
    """Return rows [start, stop). Raises DataError as `read_chunk` does."""
    last = folder / _chunk_name(column, (stop - 1) // column.chunk)
    if stop > start and not last.exists():  # before memory is asked for, in case the length is made up
        raise MissingDataError(f"{last} is missing.")
    rows = np.empty((stop - start, *column.shape), column.dtype)
    for index in range(start // column.chunk, -(-stop // column.chunk)):
        first = index * column.chunk
        low, high = max(start, first), min(stop, first + column.chunk)
        rows[low - start : high - start] = read_chunk(folder, column, index)[low - first : high - first]
    return rows


def compact_column(folder: Path, column: Column, scratch: Path) -> None:
    """Compress a column as hard as can be; every file is replaced whole, so that it can be read at any moment.

    Raises DataError, having changed nothing, if a chunk is missing or corrupt.
    """
    stored, rows = read_column(folder, column)
    if read_json(folder / METADATA)["codecs"] == _codecs(stored, COMPACT_LEVEL):
        return
    chunks = range(-(-rows // stored.chunk))
    for index in chunks:
        read_chunk(folder, stored, index)
    codec = Zstd(level=COMPACT_LEVEL, checksum=True)
    for index in chunks:
        path = folder / _chunk_name(stored, index)
        content = codec.encode(read_chunk(folder, stored, index))
        if len(content) < path.stat().st_size:
            write_file(path, content, scratch)
    write_json(folder / METADATA, _describe(stored, rows) | {"codecs": _codecs(stored, COMPACT_LEVEL)}, scratch)


class GrowingArray:
    """Writes one column: full chunks as they fill, the unfinished one and the length at each `flush`."""

    def __init__(self, folder: Path, column: Column, scratch: Path) -> None:
        """Create the array's folder with no rows in it."""
        self.rows = 0
        self._folder = folder
        self._column = column
        self._scratch = scratch
        self._chunk = np.full((column.chunk, *column.shape), _fill_value(column), column.dtype)
        self._dirty = True
        folder.mkdir()
        self.flush()

    def moved(self, folder: Path, scratch: Path) -> None:
        """Go on writing at another place, to which the folder has been renamed."""
        self._folder, self._scratch = folder, scratch

    def check(self, rows: Array) -> None:
        """Raise DataError if rows are not (n, *shape), or floating point where the column holds whole numbers."""
        column = self._column
        if rows.shape[1:] != column.shape or (rows.dtype.kind == "f" and column.dtype != "float32"):
            given = f"{rows.dtype} {list(rows.shape[1:])}"
            raise DataError(f"Column {column.name} holds {column.dtype} {list(column.shape)}, but was given {given}.")

    def extend(self, rows: Array) -> None:
        """Append rows (n, *shape) that `check` accepts."""
        done = 0
        while done < len(rows):
            at = self.rows % self._column.chunk
            count = min(len(rows) - done, self._column.chunk - at)
            self._chunk[at : at + count] = rows[done : done + count]
            done += count
            self.rows += count
            self._dirty = True
            if at + count == self._column.chunk:
                self._write_chunk(self.rows // self._column.chunk - 1)
                self._chunk[:] = _fill_value(self._column)

    def flush(self) -> None:
        """Bring everything that was appended to disk."""
        if not self._dirty:
            return
        if self.rows % self._column.chunk:
            self._write_chunk(self.rows // self._column.chunk)
        write_json(self._folder / METADATA, _describe(self._column, self.rows), self._scratch)
        self._dirty = False

    def _write_chunk(self, index: int) -> None:
        write_file(self._folder / _chunk_name(self._column, index), _CODEC.encode(self._chunk), self._scratch)


def _chunk_name(column: Column, index: int) -> str:
    return ".".join(["c", str(index), *("0" for _ in column.shape)])


def _fill_value(column: Column) -> Any:
    return np.nan if column.dtype == "float32" else np.zeros((), column.dtype)


def _describe(column: Column, rows: int) -> dict[str, Any]:
    if column.dtype not in _DTYPES:
        raise DataError(f"Column {column.name} has type {column.dtype}; episodes store {', '.join(_DTYPES)}.")
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [rows, *column.shape],
        "data_type": column.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [column.chunk, *column.shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": {"float32": "NaN", "bool": False}.get(column.dtype, 0),
        "codecs": _codecs(column, LEVEL),
        "attributes": {"unit": column.unit, "meaning": column.meaning},
        "storage_transformers": [],
    }


def _codecs(column: Column, level: int) -> list[dict[str, Any]]:
    zstd = {"name": "zstd", "configuration": {"level": level, "checksum": True}}
    return [_BYTES if np.dtype(column.dtype).itemsize == 1 else _LITTLE_ENDIAN, zstd]
