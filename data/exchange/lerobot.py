"""LeRobotDataset v3.0: tables in Parquet and pictures in MP4, many episodes to a file, described by JSON beside them.

https://huggingface.co/docs/lerobot/lerobot-dataset-v3. Pictures are H.264, which loses a little; numbers lose nothing.
"""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from data.episode import Episode
from data.errors import DataError
from data.exchange.bounds import MAX_BLOCK_BYTES, MAX_EPISODES, MAX_STEPS, check_column, inside
from data.exchange.exporting import Source
from data.exchange.importing import ForeignEpisode
from data.exchange.moments import Moments
from data.exchange.table import BLOCK, STATE_NAMES, Names, is_picture, pictures
from data.files import read_json
from data.schema import Array, Outcome

VERSION = "v3.0"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILES_PER_CHUNK = 1000
DATA_MB, VIDEO_MB = 100, 200
"""How large a file grows before the next is begun; all of these are LeRobot's own defaults."""

OUTCOME = "drift/outcome"
QUALITY = {"crf": "18", "preset": "veryfast", "g": "2"}
"""H.264 that looks lossless; a key frame at every other picture, as LeRobot reads them in any order."""

_INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_TYPES = {name: getattr(pa, name)() for name in _WHOLE}
_TYPES |= {"float32": pa.float32(), "float64": pa.float64(), "bool": pa.bool_()}


class LeRobotExporter:
    """Writes a data set."""

    names = Names(
        "observation.state", "action", "observation.environment_state", "intervention", ("observation.images.", "")
    )

    @contextmanager
    def writer(self, path: Path, source: Source, row: dict[str, Array]) -> Iterator["_Writer"]:
        """Begin a data set; what describes it is written when all episodes are."""
        with ExitStack() as files:
            writer = _Writer(path, source, row, self.names, files)
            yield writer
        writer.describe()


class _Writer:
    def __init__(self, root: Path, source: Source, row: dict[str, Array], names: Names, files: ExitStack) -> None:
        self._root, self._source, self._names = root, source, names
        self._fps = max(1, round(1 / source.period_s))
        self._frames = 0
        self._rows: list[dict[str, Any]] = []
        self._moments: dict[str, Moments] = {}
        self._features = {name: _feature(name, rows, names) for name, rows in row.items()}
        self._features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in _INDICES}
        self._features["timestamp"]["dtype"] = "float32"
        self._tables = _Tables(root, _schema(self._features), files)
        self._videos = {name: _Videos(root, name, row[name].shape[1:3], self._fps, files) for name in pictures(row)}

    def add(self, episode: Episode, rows: Iterator[dict[str, Array]]) -> None:
        moments = {name: Moments() for name in self._features if name.startswith(("observation", "action"))}
        places = {name: video.begin() for name, video in self._videos.items()}
        low: list[dict[str, Array]] = []
        for block in rows:
            for name, values in block.items():
                if name in moments:
                    moments[name].add(values)
                if name in self._videos:
                    self._videos[name].write(values)
            low.append({name: values for name, values in block.items() if name not in self._videos})
        columns = {name: np.concatenate([block[name] for block in low]) for name in low[0]}
        number = np.arange(episode.steps)
        columns |= {
            "timestamp": (number / self._fps).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(episode.steps, len(self._rows)),
            "index": self._frames + number,
            "task_index": np.zeros(episode.steps, np.int64),
        }
        chunk, file = self._tables.write(columns)
        row: dict[str, Any] = {
            "episode_index": len(self._rows),
            "tasks": [self._source.task],
            "length": episode.steps,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + episode.steps,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            OUTCOME: episode.outcome.value,
        }
        for name, (chunk, file, first) in places.items():
            row |= {
                f"videos/{name}/chunk_index": chunk,
                f"videos/{name}/file_index": file,
                f"videos/{name}/from_timestamp": first / self._fps,
                f"videos/{name}/to_timestamp": (first + episode.steps) / self._fps,
            }
        for name, moment in moments.items():
            row |= {f"stats/{name}/{key}": values for key, values in moment.figures().items()}
            self._moments.setdefault(name, Moments()).merge(moment)
        self._rows.append(row)
        self._frames += episode.steps

    def describe(self) -> None:
        """Write everything below `meta`."""
        info = {
            "codebase_version": VERSION,
            "robot_type": "ur",
            "total_episodes": len(self._rows),
            "total_frames": self._frames,
            "total_tasks": 1,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": DATA_MB,
            "video_files_size_in_mb": VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._videos else None,
            "features": self._features,
        }
        episodes = self._root / EPISODES_PATH.format(chunk_index=0, file_index=0)
        episodes.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._rows), episodes)
        pq.write_table(_tasks(self._source.task), self._root / "meta/tasks.parquet")
        stats = {name: moment.figures() for name, moment in self._moments.items()}
        for name, document in (("info", info), ("stats", stats)):
            (self._root / f"meta/{name}.json").write_text(json.dumps(document, indent=2), encoding="utf-8")


