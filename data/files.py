"""Files that are replaced whole, so that a reader, or what a killed writer leaves, is always the old or the new one."""

import json
import os
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


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises DataError if there is none, or one too large to be ours."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path} is larger than {MAX_JSON_BYTES} bytes, which nothing of ours needs.")
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingDataError(f"{path} is missing.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} does not hold a JSON object.")
    return document
