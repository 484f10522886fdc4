"""What happened in a session besides its episodes: `events.jsonl` in its folder, one JSON object a line.

Every line has `time_ns` (monotonic, for durations), `utc` (for people) and `kind`; docs/data.md lists the kinds.
A kill can cut off the last line, which then does not count.
"""

import json
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

EVENTS_FILE = "events.jsonl"
CLOSE_S = 2.0


class EventLog:
    """The one writer of a session's events. `note` never waits for the disk: a thread of its own does."""

    def __init__(self, session: Path) -> None:
        """Go on with the log in a session's folder."""
        self._path = session / EVENTS_FILE
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="events", daemon=True)
        self._thread.start()

    def note(self, kind: str, **fields: Any) -> None:
        """Add an event of now. Raises TypeError or ValueError if a field is not plain JSON."""
        utc = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._lines.put(
            json.dumps({"time_ns": time.monotonic_ns(), "utc": utc, "kind": kind, **fields}, allow_nan=False)
        )

    def close(self) -> None:
        """Bring what was noted to disk; a disk that hangs is not waited for."""
        self._lines.put(None)
        self._thread.join(CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        """Write line after line; a disk that fails loses events, but never the session."""
        with suppress(OSError):
            _end_last_line(self._path)
        while (line := self._lines.get()) is not None:
            with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")


def _end_last_line(path: Path) -> None:
    """End a line that a kill has cut off, so that the next one stands by itself."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")


def read_events(session: Path) -> list[dict[str, Any]]:
    """Return a session's events, oldest first; lines that are no events are left out."""
    return list(read_lines(session / EVENTS_FILE, "kind"))


def read_lines(path: Path, key: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects with a key in a file of lines; nothing if there is no file."""
    with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError):
                document = json.loads(line)
                if isinstance(document, dict) and key in document:
                    yield document
