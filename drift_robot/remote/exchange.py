"""One side of the exchange through a store: what it offers is in its own head, what it takes is in the other side's.

Both sides, the session's `Courier` and the trainer's `Mirror`, send and fetch in turns; a turn that fails is repeated,
and what was done of it is not done again.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.errors import DataError, MissingDataError
from data.files import read_bytes, read_json, write_file, write_json
from data.session import finished_episodes
from drift_robot.errors import UserError
from drift_robot.remote.items import Head, Item, fetch_item, place, read_head, send_item, write_head
from drift_robot.remote.store import DamagedError, Store, StoreError
from drift_robot.run_folder import RunFolder
from policies.checkpoint import load_manifest
from policies.errors import PolicyError

ROBOT_HEAD, TRAINER_HEAD, FIGURES = "robot.json", "trainer.json", "trainer.jsonl"
FIGURES_BYTES = 16 * 2**20
POLL_S = 1.0
LONGEST_PAUSE_S = 30.0
DAMAGED_PAUSE_S = 20.0
"""Between two turns: while all is well, at most while the store fails, and before a damaged item is tried again."""


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failed turns one after the other."""
    return float(min(POLL_S * 2**failures, LONGEST_PAUSE_S))


class Exchange:
    """Sends items of a run folder, and fetches others into it. `head` is this side's, as the store has it.

    Of two that write the same head the later one goes on: its first `put` makes the head its own.
    """

    def __init__(self, run: RunFolder, store: Store, mine: str, head: Head) -> None:
        self.head = head
        self.faults: dict[str, str] = {}
        self._run = run
        self._store = store
        self._mine = mine
        self._writer = secrets.token_hex(8)
        self._not_before_s: dict[str, float] = {}

    def put(self, **changes: Any) -> None:
        """Change this side's head in the store, if there is anything to change. Raises UserError as `hold` does."""
        head = replace(self.head, writer=self._writer, **changes)
        if head != self.head:
            self.hold()
            write_head(self._store, self._mine, head)
            self.head = head

    def hold(self) -> None:
        """Look whether this side's head is still ours, if it ever was. Raises UserError if another writes it now."""
        if self.head.writer != self._writer:
            return
        present = read_head(self._store, self._mine)
        if present is not None and present.writer != self._writer:
            side = "session" if self._mine == ROBOT_HEAD else "trainer"
            raise UserError(f"Another {side} has begun to work with the store {self._store.url}; this one ends.")

    def send(self, folders: Mapping[str, Path], **changes: Any) -> None:
        """Offer these folders as items, and nothing else, once what is new of them was sent; `changes` as in `put`."""
        items = {name: item for name, item in self.head.items.items() if name in folders}
        self.put(items=items, complete=folders.keys() <= items.keys(), **changes)
        for name, folder in folders.items():
            try:
                if name in items and items[name].changed_ns == folder.stat().st_mtime_ns:
                    continue
                items = items | {name: send_item(self._store, name, folder)}
            except FileNotFoundError:  # dropped by the operator, or pruned, in this moment
                continue
            self.put(items=items, complete=folders.keys() <= items.keys(), **changes)

    def fetch(self, items: Mapping[str, Item]) -> None:
        """Bring items into the run folder, each of which appears whole; a damaged one keeps none of the others back.

        A version that has learned on from a quarantined one is quarantined before it appears.
        """
        self.faults = {name: fault for name, fault in self.faults.items() if name in items}
        for name, item in items.items():
            if time.monotonic() < self._not_before_s.get(name, 0.0):
                continue
            staged = self._run.incoming / name.replace("/", "-")
            staged.mkdir(parents=True, exist_ok=True)
            try:
                fetch_item(self._store, name, item, staged)
            except DamagedError as error:
                self.faults[name] = str(error)
                self._not_before_s[name] = time.monotonic() + DAMAGED_PAUSE_S
                continue
            os.utime(staged, ns=(item.changed_ns, item.changed_ns))  # so that a later change is seen
            if name.startswith("versions/"):
                self._bar_descendant(staged)
            place(staged, self._run.path / name)
            self.faults.pop(name, None)

    def _bar_descendant(self, staged: Path) -> None:
        with suppress(PolicyError):  # what cannot be read cannot act
            manifest, versions = load_manifest(staged), self._run.versions()
            if manifest.parent is not None and versions.is_quarantined(manifest.parent):
                versions.quarantine(manifest.version)

    def bar(self, versions: Iterable[int]) -> None:
        """Quarantine versions as the other side has."""
        for version in versions:
            if not self._run.versions().is_quarantined(version):
                self._run.versions().quarantine(version)

    def barred(self) -> tuple[int, ...]:
        """Return the versions that are quarantined in this run folder."""
        versions = self._run.versions()
        return tuple(version for version in versions.published() if versions.is_quarantined(version))


