"""A session's episodes in a line each, thousands of them at once.

What a line says is kept in the session's folder, and read again only for an episode whose attributes were replaced
since, as finishing, relabelling and repairing do. Whether its columns are still sound, `verify` tells.
"""

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from data.arrays import METADATA
from data.episode import EPISODES, Episode, is_being_written
from data.errors import DataError
from data.files import read_bytes, write_file
from data.schema import Owner
from data.session import Session
from data.stats import takeovers
from data.verify import episode_folders

LISTING = ".listing.json"
BAR = 40
MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Line:
    """One episode. `bar` says who drove, the most active hand of each stretch as a digit.

    `stamp` is that of the file of attributes: time of change, size, number.
    """

    stamp: tuple[int, int, int]
    state: str
    steps: int = 0
    seconds: float = 0.0
    expert_steps: int = 0
    takeovers: int = 0
    versions: tuple[int, int] | None = None
    bar: str = ""
    damage: str = ""


_LINES = TypeAdapter(dict[str, Line])


def lines(session: Session) -> dict[str, Line]:
    """Return a line for each episode, also interrupted ones and those in the bin, by path below the session."""
    kept = _kept(session.folder)
    found = {}
    for path in (*episode_folders(session.folder), *session.binned_episodes()):
        name = f"{path.parent.name}/{path.name}"
        stamp = _stamp(path)
        line = kept.get(name)
        found[name] = line if line is not None and line.stamp == stamp else _line(path, stamp)
    lasting = {name: line for name, line in found.items() if not line.damage and Path(name).suffix == ".zarr"}
    if lasting != kept:
        _keep(session.folder, lasting)
    return found


def bar(owner: np.ndarray[tuple[int], np.dtype[np.uint8]], width: int = BAR) -> str:
    """Return at most `width` digits, the most active hand in each stretch."""
    width = min(width, len(owner))
    return "".join(str(part.max()) for part in np.array_split(owner, width)) if width else ""


def _line(path: Path, stamp: tuple[int, int, int]) -> Line:
    try:
        episode = Episode.open(path)
        owner, version = episode.column("owner"), episode.column("policy.version")
        seconds = episode.duration_s() if episode.steps else 0.0
    except DataError as error:
        return Line(stamp, "damaged", damage=str(error))
    state = episode.outcome.value
    if path.parent.name == EPISODES and not episode.finished:
        state = "being written" if is_being_written(path) else "interrupted"
    return Line(
        stamp=stamp,
        state=state,
        steps=episode.steps,
        seconds=seconds,
        expert_steps=int((owner == Owner.EXPERT).sum()),
        takeovers=takeovers(owner),
        versions=(int(version.min()), int(version.max())) if len(version) else None,
        bar=bar(owner),
    )


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = (path / METADATA).stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _kept(folder: Path) -> dict[str, Line]:
    try:
        return _LINES.validate_json(read_bytes(folder / LISTING, MAX_BYTES))
    except (DataError, ValidationError):
        return {}


def _keep(folder: Path, lasting: dict[str, Line]) -> None:
    """Keep lines for the next time; where that is not possible they are read again."""
    try:
        write_file(folder / LISTING, _LINES.dump_json(lasting), folder / f"{LISTING}.tmp")
    except OSError:
        return
