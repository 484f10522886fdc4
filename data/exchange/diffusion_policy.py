"""The replay buffer of diffusion_policy: a Zarr v2 group with `data/<column>` for all steps and `meta/episode_ends`.

https://github.com/real-stanford/diffusion_policy (diffusion_policy/common/replay_buffer.py). Written with zarr; a
stranger's arrays are read here, file by file, so that no codec is called but the ones named below.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np

from data.episode import Episode
from data.errors import DataError
from data.exchange.bounds import MAX_EPISODES, bytes_of, check_chunk, check_claim, check_column, inside
from data.exchange.exporting import Source
from data.exchange.importing import ForeignEpisode
from data.exchange.table import BLOCK, Names
from data.files import read_json
from data.schema import Array, Outcome

OUTCOME = "episode_outcome"
CHUNK_BYTES = 2_000_000
"""What diffusion_policy aims at for its own chunks."""

_COMPRESSOR = numcodecs.Blosc("zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
_CODECS = ("blosc", "zstd", "lz4")
"""Those that decompress into a buffer of the expected size, whatever their input claims."""


class DiffusionPolicyExporter:
    """Writes a replay buffer."""

    names = Names("state", "action", "objects", "intervention", ("camera_", ""))

    @contextmanager
    def writer(self, path: Path, source: Source, row: dict[str, Array]) -> Iterator["_Writer"]:
        """Begin a replay buffer; `meta` is written when all episodes are."""
        import zarr

        root = zarr.open_group(path, mode="w", zarr_format=2)
        data, meta = root.create_group("data"), root.create_group("meta")
        for name, rows in row.items():
            chunk = max(1, min(source.steps, CHUNK_BYTES // bytes_of(rows.shape[1:], rows.dtype)))
            data.create_array(
                name,
                shape=(source.steps, *rows.shape[1:]),
                chunks=(chunk, *rows.shape[1:]),
                dtype=rows.dtype,
                compressors=_COMPRESSOR,
            )
        writer = _Writer({name: data[name] for name in row})
        yield writer
        writer.flush()
        outcomes = np.array([episode.outcome.value for episode in source.episodes], dtype="<U9")
        for name, values in (("episode_ends", np.array(writer.ends, np.int64)), (OUTCOME, outcomes)):
            array = meta.create_array(name, shape=values.shape, chunks=values.shape, dtype=values.dtype)
            array[:] = values


class _Writer:
    """Gathers rows until a chunk is full, so that each is written once."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.ends: list[int] = []
        self._arrays = arrays
        self._written = dict.fromkeys(arrays, 0)
        self._waiting: dict[str, list[Array]] = {name: [] for name in arrays}

    def add(self, episode: Episode, rows: Iterator[dict[str, Array]]) -> None:
        for block in rows:
            for name, values in block.items():
                self._waiting[name].append(values)
                if sum(map(len, self._waiting[name])) >= self._arrays[name].chunks[0]:
                    self._write(name, whole_chunks=True)
        self.ends.append((self.ends[-1] if self.ends else 0) + episode.steps)

    def flush(self) -> None:
        """Write what is left."""
        for name in self._arrays:
            self._write(name, whole_chunks=False)

    def _write(self, name: str, whole_chunks: bool) -> None:
        if not self._waiting[name]:
            return
        array, rows = self._arrays[name], np.concatenate(self._waiting[name])
        count = len(rows) // array.chunks[0] * array.chunks[0] if whole_chunks else len(rows)
        array[self._written[name] : self._written[name] + count] = rows[:count]
        self._written[name] += count
        self._waiting[name] = [rows[count:]] if count < len(rows) else []


