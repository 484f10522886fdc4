"""The trainer's side: `drift-robot train` mirrors a run from a store, trains in it, and puts versions into the store.

The trainer is the one of every session, in the same kind of folder; it does not know that the folder is a mirror. A
machine that is lost takes nothing with it: versions and what training needs to go on lie in the store.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from data.errors import DataError
from drift_robot.config import Config, config_from_dict
from drift_robot.errors import UserError
from drift_robot.remote.exchange import (
    ROBOT_HEAD,
    TRAINER_HEAD,
    Exchange,
    Noted,
    clear_incoming,
    fetch_figures,
    note_store,
    noted_store,
    offered_base,
    offered_episodes,
    pause_s,
    send_figures,
)
from drift_robot.remote.items import Head, read_head, remove_item
from drift_robot.remote.store import Store, StoreError
from drift_robot.run_folder import RunFolder, occupied, open_session
from drift_robot.trainer import TrainerProcess, TrainerWord, online_phase

BEAT_S = 10.0
FIGURES_S = 10.0
"""How often the session is told at least that the trainer is there, and at most, while it trains, its figures."""
MAX_RESTARTS = 3
Say = Callable[[str], None]


class Mirror:
    """The trainer's run folder and the store, kept alike in turns."""

    def __init__(self, run: RunFolder, url: str) -> None:
        """Open the store. Raises UserError if it is none."""
        self.configuration: dict[str, Any] = {}
        self._run = run
        self._store = Store(url, self.beat)
        self._exchange: Exchange | None = None
        self._written_s = self._figures_s = 0.0
        self._wish = 0

    def prepare(self) -> Config | None:
        """Fetch all that training begins with; return the session's configuration once everything is here.

        Raises StoreError, OSError; UserError if this folder is not for this run.
        """
        theirs = read_head(self._store, ROBOT_HEAD)
        if theirs is None:
            return None
        self._claim(theirs.run)
        mine = read_head(self._store, TRAINER_HEAD) or Head(theirs.run)
        if mine.run != theirs.run:
            raise StoreError(f"The store {self._store.url} holds another run's trainer; give this one its own.")
        if self._exchange is None:
            self._exchange = Exchange(self._run, self._store, TRAINER_HEAD, replace(mine, word=None))
        self._show_presence(self._exchange)
        items = {**theirs.items, **self._exchange.head.items}
        self._drop(theirs)
        self._exchange.bar(theirs.barred)
        changed = {name: item for name, item in items.items() if _changed_ns(self._run, name) != item.changed_ns}
        self._exchange.fetch(changed)
        for name, fault in self._exchange.faults.items():
            if not name.startswith("session/"):
                raise StoreError(fault)
        if not theirs.complete:
            return None
        if not self._run.trainer_figures.exists():
            fetch_figures(self._run, self._store)  # to go on with those of the trainers before this one
        self.configuration = theirs.configuration or {}
        return config_from_dict(self.configuration, f"{ROBOT_HEAD} in {self._store.url}")

    def turn(self, word: TrainerWord | None) -> None:
        """Fetch new episodes and wishes; send new versions and, after them, the word that speaks of them.

        Raises StoreError, OSError; UserError if another trainer has taken over.
        """
        if noted_store(self._run) is None:
            raise UserError(f"{self._run.path} has been removed under the trainer; start it again with an empty --out.")
        exchange, theirs = self._exchange, read_head(self._store, ROBOT_HEAD)
        if exchange is None or theirs is None or theirs.run != exchange.head.run:
            raise StoreError(f"The store {self._store.url} holds this run no more.")
        self.configuration = theirs.configuration or {}
        exchange.bar(theirs.barred)
        self._drop(theirs)
        exchange.fetch(
            {
                name: item
                for name, item in theirs.items.items()
                if name.startswith("session/") and not (self._run.path / name).exists()
            }
        )
        self._send(exchange, theirs, word)

    def _send(self, exchange: Exchange, theirs: Head, word: TrainerWord | None) -> None:
        exchange.hold()
        before = dict(exchange.head.items)
        offered = {
            name: folder
            for name, folder in offered_base(self._run).items()
            if name not in theirs.items and not name.startswith("demonstrations/")
        }
        exchange.send(offered)
        for name in before.keys() - exchange.head.items.keys() - theirs.items.keys():
            if name.startswith("training/") and any(other > name for other in offered if other.startswith("training/")):
                with suppress(StoreError):
                    remove_item(self._store, name, before[name])
        figures = self._figures(word) if word is not None else exchange.head.figures
        changes: dict[str, Any] = {
            "barred": exchange.barred(),
            "asked": self._fulfilled(theirs.asked),
            "word": word or exchange.head.word,
            "figures": figures,
            "fault": next(iter(exchange.faults.values()), ""),
        }
        if replace(exchange.head, **changes) != exchange.head:
            exchange.put(**changes, beat=exchange.head.beat + 1)
            self._written_s = time.monotonic()
        self.beat()

    def beat(self) -> None:
        """Show the session that the trainer is there, also while something large is on its way."""
        if self._exchange is not None and time.monotonic() - self._written_s >= BEAT_S:
            self._show_presence(self._exchange)

    def _show_presence(self, exchange: Exchange) -> None:
        self._written_s = time.monotonic()
        exchange.put(beat=exchange.head.beat + 1)

    def _figures(self, word: TrainerWord) -> int:
        """Send the trainer's figures now and then; return up to which round they are there."""
        assert self._exchange is not None
        recent = word.state != "waiting" and time.monotonic() - self._figures_s < FIGURES_S
        if word.rounds == self._exchange.head.figures or recent:
            return self._exchange.head.figures
        with suppress(DataError):
            send_figures(self._run, self._store)
        self._figures_s = time.monotonic()
        return word.rounds

    def _fulfilled(self, wish: int) -> int:
        """Hand a new wish to train now to the trainer, who takes its file away; return the last fulfilled one."""
        assert self._exchange is not None
        done = self._exchange.head.asked
        if not wish or wish == done:
            return done
        if wish != self._wish:
            self._wish = wish
            self._run.train_now.touch()
        return done if self._run.train_now.exists() else wish

    def _drop(self, theirs: Head) -> None:
        """Remove what the session has dropped; it keeps that itself."""
        for name, folder in offered_episodes(self._run).items():
            if theirs.complete and name not in theirs.items:
                self._run.incoming.mkdir(exist_ok=True)
                gone = folder.rename(self._run.incoming / f"{folder.name}.dropped")
                shutil.rmtree(gone)

    def _claim(self, name: str) -> None:
        """Take the folder for a mirror of this run, as everything that the session has dropped is removed in it."""
        known = noted_store(self._run)
        if known is not None and not known.mirror:
            raise UserError(f"{self._run.path} is a session's own run; choose another --out folder for its mirror.")
        if known is None and any(self._run.path.iterdir()):
            raise UserError(f"{self._run.path} is not empty and no mirror of a run; choose another --out folder.")
        if known is not None and known.run != name:
            raise UserError(
                f"{self._run.path} mirrors another run than that in {self._store.url}; choose another folder."
            )
        if known is None:
            note_store(self._run, Noted(name, self._store.url, mirror=True))


