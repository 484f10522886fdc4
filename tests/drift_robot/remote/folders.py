"""What the tests of the exchange share: small runs made of arbitrary bytes, and a store whose line is cut."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from drift_robot.remote.store import Store
from drift_robot.run_folder import RunFolder

BASE = ("versions/000000", "training/000000", "demonstrations/episodes/000000.zarr")


def episode(index: int) -> str:
    """Return the name of an online episode."""
    return f"session/episodes/{index:06d}.zarr"


FILES = {"zarr.json": 60, "owner/c/0": 1000, "owner/zarr.json": 100, "picture/c/0/0": 2300, "empty": 0}
"""The files of an item with their sizes: one of them empty, and some of several pieces when pieces are small."""


def write_item(run: RunFolder, name: str, seed: int = 0) -> None:
    """Write an item of a few files of arbitrary bytes."""
    rng = np.random.default_rng([seed, *map(ord, name)])
    for file, size in FILES.items():
        path = run.path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.bytes(size))


def small_run(folder: Path, episodes: int = 2) -> RunFolder:
    """Return a run with what training begins with, and some online episodes."""
    run = RunFolder(folder)
    for name in (*BASE, *map(episode, range(episodes))):
        write_item(run, name)
    return run


def contents(run: RunFolder, name: str) -> dict[str, bytes]:
    """Return every file of an item."""
    folder = run.path / name
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visible(run: RunFolder) -> set[str]:
    """Return the items that a session or a trainer would find in a run folder."""
    found = (path for kind in ("*/episodes/*.zarr", "versions/*", "training/*") for path in run.path.glob(kind))
    return {path.relative_to(run.path).as_posix() for path in found if path.is_dir()}


class Cut(BaseException):
    """The process is killed at this moment."""


class CutStore(Store):
    """A store during whose n-th request the process is killed; of what it was writing, half is written."""

    def __init__(self, url: str, requests: int) -> None:
        super().__init__(url)
        self._left = requests

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Cut

    def read(self, name: str, limit: int) -> bytes | None:
        self._count()
        return super().read(name, limit)

    def read_all(self, sizes: Mapping[str, int]) -> list[bytes]:
        self._count()
        return super().read_all(sizes)

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        try:
            self._count()
        except Cut:
            half = dict(list(contents.items())[: len(contents) // 2 + 1])
            half[list(half)[-1]] = half[list(half)[-1]][:-1]
            super().write_all(half)
            raise
        super().write_all(contents)

    def replace(self, name: str, content: bytes) -> None:
        self._count()
        super().replace(name, content)
