"""robomimic's HDF5: a group `data/demo_<k>` an episode with `obs/<column>`, `actions`, `rewards` and `dones`.

https://robomimic.github.io/docs/datasets/overview.html. `mask/<name>` lists demos by outcome and by who drove.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data.episode import Episode
from data.errors import DataError
from data.exchange.bounds import MAX_EPISODES, bytes_of, check_chunk, check_claim, check_column
from data.exchange.exporting import Source
from data.exchange.importing import ForeignEpisode
from data.exchange.table import BLOCK, OWN, Names, is_picture
from data.files import MAX_JSON_BYTES
from data.schema import Array, Outcome

GYM = 2
"""robomimic's number of an environment that it could make with gym; it has none for a robot."""

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


class RobomimicExporter:
    """Writes an HDF5 file."""

    names = Names("obs/state", "actions", "obs/object", "intervention", ("obs/", "_image"))

    @contextmanager
    def writer(self, path: Path, source: Source, row: dict[str, Array]) -> Iterator["_Writer"]:
        """Begin a file; `mask` is written when all episodes are."""
        with h5py.File(path, "w", libver="latest") as file:
            data = file.create_group("data")
            data.attrs["total"] = source.steps
            data.attrs["env_args"] = json.dumps({"env_name": source.task, "env_type": GYM, "env_kwargs": {}})
            data.attrs["period_s"] = source.period_s
            writer = _Writer(data, self.names)
            yield writer
            for name, demos in writer.masks.items():
                file[f"mask/{name}"] = np.array(demos, dtype="S")


class _Writer:
    def __init__(self, data: Any, names: Names) -> None:
        self.masks: dict[str, list[str]] = defaultdict(list)
        self._data = data
        self._names = names

    def add(self, episode: Episode, rows: Iterator[dict[str, Array]]) -> None:
        name = f"demo_{len(self._data)}"
        demo = self._data.create_group(name)
        demo.attrs["num_samples"] = episode.steps
        demo.attrs["outcome"] = episode.outcome.value
        done, driven = 0, []
        for block in rows:
            count = len(block[self._names.action])
            for column, values in block.items():
                if column not in demo:
                    picture = is_picture(values.shape[1:], values.dtype)
                    storage = {"chunks": (1, *values.shape[1:]), "compression": "gzip", "compression_opts": 1}
                    shape = (episode.steps, *values.shape[1:])
                    demo.create_dataset(column, shape, values.dtype, **(storage if picture else {}))
                demo[column][done : done + count] = values
            driven.append(block[self._names.intervention])
            done += count
        dones = np.zeros(episode.steps, np.uint8)
        dones[-1] = 1
        demo["dones"] = dones
        demo["rewards"] = dones * np.float32(episode.outcome is Outcome.SUCCESS)
        person = np.concatenate(driven)
        kind = "demonstration" if person.all() else "intervention" if person.any() else "autonomous"
        for mask in (episode.outcome.value, kind):
            self.masks[mask].append(name)


class RobomimicSet:
    """An HDF5 file, as a stranger may have made it."""

    names = RobomimicExporter.names

    def __init__(self, path: Path) -> None:
        """Open it. Raises DataError for anything but a file with plain arrays in it."""
        if path.is_symlink() or not path.is_file():
            raise DataError(f"{path} is not a file; name robomimic's .hdf5 file.")
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"{path} is not an HDF5 file: {error}.") from error
        self._path = path
        data = self._member(self._file, "data", h5py.Group)
        names = [name for name in data if name.startswith("demo_") and name[5:].isdecimal()]
        if not names or len(names) > MAX_EPISODES:
            raise DataError(f"{path} has {len(names)} groups data/demo_0, data/demo_1, ...; there should be some.")
        names.sort(key=lambda name: int(name[5:]))
        self._demos = {name: self._member(data, name, h5py.Group) for name in names}
        self.rows = {name: (a.shape[1:], a.dtype) for name, a in self._columns(self._demos[names[0]]).items()}
        self.steps = sum(self._length(demo) for demo in self._demos.values())
        sizes = sum(bytes_of(shape, dtype) for shape, dtype in self.rows.values())
        check_claim(str(path), sizes * self.steps, path.stat().st_size)
        self.task = self._task(data)
        period_s = data.attrs.get("period_s")
        self.period_s: float | None = float(period_s) if isinstance(period_s, float) and 0 < period_s <= 1 else None

    def episodes(self) -> Iterator[ForeignEpisode]:
        """Yield the demos."""
        for name, demo in self._demos.items():
            columns = self._columns(demo)
            steps = self._length(demo)
            if {column: (array.shape[1:], array.dtype) for column, array in columns.items()} != self.rows:
                raise DataError(f"{self._path}: data/{name} has other columns than the first demo.")
            outcome = demo.attrs.get("outcome")
            known = _OUTCOMES.get(outcome, Outcome.UNKNOWN) if isinstance(outcome, str) else Outcome.UNKNOWN
            yield ForeignEpisode(steps, known, _blocks(columns, steps))

    def _columns(self, demo: Any) -> dict[str, Any]:
        """Return the arrays of a demo that a step may be made of: `actions`, labels and all observations."""
        columns = {}
        observations = self._member(demo, "obs", h5py.Group)
        wanted = [(demo, name, name) for name in demo if name in ("actions", "intervention") or name.startswith(OWN)]
        wanted += [(observations, name, f"obs/{name}") for name in observations]
        for group, name, column in wanted:
            array = self._member(group, name, h5py.Dataset)
            where = f"{self._path}: {array.name}"
            if array.external or array.is_virtual:
                raise DataError(f"{where} keeps its numbers in another file, which is not read.")
            check_column(where, array.shape, array.dtype)
            if array.chunks is not None:
                check_chunk(where, array.chunks, array.dtype)
            columns[column] = array
        return columns

    def _member(self, group: Any, name: str, kind: type) -> Any:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{self._path}: {group.name}/{name} is missing, or a link, which may lead anywhere.")
        member = group[name]
        if not isinstance(member, kind):
            raise DataError(f"{self._path}: {member.name} is not a {kind.__name__.lower()}.")
        return member

    def _length(self, demo: Any) -> int:
        lengths = {array.shape[0] for array in self._columns(demo).values()}
        if len(lengths) != 1:
            raise DataError(f"{self._path}: the columns of {demo.name} have different lengths, {sorted(lengths)}.")
        return int(lengths.pop())

    def _task(self, data: Any) -> str:
        text = data.attrs.get("env_args", "")
        try:
            arguments = json.loads(text) if isinstance(text, str) and len(text) < MAX_JSON_BYTES else {}
        except ValueError:
            return ""
        return str(arguments.get("env_name", "")) if isinstance(arguments, dict) else ""


def _blocks(columns: dict[str, Any], steps: int) -> Iterator[dict[str, Array]]:
    for start in range(0, steps, BLOCK):
        yield {name: np.asarray(array[start : start + BLOCK]) for name, array in columns.items()}
