"""The first pictures of an earlier episode, to be laid over the live ones while the scene is rebuilt by hand.

Folders and pictures are read in a thread of the window's process, so that neither the window nor anything else waits
for the disk. What is laid over what, and how, is the window's business.
"""

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.episode import EPISODES, Episode
from data.errors import DataError
from data.session import finished_episodes


class Mode(Enum):
    """How old and live pictures share their place."""

    OFF = "off"
    BLEND = "blended"
    FLICKER = "flickering"


NEXT_MODE = {Mode.OFF: Mode.BLEND, Mode.BLEND: Mode.FLICKER, Mode.FLICKER: Mode.OFF}


@dataclass(frozen=True)
class FirstPictures:
    """What an episode began with: `images` (h, w, 3) uint8 by camera; `problem` tells in a sentence why there are none.

    `title` names the episode for people, and `path` is where it is, None where there is none.
    """

    path: Path | None = None
    title: str = ""
    images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    problem: str = ""
    mode: Mode = Mode.OFF


NOTHING = FirstPictures()


def first_pictures(path: Path, session: Path) -> FirstPictures:
    """Read those of an episode, which may be of another session. Raises DataError if it is damaged."""
    episode = Episode.open(path)
    title = f"episode {episode.index}"
    if path.parent.parent != session:
        title += f" of {'/'.join(path.parts[-4:-2])}"
    if not episode.layout.cameras or not episode.steps:
        return FirstPictures(path, title, problem=f"{title.capitalize()} holds no pictures.")
    images = {name: episode.column(f"observation.images.{name}", 0, 1)[0] for name in episode.layout.cameras}
    return FirstPictures(path, title, images)


def neighbour(episodes: Sequence[Path], present: Path | None, step: int) -> Path | None:
    """Return the episode so many steps on from the present one, the first or last beyond the ends.

    Without a present one it is the last, or None if there are no episodes.
    """
    if not episodes:
        return None
    if present not in episodes:
        return episodes[-1]
    return episodes[min(max(episodes.index(present) + step, 0), len(episodes) - 1)]


class Overlay:
    """Which episode is laid over the live pictures, of this session or the one given, and its pictures once read."""

    def __init__(self, session: Path, given: Path | None) -> None:
        self._session = session.resolve()
        self._given = None if given is None else given.resolve()
        self._mode = Mode.OFF
        self._shown = FirstPictures(self._given)
        self._wishes: queue.SimpleQueue[int | Path] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def switch(self) -> None:
        """Go from off to blended to flickering to off."""
        self._mode = NEXT_MODE[self._mode]
        if self._mode is Mode.BLEND:
            self._wishes.put(0)

    def rebuild(self, number: int | None) -> None:
        """Lay the session's episode of a number over the live pictures, or nothing."""
        self._mode = Mode.OFF if number is None else Mode.BLEND
        if number is not None:
            self._wishes.put(self._session / EPISODES / f"{number:06d}.zarr")

    def step(self, episodes: int) -> None:
        """Choose the next (1) or the previous (-1) episode."""
        self._wishes.put(episodes)

    def shown(self) -> FirstPictures:
        """Return the chosen pictures, as far as they are read, and how to show them; never waits."""
        return replace(self._shown, mode=self._mode)

    def _read(self) -> None:
        while True:
            wish = self._wishes.get()
            try:
                episodes = finished_episodes(self._session)
                if self._given is not None and self._given not in episodes:
                    episodes = [self._given, *episodes]
                chosen = wish if isinstance(wish, Path) else neighbour(episodes, self._shown.path, wish)
                if chosen is None:
                    self._shown = FirstPictures(problem="There is no earlier episode yet.")
                elif chosen != self._shown.path or not self._shown.images:
                    self._shown = first_pictures(chosen, self._session)
            except (DataError, OSError) as error:
                self._shown = FirstPictures(self._shown.path, problem=str(error))
