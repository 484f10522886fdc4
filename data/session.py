"""A session's folder: `session.json`, `episodes/` and `bin/`.

Episodes leave `episodes/` only for the bin and come back from it; nothing is ever deleted here, and the number of an
episode in the bin is not used again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from data.arrays import write_group
from data.episode import BIN, EPISODES, PARTIAL, WHOLE, Episode, EpisodeWriter, is_being_written, rewriting, scratch_of
from data.errors import DataError
from data.files import read_json, to_json, write_file
from data.schema import EpisodeLayout, Outcome

SESSION_FILE = "session.json"
FORMAT = "drift-robot session"
_WHOLE_NAME = re.compile(r"\d{6}\.zarr")
_PARTIAL_NAME = re.compile(r"\d{6}\.zarr\.partial")
_ANY_NUMBER = re.compile(r"\.?(\d{6})\.")
_DEPTHS = ("*", "*/*")
"""Where sessions lie below a folder that is none: a run's, or one that holds runs."""


def is_session(path: Path) -> bool:
    """Tell a session's folder from any other."""
    return (path / EPISODES).is_dir() or (path / SESSION_FILE).exists()


def is_episode(path: Path) -> bool:
    """Tell an episode's folder, whole or partial, from any other by its name."""
    return any(name.fullmatch(path.name) for name in (_WHOLE_NAME, _PARTIAL_NAME))


def sessions_below(paths: Sequence[Path]) -> list[Path]:
    """Return the sessions that paths name, or that lie below them as in a run's folder. Raises DataError if none do."""
    found: list[Path] = []
    for path in paths:
        below = sorted(file.parent for depth in _DEPTHS for file in path.glob(f"{depth}/{SESSION_FILE}"))
        sessions = [path] if is_session(path) else below
        if not sessions:
            raise DataError(f"{path} holds no session; name a session's folder or a run's.")
        found += sessions
    return list(dict.fromkeys(found))


def finished_episodes(session: Path) -> list[Path]:
    """Return the whole episodes in a session's folder, by number: one listing of one folder, cheap enough to poll."""
    return _matching(session / EPISODES, _WHOLE_NAME)


def to_bin(episode: Path) -> Path:
    """Move an episode to its session's bin; return its place there. Raises DataError if its name is taken there."""
    destination = episode.parent.parent / BIN / episode.name
    destination.parent.mkdir(exist_ok=True)
    if destination.exists():
        raise DataError(f"{destination} exists already; move it away first.")
    return episode.rename(destination)


@dataclass(frozen=True)
class SessionInfo:
    """What is the same for all episodes of a session."""

    task: str
    operator: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    software_version: str = ""
    started_utc: str = ""


class Session:
    """A folder of episodes that belong together."""

    def __init__(self, folder: Path, info: SessionInfo) -> None:
        """Use `create` or `open`."""
        self.folder = folder
        self.info = info

    @classmethod
    def create(
        cls,
        folder: Path,
        task: str,
        operator: str = "",
        configuration: Mapping[str, Any] | None = None,
        software_version: str = "",
    ) -> Self:
        """Begin a session. Raises DataError if the folder holds one already or the configuration is not plain JSON."""
        if (folder / SESSION_FILE).exists():
            raise DataError(f"{folder} holds a session already; open it, or choose another folder.")
        started = datetime.now(UTC).isoformat(timespec="seconds")
        info = SessionInfo(task, operator, dict(configuration or {}), software_version, started)
        path = folder / SESSION_FILE
        content = to_json({"format": FORMAT, "format_version": 1, **vars(info)}, path)
        (folder / EPISODES).mkdir(parents=True, exist_ok=True)
        (folder / BIN).mkdir(exist_ok=True)
        write_file(path, content, path.with_name(f".{path.name}.tmp"))
        return cls(folder, info)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a session. Raises DataError if the folder holds none."""
        document = read_json(folder / SESSION_FILE)
        version = document.pop("format_version", None)
        if document.pop("format", None) != FORMAT or version != 1:
            raise DataError(f"{folder / SESSION_FILE} is not {FORMAT!r} version 1.")
        try:
            return cls(folder, SessionInfo(**document))
        except TypeError as error:
            raise DataError(f"{folder / SESSION_FILE} has damaged entries: {error}.") from error

    def episodes(self) -> list[Path]:
        """Return the whole episodes, by number."""
        return finished_episodes(self.folder)

    def partial_episodes(self) -> list[Path]:
        """Return the episodes that are being written or were interrupted, by number."""
        return _matching(self.folder / EPISODES, _PARTIAL_NAME)

    def binned_episodes(self) -> list[Path]:
        """Return the episodes in the bin, by number."""
        return sorted(path for path in _entries(self.folder / BIN) if _ANY_NUMBER.match(path.name))

    def next_index(self) -> int:
        """Return the first number after all that were ever used."""
        entries = [*_entries(self.folder / EPISODES), *_entries(self.folder / BIN)]
        numbers = [int(match[1]) for path in entries if (match := _ANY_NUMBER.match(path.name))]
        return max(numbers, default=-1) + 1

    def write_episode(self, layout: EpisodeLayout, attributes: Mapping[str, Any] | None = None) -> EpisodeWriter:
        """Begin the next episode."""
        return EpisodeWriter.create(self.folder, self.next_index(), layout, attributes)

    def drop_last(self) -> Path:
        """Move the last whole episode to the bin; return its place there. Raises DataError if there is none."""
        episodes = self.episodes()
        if not episodes:
            raise DataError(f"Session {self.folder} has no finished episode to drop.")
        return to_bin(episodes[-1])

    def discard(self, index: int) -> Path:
        """Move an episode, whole or interrupted, to the bin; return its place there."""
        for suffix in (WHOLE, PARTIAL):
            path = self.folder / EPISODES / f"{index:06d}{suffix}"
            if path.exists():
                if is_being_written(path):
                    raise DataError(f"{path} is being written; discard it with the operator's own button.")
                return to_bin(path)
        raise DataError(f"Session {self.folder} has no episode {index}.")

    def restore(self, index: int) -> Path:
        """Move an episode from the bin back; one that was discarded while it was recorded gets an unknown outcome."""
        for suffix in (WHOLE, PARTIAL):
            path = self.folder / BIN / f"{index:06d}{suffix}"
            if path.exists():
                if taken := list((self.folder / EPISODES).glob(f"{index:06d}.*")):
                    raise DataError(f"{taken[0]} exists; discard it before restoring the other.")
                attributes = Episode.open(path).attributes
                if attributes["outcome"] == Outcome.DISCARDED.value:
                    with rewriting(path):
                        write_group(path, attributes | {"outcome": Outcome.UNKNOWN.value}, scratch_of(path))
                return path.rename(self.folder / EPISODES / path.name)
        raise DataError(f"The bin of session {self.folder} has no episode {index}.")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _matching(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    return sorted(path for path in _entries(folder) if pattern.fullmatch(path.name))
