"""A session written in another format, episode by episode and block by block; it appears when it is whole."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from data.episode import Episode
from data.errors import DataError
from data.exchange.table import Names, blocks, first_row
from data.schema import Array
from data.session import Session

Progress = Callable[[int, int, str], None]
"""Called with how many steps are done, of how many, and a few words."""


@dataclass(frozen=True)
class Source:
    """What is exported: the episodes with steps in them, how many steps all together, and the time between two."""

    task: str
    episodes: list[Episode]
    steps: int
    period_s: float


class FormatWriter(Protocol):
    """Writes one data set."""

    def add(self, episode: Episode, rows: Iterator[dict[str, Array]]) -> None:
        """Write an episode, given its steps block by block."""


class Exporter(Protocol):
    """A format that can be written."""

    names: Names

    def writer(self, path: Path, source: Source, row: dict[str, Array]) -> AbstractContextManager[FormatWriter]:
        """Begin a data set at a path; `row` is a step of it (1, *shape) by column. Whole when the context ends."""


def export(session: Path, exporter: Exporter, out: Path, progress: Progress) -> Source:
    """Write the whole episodes of a session in another format. Raises DataError, and leaves nothing half done."""
    if out.exists():
        raise DataError(f"{out} exists already; choose another place for the export.")
    source = _source(Session.open(session))
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.partial")
    _remove(staging)
    done = 0

    def counted(episode: Episode) -> Iterator[dict[str, Array]]:
        nonlocal done
        for block in blocks(episode, exporter.names):
            yield block
            done += len(block[exporter.names.action])
            progress(done, source.steps, f"episode {episode.index}")

    try:
        with exporter.writer(staging, source, first_row(source.episodes[0], exporter.names)) as writer:
            for episode in source.episodes:
                writer.add(episode, counted(episode))
        staging.rename(out)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        _remove(staging)
    return source


def _source(session: Session) -> Source:
    episodes = [episode for episode in map(Episode.open, session.episodes()) if episode.steps]
    if not episodes:
        raise DataError(f"{session.folder} holds no whole episode to export.")
    for episode in episodes:
        if episode.layout != episodes[0].layout:
            raise DataError(
                f"{episode.path} has other cameras or objects than {episodes[0].path}, and a data set has one layout; "
                "move it to another session, or discard it."
            )
    period_s = float(session.info.configuration.get("policy_period_s", 0.1))
    return Source(session.info.task, episodes, sum(episode.steps for episode in episodes), period_s)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
