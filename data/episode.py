"""One episode on disk: a Zarr v3 group that a writer fills while the arm moves, and a reader for it.

`000007.zarr.partial` is being written or was interrupted; `000007.zarr` is whole. The attribute `committed_steps` is
written last at each flush: rows beyond it do not count. A session's folder and its bin are in `data.session`.
"""

import fcntl
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from data.arrays import GrowingArray, read_column, read_group, read_rows, write_group
from data.errors import DataError, DiskError, MissingDataError
from data.files import lock_folder
from data.labels import apply, relabellings
from data.schema import ARM_COLUMNS, Array, Column, EpisodeLayout, Outcome, Step

FORMAT = "drift-robot episode"
FORMAT_VERSION = 1
FLUSH_PERIOD_S = 0.5
"""A kill costs what was handed over since the last flush: no more than this and the time that a flush takes."""
EPISODES, BIN = "episodes", "bin"
WHOLE, PARTIAL = ".zarr", ".zarr.partial"
_OWN_ATTRIBUTES = {
    *("format", "format_version", "index", "layout", "started_utc"),
    *("committed_steps", "committed_arm_samples", "outcome"),
}


def scratch_of(folder: Path) -> Path:
    """Return the name beside an episode under which each of its files is written before it takes its place."""
    return folder.with_name(f".{folder.name}.tmp")


class EpisodeWriter:
    """Writes one episode. A call of `append` or `flush_if_due` flushes if the last flush is `FLUSH_PERIOD_S` ago.

    The writer holds a lock on the folder, which ends with the process: so `verify` can tell an episode that is being
    written from one that was interrupted.
    """

    def __init__(self, folder: Path, lock: int, attributes: dict[str, Any], arrays: dict[str, GrowingArray]) -> None:
        """Use `create`."""
        self.folder = folder
        self.steps = 0
        self._lock = lock
        self._attributes = attributes
        self._arrays = arrays
        self._arm_samples = 0
        self._failed = False
        self._flushed_s = time.monotonic()

    @classmethod
    def create(
        cls, session: Path, index: int, layout: EpisodeLayout, attributes: Mapping[str, Any] | None = None
    ) -> Self:
        """Begin `<session>/episodes/<index>.zarr.partial`. Raises DataError if it exists, DiskError if it cannot be."""
        if clash := _OWN_ATTRIBUTES.intersection(attributes or ()):
            raise DataError(f"Episode attributes {sorted(clash)} are set by the writer; choose other names.")
        folder = session / EPISODES / f"{index:06d}{PARTIAL}"
        started = folder.with_name(f".{index:06d}.new")
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "index": index,
            "layout": {"object_dim": layout.object_dim, "cameras": {k: list(v) for k, v in layout.cameras.items()}},
            "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "committed_steps": 0,
            "committed_arm_samples": 0,
            "outcome": Outcome.UNKNOWN.value,
            **(attributes or {}),
        }
        if folder.exists() or (session / EPISODES / f"{index:06d}{WHOLE}").exists() or started.exists():
            raise DataError(f"Episode {index} of {session} exists already; take the session's next index.")
        columns = (*layout.columns(), *ARM_COLUMNS)
        with ExitStack() as undo:
            try:
                started.mkdir(parents=True)
                undo.callback(shutil.rmtree, started)
                lock = os.open(started, os.O_RDONLY)
                undo.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
                write_group(started, document, scratch_of(started))
                arrays = {c.name: GrowingArray(started / c.name, c, scratch_of(started)) for c in columns}
                started.rename(folder)
            except OSError as error:
                raise DiskError(f"{folder} cannot be created: {error.strerror}.") from error
            undo.pop_all()
        for column in columns:
            arrays[column.name].moved(folder / column.name, scratch_of(folder))
        return cls(folder, lock, document, arrays)

    def append(self, step: Step) -> None:
        """Add a step. Raises DataError if it lacks a column, has one too many or one of another shape."""
        row = step.row()
        names = self._arrays.keys() - {column.name for column in ARM_COLUMNS}
        if row.keys() != names:
            missing, unknown = sorted(names - row.keys()), sorted(row.keys() - names)
            raise DataError(f"Step {self.steps} of {self.folder} lacks {missing} and has unknown {unknown}.")
        self._extend({name: np.asarray(value)[None] for name, value in row.items()})
        self.steps += 1
        self.flush_if_due()

    def append_arm_log(
        self, time_ns: Array, joints: Array, tcp: Array, commanded: Array, wrench: Array, authority: Array
    ) -> None:
        """Add n samples of the full-rate arm log: (n,), (n, 6), (n, 9), (n, 9), (n, 6), (n,)."""
        blocks = dict(
            zip((c.name for c in ARM_COLUMNS), (time_ns, joints, tcp, commanded, wrench, authority), strict=True)
        )
        if len({len(block) for block in blocks.values()}) != 1:
            raise DataError(f"The arm log of {self.folder} was given columns of different lengths.")
        self._extend(blocks)
        self._arm_samples += len(time_ns)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Flush if the last flush is `FLUSH_PERIOD_S` ago; for a recorder that has nothing to append just now."""
        if time.monotonic() - self._flushed_s >= FLUSH_PERIOD_S:
            self.flush()

    def flush(self) -> None:
        """Bring all steps to disk and commit them. Raises DiskError if the disk fails, then and ever after."""
        counts = {"committed_steps": self.steps, "committed_arm_samples": self._arm_samples}
        if any(self._attributes[key] != count for key, count in counts.items()):
            self._commit(counts)
        self._flushed_s = time.monotonic()

    def finish(self, outcome: Outcome, attributes: Mapping[str, Any] | None = None) -> Path:
        """Flush, note the outcome and further attributes, and rename to the name of a whole episode; return it."""
        whole = self.folder.with_name(self.folder.name.removesuffix(PARTIAL) + WHOLE)
        return self._close(outcome, attributes or {}, whole)

    def discard(self) -> Path:
        """Close the episode into the session's bin; return its place there."""
        bin_folder = self.folder.parent.parent / BIN
        with self._writing():
            bin_folder.mkdir(exist_ok=True)
        return self._close(Outcome.DISCARDED, {}, bin_folder / (self.folder.name.removesuffix(PARTIAL) + WHOLE))

    def abandon(self) -> Path:
        """Flush and let go without an end, as when the session breaks off; `repair` can make it whole later."""
        try:
            self.flush()
        finally:
            os.close(self._lock)
        return self.folder

    def _close(self, outcome: Outcome, attributes: Mapping[str, Any], destination: Path) -> Path:
        if clash := _OWN_ATTRIBUTES.intersection(attributes):
            raise DataError(f"Episode attributes {sorted(clash)} are set by the writer; choose other names.")
        counts = {"committed_steps": self.steps, "committed_arm_samples": self._arm_samples}
        self._commit({**attributes, **counts, "outcome": outcome.value})
        with self._writing():
            self.folder.rename(destination)
        os.close(self._lock)
        self.folder = destination
        return destination

    def _extend(self, blocks: Mapping[str, Array]) -> None:
        for name, block in blocks.items():
            self._arrays[name].check(block)
        with self._writing():
            for name, block in blocks.items():
                self._arrays[name].extend(block)

    def _commit(self, changes: dict[str, Any]) -> None:
        """Write all rows, and only then the attributes that count them."""
        with self._writing():
            for array in self._arrays.values():
                array.flush()
            write_group(self.folder, self._attributes | changes, scratch_of(self.folder))
        self._attributes |= changes

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._failed:
            raise DiskError(f"{self.folder} could not be written before; abandon it and repair it.")
        try:
            yield
        except OSError as error:
            self._failed = True
            safe = f"{self._attributes['committed_steps']} of {self.steps} steps are safe"
            raise DiskError(f"{self.folder} cannot be written ({error.strerror}); {safe}.") from error


