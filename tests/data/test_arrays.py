import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data.arrays import GrowingArray, read_chunk, read_column, read_rows
from data.errors import DataError, MissingDataError
from data.files import write_file
from data.schema import Column

COLUMN = Column("c", (2,), "float32", "m", "a test", chunk=4)


def write(folder: Path, column: Column, blocks: list[np.ndarray], flush_each: bool = False) -> Path:
    array = GrowingArray(folder, column, folder.with_name("scratch"))
    for block in blocks:
        array.check(block)
        array.extend(block)
        if flush_each:
            array.flush()
    array.flush()
    return folder


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(["float32", "int64", "uint8", "bool"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
    chunk=st.integers(1, 7),
    counts=st.lists(st.integers(0, 9), max_size=6),
    flush_each=st.booleans(),
    data=st.data(),
)
def test_whatever_is_appended_reads_back_here_and_with_plain_zarr(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    shape: tuple[int, ...],
    chunk: int,
    counts: list[int],
    flush_each: bool,
    data: st.DataObject,
) -> None:
    column = Column("c", shape, dtype, "m", "a test", chunk)
    blocks = [data.draw(hnp.arrays(dtype, (count, *shape))) for count in counts]
    expected = np.concatenate([np.zeros((0, *shape), dtype), *blocks])
    folder = write(tmp_path_factory.mktemp("a") / "c", column, blocks, flush_each)

    stored, rows = read_column(folder, column)
    assert (stored, rows) == (column, len(expected))
    np.testing.assert_array_equal(read_rows(folder, stored, 0, rows), expected)
    start = data.draw(st.integers(0, rows))
    stop = data.draw(st.integers(start, rows))
    np.testing.assert_array_equal(read_rows(folder, stored, start, stop), expected[start:stop])

    other = zarr.open_array(folder, mode="r")
    assert other.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(other[...], expected)
    assert dict(other.attrs) == {"unit": "m", "meaning": "a test"}


def test_the_metadata_equals_what_zarr_itself_writes(tmp_path: Path) -> None:
    ours = write(tmp_path / "ours", COLUMN, [np.ones((3, 2), np.float32)])
    theirs = zarr.create_array(
        tmp_path / "theirs",
        shape=(3, 2),
        chunks=(4, 2),
        dtype="float32",
        fill_value=np.nan,
        compressors=zarr.codecs.ZstdCodec(level=1, checksum=True),
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes={"unit": "m", "meaning": "a test"},
    )
    theirs[:] = 1.0
    assert json.loads((ours / "zarr.json").read_text()) == json.loads((tmp_path / "theirs/zarr.json").read_text())
    assert (ours / "c.0.0").exists()
    assert (tmp_path / "theirs/c.0.0").exists()


def test_a_file_half_written_leaves_the_old_one_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="no space left"):
        write_file(path, b"new content", tmp_path / "scratch")
    assert path.read_bytes() == b"old"


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Column c holds float32 \[2\], but was given float64 \[3\]"):
        write(tmp_path / "c", COLUMN, [np.zeros((1, 3))])


def test_fractions_are_refused_where_whole_numbers_are_stored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="uint8"):
        write(tmp_path / "c", dataclasses.replace(COLUMN, dtype="uint8"), [np.zeros((1, 2))])


def test_every_flipped_bit_of_a_chunk_is_noticed(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    folder = write(tmp_path / "c", COLUMN, [rows])
    content = (folder / "c.0.0").read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / "c.0.0").write_bytes(damaged)
        try:
            read = read_chunk(folder, COLUMN, 0)
        except DataError:
            continue
        np.testing.assert_array_equal(read, rows)


@pytest.mark.parametrize("length", [0, 1, 10, -1])
def test_a_chunk_cut_short_is_corrupt(tmp_path: Path, length: int) -> None:
    folder = write(tmp_path / "c", COLUMN, [np.ones((4, 2), np.float32)])
    content = (folder / "c.0.0").read_bytes()
    (folder / "c.0.0").write_bytes(content[:length])
    with pytest.raises(DataError, match=r"c\.0\.0 is corrupt"):
        read_chunk(folder, COLUMN, 0)


def test_a_chunk_of_another_size_is_corrupt(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", dataclasses.replace(COLUMN, chunk=8), [np.ones((8, 2), np.float32)])
    with pytest.raises(DataError, match="corrupt"):
        read_chunk(folder, COLUMN, 0)


def test_a_missing_chunk_is_named_and_not_read_as_fill_values(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", COLUMN, [np.ones((6, 2), np.float32)])
    (folder / "c.1.0").unlink()
    with pytest.raises(MissingDataError, match=r"c\.1\.0 is missing"):
        read_rows(folder, COLUMN, 0, 6)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data_type", "float64"),
        ("shape", [3, 5]),
        ("shape", []),
        ("shape", "many"),
        ("shape", [-1, 2]),
        ("codecs", []),
        ("chunk_grid", {}),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0, 2]}}),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [10**12, 2]}}),
    ],
)
def test_foreign_metadata_is_refused(tmp_path: Path, key: str, value: object) -> None:
    folder = write(tmp_path / "c", COLUMN, [np.ones((3, 2), np.float32)])
    document = json.loads((folder / "zarr.json").read_text())
    (folder / "zarr.json").write_text(json.dumps(document | {key: value}))
    with pytest.raises(DataError, match="does not describe"):
        read_column(folder, COLUMN)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", '{"shape": 1}'])
def test_metadata_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path / "c", COLUMN, [])
    (folder / "zarr.json").write_text(content)
    with pytest.raises(DataError, match=r"zarr\.json"):
        read_column(folder, COLUMN)


def test_another_chunk_length_and_wording_stay_readable(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    folder = write(tmp_path / "c", COLUMN, [rows])
    later = dataclasses.replace(COLUMN, chunk=256, meaning="the same in other words")
    stored, length = read_column(folder, later)
    np.testing.assert_array_equal(read_rows(folder, stored, 0, length), rows)