class _Tables:
    """The Parquet files of the steps, a row group an episode."""

    def __init__(self, root: Path, schema: pa.Schema, files: ExitStack) -> None:
        self._root, self._schema, self._files = root, schema, files
        self._count = 0
        self._writer: pq.ParquetWriter | None = None
        self._path = root

    def write(self, columns: Mapping[str, Array]) -> tuple[int, int]:
        """Add an episode; return the numbers of chunk and file that it is in."""
        if self._writer is None or self._path.stat().st_size >= DATA_MB << 20:
            chunk, file = divmod(self._count, FILES_PER_CHUNK)
            self._count += 1
            self._path = self._root / DATA_PATH.format(chunk_index=chunk, file_index=file)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._writer is not None:
                self._writer.close()
            self._writer = self._files.enter_context(pq.ParquetWriter(self._path, self._schema))
        arrays = [_arrow(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        return divmod(self._count - 1, FILES_PER_CHUNK)


class _Videos:
    """The MP4 files of one camera."""

    def __init__(self, root: Path, key: str, size: tuple[int, ...], fps: int, files: ExitStack) -> None:
        self._root, self._key, self._fps = root, key, fps
        self._height, self._width = size
        self._count = 0
        self._frames = 0
        self._path = root
        self._container: Any = None
        files.callback(self._close)

    def begin(self) -> tuple[int, int, int]:
        """Begin an episode; return the numbers of chunk, file, and first frame in it."""
        if self._container is None or self._path.stat().st_size >= VIDEO_MB << 20:
            self._close()
            chunk, file = divmod(self._count, FILES_PER_CHUNK)
            self._count, self._frames = self._count + 1, 0
            self._path = self._root / VIDEO_PATH.format(video_key=self._key, chunk_index=chunk, file_index=file)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(str(self._path), "w", format="mp4")
            self._stream = self._container.add_stream("libx264", rate=self._fps, options=QUALITY)
            self._stream.width, self._stream.height = self._width, self._height
            even = self._width % 2 == 0 and self._height % 2 == 0
            self._stream.pix_fmt = "yuv420p" if even else "yuv444p"
            self._stream.codec_context.time_base = Fraction(1, self._fps)
        return (*divmod(self._count - 1, FILES_PER_CHUNK), self._frames)

    def write(self, images: Array) -> None:
        """Add pictures (n, h, w, 3)."""
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
            self._container.mux(self._stream.encode(frame))
            self._frames += 1

    def _close(self) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None


class LeRobotSet:
    """A data set on disk, as a stranger may have made it."""

    names = LeRobotExporter.names

    def __init__(self, path: Path) -> None:
        """Open it. Raises DataError for another version and for anything that is not plainly numbers and pictures."""
        self._root = path
        info = read_json(inside(path, "meta", "info.json"))
        version = info.get("codebase_version")
        if version != VERSION:
            raise DataError(
                f"{path} is of version {version!r}, but {VERSION} is read; LeRobot converts older ones: "
                "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30."
            )
        if info.get("data_path") != DATA_PATH or info.get("video_path") not in (VIDEO_PATH, None):
            raise DataError(f"{path}/meta/info.json puts its files elsewhere than LeRobot does.")
        try:
            self._fps = float(info["fps"])
            self._features = {str(name): _Feature(name, feature) for name, feature in info["features"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}/meta/info.json has damaged entries: {error!r}.") from error
        if not 1 <= self._fps <= 1000:
            raise DataError(f"{path}/meta/info.json: {self._fps:g} frames per second are implausible.")
        self.period_s: float | None = 1 / self._fps
        self.rows = {name: (f.shape, f.dtype) for name, f in self._features.items() if name not in _INDICES}
        self._episodes = self._read_episodes()
        self.steps = sum(int(row["length"]) for row in self._episodes)
        tasks = self._episodes[0].get("tasks") or [""]
        self.task = str(tasks[0])

    def episodes(self) -> Iterator[ForeignEpisode]:
        """Yield the episodes."""
        for row in self._episodes:
            word = str(row.get(OUTCOME))
            outcome = Outcome(word) if word in set(Outcome) else Outcome.UNKNOWN
            yield ForeignEpisode(int(row["length"]), outcome, self._blocks(row))

    def _blocks(self, row: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
        length = int(row["length"])
        table = self._table(row)
        videos = {
            name: self._frames(name, feature, row, length) for name, feature in self._features.items() if feature.video
        }
        for start in range(0, length, BLOCK):
            count = min(BLOCK, length - start)
            block = {name: np.stack([next(frames) for _ in range(count)]) for name, frames in videos.items()}
            part = table.slice(start, count)
            for name in part.column_names:
                block[name] = self._features[name].values(part.column(name))
            yield block

    def _table(self, row: Mapping[str, Any]) -> pa.Table:
        """Return the numbers of an episode."""
        path = self._file(DATA_PATH, row["data/chunk_index"], row["data/file_index"])
        wanted = [name for name, f in self._features.items() if not f.video and name not in _INDICES]
        try:
            metadata = pq.read_metadata(path)
            groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
            if any(group.total_byte_size > MAX_BLOCK_BYTES for group in groups):
                raise DataError(f"{path} has row groups of more than {MAX_BLOCK_BYTES >> 20} MiB.")
            table = pq.read_table(
                path, columns=wanted, filters=[("episode_index", "=", int(row["episode_index"]))], partitioning=None
            )
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
        if table.num_rows != int(row["length"]) or set(table.column_names) != set(wanted):
            raise DataError(f"{path} does not hold episode {row['episode_index']} as meta/ describes it.")
        return table

    def _frames(self, name: str, feature: "_Feature", row: Mapping[str, Any], length: int) -> Iterator[Array]:
        """Yield an episode's pictures of a camera."""
        path = self._file(
            VIDEO_PATH, row.get(f"videos/{name}/chunk_index"), row.get(f"videos/{name}/file_index"), video_key=name
        )
        first_s = float(row[f"videos/{name}/from_timestamp"])
        done = 0
        try:
            with av.open(str(path.resolve()), format="mp4") as container:
                stream = container.streams.video[0]
                container.seek(int(max(first_s - 0.5 / self._fps, 0) * av.time_base))
                for frame in container.decode(stream):
                    late = frame.time - first_s - done / self._fps
                    if late < -0.5 / self._fps:
                        continue
                    if late > 0.5 / self._fps or (frame.height, frame.width) != feature.shape[:2]:
                        raise DataError(f"{path} has no picture {feature.shape} at {first_s + done / self._fps:g} s.")
                    yield frame.to_ndarray(format="rgb24")
                    done += 1
                    if done == length:
                        return
        except (av.FFmpegError, IndexError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}.") from error
        raise DataError(f"{path} ends before episode {row['episode_index']} does.")

    def _file(self, pattern: str, chunk: Any, file: Any, video_key: str = "") -> Path:
        try:
            relative = pattern.format(chunk_index=int(chunk), file_index=int(file), video_key=video_key)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self._root}/meta/episodes has damaged entries: {error}.") from error
        return inside(self._root, *relative.split("/"))

    def _read_episodes(self) -> list[dict[str, Any]]:
        """Return a row an episode, without its statistics."""
        rows: list[dict[str, Any]] = []
        folder = inside(self._root, "meta", "episodes")
        for found in sorted(folder.glob("chunk-*/file-*.parquet")):
            path = inside(self._root, *found.relative_to(self._root).parts)
            try:
                schema = pq.read_schema(path)
                if len(rows) + pq.read_metadata(path).num_rows > MAX_EPISODES:
                    raise DataError(f"{path}: more than {MAX_EPISODES} episodes.")
                columns = [name for name in schema.names if not name.startswith("stats/")]
                rows += pq.read_table(path, columns=columns, partitioning=None).to_pylist()
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DataError(f"{path} cannot be read: {error}.") from error
        needed = ("length", "episode_index", "data/chunk_index", "data/file_index")
        if not rows or not all(isinstance(row.get(name), int) for row in rows for name in needed):
            raise DataError(f"{folder} should have {', '.join(needed)} for each episode.")
        if any(not 0 < row["length"] <= MAX_STEPS for row in rows):
            raise DataError(f"{folder} has an episode of an impossible length.")
        return sorted(rows, key=lambda row: int(row["episode_index"]))


class _Feature:
    """A column as `meta/info.json` describes it. Raises DataError for one that is not plain numbers or pictures."""

    def __init__(self, name: str, described: Mapping[str, Any]) -> None:
        kind = str(described["dtype"])
        self.video = kind == "video"
        self.encoded = kind == "image"
        shape = tuple(int(length) for length in described["shape"])
        if self.video or self.encoded:
            names = list(described.get("names") or ())
            shape = (*shape[1:], shape[0]) if names[:1] in (["channel"], ["channels"]) else shape
            self.dtype: np.dtype[Any] = np.dtype(np.uint8)
        elif kind in _TYPES:
            self.dtype = np.dtype(kind)
        else:
            raise DataError(f"Feature {name!r} is of type {kind!r}; only numbers and pictures are read.")
        self.shape = shape
        check_column(f"Feature {name!r}", (1, *shape), self.dtype)
        if (self.video or self.encoded) and not is_picture(shape, self.dtype):
            raise DataError(f"Feature {name!r} has pictures of shape {list(shape)}, not height, width, 3.")

    def values(self, column: pa.ChunkedArray) -> Array:
        """Return a table's column as rows (n, *shape)."""
        if self.encoded:
            return np.stack([self._decoded(item) for item in column.to_pylist()])
        array = column.combine_chunks()
        while pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type):
            array = array.flatten()
        try:
            return np.asarray(array.to_numpy(zero_copy_only=False), self.dtype).reshape(len(column), *self.shape)
        except (ValueError, TypeError, pa.ArrowException) as error:
            raise DataError(f"A column does not have rows of shape {list(self.shape)}: {error}.") from error

    def _decoded(self, item: Any) -> Array:
        content = item.get("bytes") if isinstance(item, dict) else None
        if not isinstance(content, bytes):
            raise DataError("A picture is not in the table itself.")
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
                if (image.height, image.width) != self.shape[:2]:
                    raise DataError(f"A picture has {image.height} x {image.width} pixels, not {self.shape[:2]}.")
                return np.asarray(image.convert("RGB"))
        except OSError as error:
            raise DataError(f"A picture cannot be read: {error}.") from error


def _feature(name: str, rows: Array, names: Names) -> dict[str, Any]:
    """Describe a column in the terms of `meta/info.json`."""
    shape = list(rows.shape[1:])
    if is_picture(rows.shape[1:], rows.dtype):
        return {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
    words = list(STATE_NAMES) if name in (names.state, names.action) else None
    return {"dtype": str(rows.dtype), "shape": shape or [1], "names": words}


def _schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    fields = []
    for name, feature in features.items():
        if feature["dtype"] != "video":
            kind, size = _TYPES[feature["dtype"]], feature["shape"][0]
            fields.append(pa.field(name, kind if size == 1 else pa.list_(kind, size)))
    return pa.schema(fields)


def _arrow(values: Array, kind: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return flat.cast(kind)


def _tasks(task: str) -> pa.Table:
    """Return the table of tasks, whose index, as pandas calls it, is the task's text."""
    index = "__index_level_0__"
    described = {"index_columns": [index], "column_indexes": [], "columns": [], "pandas_version": "2.0.0"}
    for name, kind in (("task_index", "int64"), (index, "object")):
        unicode = "int64" if kind == "int64" else "unicode"
        described["columns"].append(  # type: ignore[attr-defined]
            {
                "name": None if name == index else name,
                "field_name": name,
                "pandas_type": unicode,
                "numpy_type": kind,
                "metadata": None,
            }
        )
    table = pa.table({"task_index": pa.array([0], pa.int64()), index: pa.array([task])})
    return table.replace_schema_metadata({"pandas": json.dumps(described)})