class Episode:
    """An episode read from disk: `steps` committed steps, columns as numpy arrays read when asked for.

    `relabellings` are the changes of labels since the recording; columns and outcome are as they left them.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        """Use `open`."""
        self.path = path
        self.attributes = attributes
        self.index = int(attributes["index"])
        self.steps = int(attributes["committed_steps"])
        self.arm_samples = int(attributes["committed_arm_samples"])
        if min(self.steps, self.arm_samples) < 0:
            raise ValueError("negative number of rows")
        self.outcome = Outcome(attributes["outcome"])
        self.relabellings = relabellings(attributes)
        layout = attributes["layout"]
        cameras = {str(name): (int(height), int(width)) for name, (height, width) in layout["cameras"].items()}
        self.layout = EpisodeLayout(int(layout["object_dim"]), cameras)
        self._columns = {column.name: column for column in (*self.layout.columns(), *ARM_COLUMNS)}

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a whole or a partial episode. Raises DataError if there is none or it is of another format."""
        require_there(path)
        attributes = read_group(path)
        if attributes.get("format") != FORMAT or attributes.get("format_version") != FORMAT_VERSION:
            found = f"{attributes.get('format')!r} version {attributes.get('format_version')!r}"
            raise DataError(f"{path} is {found}; expected {FORMAT!r} version {FORMAT_VERSION}.")
        try:
            return cls(path, attributes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path} has damaged attributes: {error!r}.") from error

    @property
    def finished(self) -> bool:
        """Whether the writer came to the end."""
        return self.path.name.endswith(WHOLE)

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, per step and of the arm log."""
        return tuple(self._columns.values())

    def rows_of(self, column: Column) -> int:
        """Return how many rows of a column are committed."""
        return self.arm_samples if column in ARM_COLUMNS else self.steps

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return rows [start, stop) of a column, by default all. Raises DataError if it is unknown or damaged."""
        rows = self.recorded(name, start, stop)
        apply(self.relabellings, name, rows, start)
        return rows

    def recorded(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return rows of a column as they were recorded, before any relabelling. Raises DataError as `column` does."""
        if name not in self._columns:
            raise DataError(f"{self.path} has no column {name!r}; it has {', '.join(self._columns)}.")
        column, stored = read_column(self.path / name, self._columns[name])
        rows = self.rows_of(column)
        if stored < rows:
            raise DataError(f"{self.path / name} holds {stored} of the {rows} rows that were committed.")
        stop = rows if stop is None else min(stop, rows)
        return read_rows(self.path / name, column, min(start, stop), stop)

    def duration_s(self) -> float:
        """Return the time from the first step to the last, NaN for an empty episode."""
        time_ns = self.column("time.step")
        return float(time_ns[-1] - time_ns[0]) / 1e9 if self.steps else math.nan


def require_there(path: Path) -> None:
    """Refuse an episode's path where there is none. Raises MissingDataError."""
    if not path.is_dir():
        raise MissingDataError(f"{path} is not there; 'drift-robot data list' shows a session's episodes.")


@contextmanager
def rewriting(folder: Path) -> Iterator[None]:
    """Keep an episode to oneself while its files are replaced, each through the one scratch name beside it.

    Raises DataError if another process writes or rewrites it.
    """
    try:
        handle = lock_folder(folder)
    except BlockingIOError as error:
        raise DataError(f"{folder} is being written by another process; wait until that has ended.") from error
    try:
        yield
    finally:
        os.close(handle)


def is_being_written(folder: Path) -> bool:
    """Tell whether a living writer on this machine holds the episode."""
    try:
        os.close(lock_folder(folder))
    except BlockingIOError:
        return True
    return False