class ReplayBufferSet:
    """A replay buffer on disk, as a stranger may have made it."""

    names = DiffusionPolicyExporter.names
    task = ""
    period_s: float | None = None

    def __init__(self, path: Path) -> None:
        """Open it. Raises DataError for anything but a folder with plain arrays."""
        if path.is_file():
            raise DataError(f"{path} is a file; unpack a .zarr.zip to a folder first.")
        self._root = path
        folder = inside(path, "data")
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        self._arrays = {name: _ZarrArray(path, "data", name) for name in names}
        ends = _ZarrArray(path, "meta", "episode_ends")
        if ends.dtype.kind not in "iu" or len(ends.shape) != 1 or ends.shape[0] > MAX_EPISODES:
            raise DataError(f"{path}/meta/episode_ends should be at most {MAX_EPISODES} whole numbers.")
        self._ends = ends.read(0, ends.shape[0]).astype(np.int64)
        if np.any(np.diff(self._ends, prepend=0) < 0):
            raise DataError(f"{path}/meta/episode_ends does not grow.")
        for name, array in self._arrays.items():
            if len(self._ends) and array.shape[0] < self._ends[-1]:
                raise DataError(f"{path}/data/{name} has {array.shape[0]} of {self._ends[-1]} steps.")
        claimed = sum(bytes_of(array.shape, array.dtype) for array in self._arrays.values())
        check_claim(str(path), claimed, sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
        self.rows = {name: (array.shape[1:], array.dtype) for name, array in self._arrays.items()}

    @cached_property
    def steps(self) -> int:
        """How many steps all episodes have."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def episodes(self) -> Iterator[ForeignEpisode]:
        """Yield the episodes."""
        outcomes = self._outcomes()
        for start, stop, outcome in zip([0, *self._ends[:-1].tolist()], self._ends.tolist(), outcomes, strict=True):
            yield ForeignEpisode(stop - start, outcome, self._blocks(start, stop))

    def _blocks(self, start: int, stop: int) -> Iterator[dict[str, Array]]:
        for first in range(start, stop, BLOCK):
            yield {name: array.read(first, min(first + BLOCK, stop)) for name, array in self._arrays.items()}

    def _outcomes(self) -> list[Outcome]:
        if not (self._root / "meta" / OUTCOME).exists():
            return [Outcome.UNKNOWN] * len(self._ends)
        array = _ZarrArray(self._root, "meta", OUTCOME, text=True)
        if array.shape != self._ends.shape or array.dtype.kind != "U":
            raise DataError(f"{self._root}/meta/{OUTCOME} should be a word for each episode.")
        try:
            return [Outcome(word) for word in array.read(0, array.shape[0]).tolist()]
        except ValueError as error:
            raise DataError(f"{self._root}/meta/{OUTCOME}: {error}.") from error


class _ZarrArray:
    """An array of a Zarr v2 group, chunked along time only; its last chunk stays in memory."""

    def __init__(self, root: Path, *parts: str, text: bool = False) -> None:
        folder = inside(root, *parts)
        document = read_json(inside(folder, ".zarray"))
        try:
            self.shape = tuple(int(length) for length in document["shape"])
            self.dtype = np.dtype(document["dtype"])
            chunks = tuple(int(length) for length in document["chunks"])
            self._fill = np.array(document.get("fill_value") or 0).astype(self.dtype)
            compressor, filters = document["compressor"], document.get("filters")
            separator = document.get("dimension_separator", ".")
            plain = document["zarr_format"] == 2 and document["order"] == "C" and not filters and separator in "./"
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder}/.zarray does not describe a Zarr v2 array: {error!r}.") from error
        check_column(str(folder), self.shape, self.dtype, text)
        check_chunk(str(folder), chunks, self.dtype)
        if not plain or len(chunks) != len(self.shape):
            raise DataError(f"{folder} is stored with filters, another order or format; only plain arrays are read.")
        if compressor is not None and compressor.get("id") not in _CODECS:
            raise DataError(
                f"{folder} is compressed with {compressor.get('id')!r}; only {', '.join(_CODECS)} are read. "
                "Save it again with diffusion_policy's own ReplayBuffer.save_to_path(compressors='disk')."
            )
        self._codec = None if compressor is None else numcodecs.get_codec({"id": compressor["id"]})
        self._folder, self._chunks, self._separator = folder, chunks, separator
        self._held: tuple[int, Array] | None = None

    def read(self, start: int, stop: int) -> Array:
        """Return rows [start, stop)."""
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        length = self._chunks[0]
        for index in range(start // length, -(-stop // length)):
            low, high = max(start, index * length), min(stop, (index + 1) * length)
            rows[low - start : high - start] = self._time_chunk(index)[low - index * length : high - index * length]
        return rows

    def _time_chunk(self, index: int) -> Array:
        """Return all rows of a stretch of time, put together from the chunks along the other axes."""
        if self._held is None or self._held[0] != index:
            whole = np.zeros((self._chunks[0], *self.shape[1:]), self.dtype)
            counts = [-(-size // chunk) for size, chunk in zip(self.shape[1:], self._chunks[1:], strict=True)]
            for position in np.ndindex(*counts):
                part = self._chunk((index, *position))
                places = tuple(
                    slice(at * chunk, min((at + 1) * chunk, size))
                    for at, chunk, size in zip(position, self._chunks[1:], self.shape[1:], strict=True)
                )
                whole[(slice(None), *places)] = part[(slice(None), *(slice(0, p.stop - p.start) for p in places))]
            self._held = index, whole
        return self._held[1]

    def _chunk(self, position: tuple[int, ...]) -> Array:
        parts = self._separator.join(map(str, position)).split("/")
        buffer = np.empty(self._chunks, self.dtype)
        if not self._folder.joinpath(*parts).exists():
            buffer[...] = self._fill
            return buffer
        path = inside(self._folder, *parts)
        try:
            if path.stat().st_size > 2 * buffer.nbytes + 4096:
                raise DataError(f"{path} is larger than what it should hold.")
            content = path.read_bytes()
            if self._codec is not None:
                self._codec.decode(content, out=buffer)
            elif len(content) == buffer.nbytes:
                buffer = np.frombuffer(content, self.dtype).reshape(self._chunks)
            else:
                raise DataError(f"{path} has {len(content)} bytes instead of {buffer.nbytes}.")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{path} is corrupt: {error}.") from error
        return buffer
