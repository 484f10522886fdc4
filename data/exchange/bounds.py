"""What is believed of a stranger's data set: files that lie inside it, of plain numbers, of bearable size."""

from pathlib import Path

import numpy as np

from data.errors import DataError

MAX_STEPS = 100_000_000
MAX_EPISODES = 1_000_000
MAX_ROW_BYTES = 64 << 20
MAX_BLOCK_BYTES = 1 << 30
"""A compressed part of a file that has to be in memory at once: a zarr or HDF5 chunk, a Parquet row group."""

FREE_BYTES = 1 << 30
MAX_RATIO = 10_000
"""A set of more than this may not claim to be more than so many times larger than its files: it would fill a disk."""

_KINDS = "fiub"


def inside(root: Path, *parts: str) -> Path:
    """Return a file or folder of a data set. Raises DataError if it is not there or is, or passes, a link."""
    path = root
    for part in parts:
        if part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part:
            raise DataError(f"{root}: {part!r} is no name that a file of a data set may have.")
        path = path / part
        if path.is_symlink():
            raise DataError(f"{path} is a link, which may lead anywhere; copy the data set without links.")
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} is missing.")
    return path


def check_column(where: str, shape: tuple[int, ...], dtype: np.dtype[np.generic], text: bool = False) -> None:
    """Raise DataError unless an array (n, *row) holds plain numbers (or short text) and its rows are bearable."""
    if dtype.kind not in (_KINDS + "US" if text else _KINDS):
        raise DataError(f"{where} holds {dtype}, but only plain numbers are read: objects of others may run code.")
    if not shape or min(shape) < 0 or shape[0] > MAX_STEPS:
        raise DataError(f"{where} has the impossible shape {list(shape)}.")
    if bytes_of(shape[1:], dtype) > MAX_ROW_BYTES:
        raise DataError(f"{where} has rows of shape {list(shape[1:])}, more than {MAX_ROW_BYTES >> 20} MiB each.")


def check_chunk(where: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    """Raise DataError unless a chunk of an array can be held in memory."""
    if not shape or min(shape) < 1 or bytes_of(shape, dtype) > MAX_BLOCK_BYTES:
        raise DataError(f"{where} has chunks of shape {list(shape)}; at most {MAX_BLOCK_BYTES >> 20} MiB are read.")


def check_claim(where: str, claimed: int, stored: int) -> None:
    """Raise DataError if a set claims to hold far more than its files can, as one made to fill a disk does."""
    if claimed > FREE_BYTES + MAX_RATIO * stored:
        raise DataError(f"{where} claims to hold {claimed >> 20} MiB, but its files have {stored >> 10} KiB.")


def bytes_of(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    """Return the size of an array; exact for sizes that no machine has."""
    size = int(dtype.itemsize)
    for length in shape:
        size *= int(length)
    return size