def offered_episodes(run: RunFolder) -> dict[str, Path]:
    """Return the whole online episodes as items, oldest first."""
    return _named(run, finished_episodes(run.session))


def offered_base(run: RunFolder) -> dict[str, Path]:
    """Return what training begins with: versions, training states and demonstrations."""
    versions = run.versions()
    states = run.training.iterdir() if run.training.exists() else ()
    return _named(
        run,
        [
            *map(versions.path, versions.published()),
            *sorted(path for path in states if path.name.isdecimal()),
            *finished_episodes(run.demonstrations),
        ],
    )


def send_figures(run: RunFolder, store: Store) -> None:
    """Put the training figures of a run folder into the store. Raises StoreError; DataError if there are none."""
    store.replace(FIGURES, read_bytes(run.trainer_figures, FIGURES_BYTES))


def fetch_figures(run: RunFolder, store: Store) -> None:
    """Bring the store's training figures, if there are any, into a run folder. Raises StoreError, OSError."""
    if (content := store.read(FIGURES, FIGURES_BYTES)) is not None:
        path = run.trainer_figures
        write_file(path, content, path.with_name(f".{path.name}.tmp"))


@dataclass(frozen=True)
class Noted:
    """What a run folder knows of stores: the run's name among all runs, and in which store it was last.

    In a `mirror` everything comes from there, so that what the session has dropped is removed in it.
    """

    run: str
    store: str = ""
    mirror: bool = False


def noted_store(run: RunFolder) -> Noted | None:
    """Return what a run folder knows of stores, None if it was never in one. Raises DataError if that is damaged."""
    try:
        return Noted(**read_json(run.remote))
    except MissingDataError:
        return None
    except TypeError as error:
        raise DataError(f"{run.remote} is damaged; remove it.") from error


def note_store(run: RunFolder, noted: Noted) -> None:
    """Note in which store a run is."""
    write_json(run.remote, asdict(noted))


def open_session_head(run: RunFolder, store: Store) -> Head:
    """Return the session's head as the store has it, or a new one. Raises StoreError if the store is not this run's."""
    noted = noted_store(run)
    if noted is None:
        noted = Noted(secrets.token_hex(16))
        note_store(run, noted)
    head, theirs = read_head(store, ROBOT_HEAD), read_head(store, TRAINER_HEAD)
    if any(other is not None and other.run != noted.run for other in (head, theirs)):
        raise StoreError(f"The store {store.url} holds another run; give this one a store of its own.")
    if noted.store == store.url and head is None and theirs is None:
        raise StoreError(
            f"The store {store.url} is empty, but held this run before: is it mounted? If it was emptied on purpose, "
            f"remove {run.remote}, and all is sent again."
        )
    if head is None:
        head = Head(noted.run)
        write_head(store, ROBOT_HEAD, head)
    note_store(run, Noted(noted.run, store.url))
    return head


def clear_incoming(run: RunFolder) -> None:
    """Remove what was being fetched and will not be."""
    shutil.rmtree(run.incoming, ignore_errors=True)


def _named(run: RunFolder, folders: Iterable[Path]) -> dict[str, Path]:
    return {folder.relative_to(run.path).as_posix(): folder for folder in folders}
