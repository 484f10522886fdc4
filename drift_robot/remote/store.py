"""Where a session and a trainer on another machine meet: a shared folder, or an object store such as S3.

A thin layer over fsspec, which is imported here alone. It knows names and bytes, and makes one sentence of whatever
goes wrong in a store; what the bytes mean is in `remote.items`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data.files import write_file
from drift_robot.errors import UserError

REASON_LENGTH = 200


class StoreError(Exception):
    """The store does not answer, or what it holds is not as it should be; the text is one sentence."""


class DamagedError(StoreError):
    """What the store holds is not as it should be, although it answers."""


class Store:
    """The objects under one URL. Every call may take long, and raises StoreError if the store fails.

    `beat` is called whenever a part of an item has been read or written, as a sign that things go on.
    """

    def __init__(self, url: str, beat: Callable[[], None] = lambda: None) -> None:
        """Open a store; nothing is asked of it yet. Raises UserError as `open_files` does."""
        self.url = url
        self._files, self._root = open_files(url)
        self._folder = Path(self._root) if "file" in self._files.protocol else None
        self._beat = beat

    def read(self, name: str, limit: int) -> bytes | None:
        """Return an object's content, None if there is none. Raises StoreError if it is larger than `limit` bytes."""
        with self._asked():
            try:
                content: bytes = self._files.cat_file(self._path(name), start=0, end=limit + 1)
            except FileNotFoundError:
                return None
        if len(content) > limit:
            raise StoreError(f"{name} in {self.url} is larger than {limit} bytes, which nothing of ours needs.")
        return content

    def read_all(self, sizes: Mapping[str, int]) -> list[bytes]:
        """Return the contents of objects, of each no more than so many bytes; what is missing is a StoreError."""
        with self._asked():
            try:
                contents: list[bytes] = self._files.cat_ranges(
                    [self._path(name) for name in sizes], [0] * len(sizes), [*sizes.values()], on_error="raise"
                )
            except FileNotFoundError as error:
                raise DamagedError(f"{self.url} does not hold all that it announces: {error} is missing.") from error
        self._beat()
        return contents

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write objects, each of which appears whole."""
        with self._asked():
            if self._folder is None:
                self._files.pipe({self._path(name): content for name, content in contents.items()})
            else:
                for name, content in contents.items():
                    self._write_file(name, content)
        self._beat()

    def replace(self, name: str, content: bytes) -> None:
        """Write an object that others may be reading: they see the old or the new one."""
        with self._asked():
            if self._folder is None:
                self._files.pipe_file(self._path(name), content)
            else:
                self._write_file(name, content)

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects; one that is gone already is no error."""
        with self._asked():
            for name in names:
                try:
                    self._files.rm_file(self._path(name))
                except FileNotFoundError:
                    continue

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _write_file(self, name: str, content: bytes) -> None:
        """Let a file appear whole, as an object does, but never the store: no share may be mounted there."""
        if self._folder is None or not self._folder.is_dir():
            raise StoreError(f"The store {self.url} is no folder: make it, or mount what it is on.")
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content, path.with_name(f".{path.name}.tmp"))

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # every kind of store has errors of its own
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise StoreError(f"The store {self.url} does not answer ({reason:.{REASON_LENGTH}}).") from error


def url_fault(url: str) -> str | None:
    """Return why a text is not the URL of a store, whatever packages there are, in one sentence; or None."""
    if not url.strip() or "::" in url:
        return f"'{url}' is no store: give a folder or a URL such as s3://bucket/run."
    if urlsplit(url).username is not None:
        return f"{url.rpartition('@')[2]} is given with a key, which belongs into the environment; leave it out."
    return None


def open_files(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it. Raises UserError if it is none, or a package is missing."""
    if fault := url_fault(url):
        raise UserError(fault)
    try:
        from fsspec.core import url_to_fs

        files, root = url_to_fs(url)
    except ImportError as error:
        raise UserError(f"The store {url} needs a package: pip install 'drift-robot[remote]' ({error}).") from error
    except ValueError as error:
        raise UserError(f"'{url}' is no store ({error}); give a folder or a URL such as s3://bucket/run.") from error
    return files, root
