"""Files that are replaced whole, so that a reader, or what a killed writer leaves, is always the old or the new one."""

import errno
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.errors import DataError, MissingDataError

MAX_JSON_BYTES = 16 << 20


def write_file(path: Path, content: bytes, scratch: Path) -> None:
    """Replace a file whole; `scratch` is a name on the same file system for the time of writing.

    A disk that is full keeps no part of it.
    """
    try:
        scratch.write_bytes(content)
        os.replace(scratch, path)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
        raise


def write_json(path: Path, document: Mapping[str, Any], scratch: Path | None = None) -> None:
    """Replace a JSON file whole. Raises DataError if the document is not plain JSON."""
    write_file(path, to_json(document, path), scratch or path.with_name(f".{path.name}.{os.getpid()}"))


def to_json(document: Mapping[str, Any], path: Path) -> bytes:
    """Return the text of a JSON file. Raises DataError, which names the file, if the document is not plain JSON."""
    try:
        return json.dumps(document, indent=1, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be written as JSON: {error}.") from error


def lock_folder(folder: Path) -> int:
    """Take the lock of a folder: a handle to close, which ends with the process, however it ends.

    Raises BlockingIOError if another process has it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    return handle


def read_bytes(path: Path, limit: int) -> bytes:
    """Return what is in a file that lies where it is named.

    Raises MissingDataError if it is missing, DataError if it is a link or no file, or larger than the limit, in bytes.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingDataError(f"{path} is missing.") from error
    except OSError as error:
        reason = "it is a link, which may lead anywhere" if error.errno == errno.ELOOP else error.strerror
        raise DataError(f"{path} cannot be read: {reason}.") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a file.")
        if status.st_size > limit:
            raise DataError(f"{path} is larger than {limit} bytes, which nothing of ours needs.")
        with open(handle, "rb", closefd=False) as file:
            return file.read(limit)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    finally:
        os.close(handle)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises DataError as `read_bytes` does, and for anything else."""
    try:
        document = json.loads(read_bytes(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} does not hold a JSON object.")
    return document
