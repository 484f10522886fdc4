"""Making recorded episodes smaller without losing anything: the same chunks, compressed with more patience.

Recording compresses in haste. Afterwards the same numbers fit into fewer bytes; still pictures above all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.arrays import compact_column
from data.episode import Episode, rewriting, scratch_of
from data.errors import DataError
from data.session import Session, is_episode, sessions_below

Progress = Callable[[int, int, str], None]
"""Called with how many episodes are done, of how many, and a few words."""


@dataclass(frozen=True)
class Compaction:
    """How many episodes were gone through, their bytes before and after, and a sentence for each that was left."""

    episodes: int
    bytes_before: int
    bytes_after: int
    left: tuple[str, ...]


def compact(path: Path, progress: Progress) -> Compaction:
    """Compress the whole episodes of a session or of a run's, or one, again; an episode that is damaged stays as it is.

    May be interrupted at any moment and run again. Raises DataError if there is neither session nor episode.
    """
    if is_episode(path):
        episodes = [Episode.open(path).path]
    else:
        episodes = [episode for session in sessions_below([path]) for episode in Session.open(session).episodes()]
    before = after = 0
    left = []
    for number, folder in enumerate(episodes):
        progress(number, len(episodes), folder.name)
        before += _size(folder)
        try:
            _compact(Episode.open(folder))
        except DataError as error:
            left.append(str(error))
        except OSError as error:
            raise DataError(f"{folder} cannot be written: {error.strerror}.") from error
        after += _size(folder)
    progress(len(episodes), len(episodes), "")
    return Compaction(len(episodes), before, after, tuple(left))


def _compact(episode: Episode) -> None:
    if not episode.finished:
        raise DataError(f"{episode.path} is not whole; repair it first.")
    with rewriting(episode.path):
        for column in episode.columns:
            compact_column(episode.path / column.name, column, scratch_of(episode.path))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