class Voice:
    """Says every sentence once, until another one is said."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last = ""

    def tell(self, sentence: str) -> None:
        """Say a sentence if it is new."""
        if sentence and sentence != self._last:
            self._last = sentence
            self._say(sentence)


def train(url: str, run: RunFolder, threads: int | None, say: Say) -> None:
    """Be the trainer of a session on another machine, until interrupted.

    Raises UserError for a store or a folder that cannot be, for another trainer in either, for a method that does not
    learn online, or if the trainer dies too often.
    """
    voice = Voice(say)
    with occupied(run):
        clear_incoming(run)
        mirror = Mirror(run, url)
        config = _prepared(mirror, voice)
        episodes, versions = len(offered_episodes(run)), len(run.versions().published())
        say(f"The trainer starts, with {episodes} online episodes and {versions} versions.")
        while True:
            asked_for = mirror.configuration
            trainer = _started(config, run, threads)
            try:
                _exchange_while_it_trains(mirror, trainer, voice)
            finally:
                trainer.stop()
                with suppress(StoreError, OSError):
                    mirror.turn(trainer.word())
            if mirror.configuration != asked_for:
                config = config_from_dict(mirror.configuration, url)
                say("The session's configuration has changed; the trainer starts again.")


def _prepared(mirror: "Mirror", voice: Voice) -> Config:
    """Wait until all that training begins with is here."""
    failures = 0
    while True:
        try:
            if (config := mirror.prepare()) is not None:
                return config
            failures = 0
            voice.tell("Waiting for a session that meets its trainer in this store.")
        except (StoreError, OSError) as error:
            failures += 1
            voice.tell(str(error))
        time.sleep(pause_s(failures))


def _started(config: Config, run: RunFolder, threads: int | None) -> TrainerProcess:
    online_phase(config)
    for session in (run.demonstrations, run.session):
        open_session(session, config)
    adapt = replace(config.adapt, threads=threads or config.adapt.threads)
    return TrainerProcess(replace(config, adapt=adapt, compute="auto"), run)  # the robot's GPU is not ours


def _exchange_while_it_trains(mirror: Mirror, trainer: TrainerProcess, voice: Voice) -> None:
    """Exchange in turns until the session wants to be learned from otherwise. Raises UserError."""
    begun_with, failures = mirror.configuration, 0
    while mirror.configuration == begun_with:
        word = trainer.word()
        try:
            mirror.turn(word)
            failures = 0
        except (StoreError, OSError) as error:
            failures += 1
            voice.tell(str(error))
        if word is not None:
            voice.tell(word.message)
        if trainer.killed_for_silence() or not trainer.alive():
            voice.tell(trainer.last_words())
            if trainer.restarts >= MAX_RESTARTS:
                raise UserError("The trainer has died too often; mend the cause and start it again.")
            voice.tell("The trainer has died; it is started again.")
            trainer.start()
        time.sleep(pause_s(failures))


def _changed_ns(run: RunFolder, name: str) -> int | None:
    """Return when an item's folder had changed where it comes from; `Exchange.fetch` has left that in its time."""
    try:
        return (run.path / name).stat().st_mtime_ns
    except FileNotFoundError:
        return None
