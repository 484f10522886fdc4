"""The session's side: a process of its own that sends finished episodes and fetches new versions.

Nobody in the session waits for it. A store that is slow or does not answer is like an absent trainer: the acting policy
goes on, the operator is told, and what could not be sent is sent later, if need be by the next session.
"""

import os
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.files import read_json, write_json
from drift_robot.config import Config, config_to_dict
from drift_robot.errors import UserError
from drift_robot.leash import Leashed, serve
from drift_robot.remote.exchange import (
    FIGURES,
    FIGURES_BYTES,
    POLL_S,
    ROBOT_HEAD,
    TRAINER_HEAD,
    Exchange,
    clear_incoming,
    fetch_figures,
    offered_base,
    offered_episodes,
    open_session_head,
    pause_s,
    send_figures,
)
from drift_robot.remote.items import Head, read_head
from drift_robot.remote.store import Store, StoreError, open_files
from drift_robot.run_folder import RunFolder
from drift_robot.silence import Silence
from drift_robot.trainer import TrainerProcess, TrainerWord, read_word

GRACE_S = 10.0
ABSENT_S = 60.0
SILENT_S = 600.0
"""For how long nothing may come before the operator is told of the store, of the trainer, and before we are killed."""
NICENESS = 10
MESSAGE_LENGTH = 400
GOES_ON = "The session goes on with the acting policy."


class Courier:
    """Exchanges between a run folder and a store, a turn at a time."""

    def __init__(self, run: RunFolder, store: Store, configuration: dict[str, Any]) -> None:
        self._run = run
        self._store = store
        self._configuration = configuration
        self._exchange: Exchange | None = None
        self._trainer_beat: int | None = None
        self._trainer_there = False
        self._silence = Silence()
        self._figures = 0

    def turn(self) -> str:
        """Send what is new and fetch what is new. Returns what is wrong, or nothing.

        Raises StoreError, OSError; UserError if a later session has taken over.
        """
        if self._exchange is None:
            self._exchange = Exchange(self._run, self._store, ROBOT_HEAD, open_session_head(self._run, self._store))
            if self._store.read(FIGURES, FIGURES_BYTES) is None and self._run.trainer_figures.exists():
                send_figures(self._run, self._store)  # of a trainer that was here before
        exchange, theirs = self._exchange, read_head(self._store, TRAINER_HEAD)
        if theirs is not None and theirs.run != exchange.head.run:
            raise StoreError(f"A trainer of another run writes into the store {self._store.url}; end it.")
        if theirs is not None:
            self._take_word(exchange, theirs)
        self._send(exchange, theirs)
        return self._wrong(exchange, theirs)

    def _send(self, exchange: Exchange, theirs: Head | None) -> None:
        taken = theirs.items if theirs else {}
        offered = {**offered_base(self._run), **offered_episodes(self._run)}
        exchange.send(
            {name: folder for name, folder in offered.items() if name not in taken},
            barred=exchange.barred(),
            asked=_wish(self._run.train_now),
            configuration=self._configuration,
        )

    def _take_word(self, exchange: Exchange, theirs: Head) -> None:
        """Take versions and what the trainer says, in this order: whatever it speaks of is here already."""
        exchange.bar(version for version in theirs.barred if version > 0)  # what is left if all others fail
        versions = self._run.versions()
        missing = {name: item for name, item in theirs.items.items() if name.startswith("versions/")}
        exchange.fetch({name: item for name, item in missing.items() if not (self._run.path / name).exists()})
        if theirs.asked and theirs.asked == _wish(self._run.train_now):
            self._run.train_now.unlink()
        if theirs.beat != self._trainer_beat:
            self._trainer_there = self._trainer_beat is not None  # what an earlier one has left proves nothing
            self._trainer_beat = theirs.beat
        word = theirs.word
        if self._trainer_there and word is not None and word.version in versions.published():
            if theirs.figures != self._figures:  # the session's report draws them
                fetch_figures(self._run, self._store)
                self._figures = theirs.figures
            write_json(self._run.trainer_status, vars(replace(word, message=word.message[:MESSAGE_LENGTH])))

    def _wrong(self, exchange: Exchange, theirs: Head | None) -> str:
        if self._silence.after(theirs.beat if theirs else -1, time.monotonic_ns()) >= ABSENT_S:
            what = "has been silent" if self._trainer_there else "has not come"
            return (
                f"The trainer elsewhere {what} for more than {ABSENT_S:.0f} s; on its machine, run 'drift-robot train "
                f"--store {self._store.url} --out DIR'."
            )
        if exchange.faults:
            return next(iter(exchange.faults.values()))
        if theirs is not None and theirs.fault:
            return f"The trainer elsewhere says: {theirs.fault[:MESSAGE_LENGTH]}"
        return ""


def carry(run: RunFolder, url: str, configuration: dict[str, Any], stop: Callable[[], bool]) -> None:
    """Exchange in turns until told to stop; after that once more, so that the last episode is sent."""
    store = Store(url, lambda: run.store_status.touch())
    courier = Courier(run, store, configuration)
    clear_incoming(run)
    fault = _say(run, _told(run))
    failures, since_s = 0, time.monotonic()
    while True:
        last = stop()
        try:
            wrong = courier.turn()
            failures, since_s = 0, time.monotonic()
            fault = _say(run, wrong, fault)
        except (StoreError, OSError, DataError) as error:
            failures += 1
            if time.monotonic() - since_s >= GRACE_S:
                fault = _say(run, str(error), fault)
        if last:
            return
        pause_until_s = time.monotonic() + pause_s(failures)
        while time.monotonic() < pause_until_s and not stop():
            time.sleep(min(POLL_S, pause_s(failures)))
            run.store_status.touch()


def _say(run: RunFolder, sentence: str, before: str | None = None) -> str:
    """Let the session know what is wrong, if that is new."""
    if sentence != before:
        write_json(run.store_status, {"fault": sentence[:MESSAGE_LENGTH]})
    return sentence


def _told(run: RunFolder) -> str:
    """Return what is wrong by what was said last, also by a process before this one."""
    try:
        return str(read_json(run.store_status).get("fault", ""))
    except DataError:
        return ""


def _wish(path: Path) -> int:
    """Return the number of the wish to train now, 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _main(folder: Path, url: str, configuration: dict[str, Any], leash: "Connection[bytes, bytes]") -> None:
    os.nice(NICENESS)
    serve(leash, lambda stop: carry(RunFolder(folder), url, configuration, stop), _last_words)


def _last_words(error: Exception) -> str:
    if isinstance(error, UserError | DataError | OSError):
        return f"The exchange with the store gives up: {error}"
    traceback.print_exception(error)
    return f"The exchange with the store met an error that it does not know: {error!r:.300}"


class RemoteTrainer(Leashed):
    """The trainer elsewhere as the session sees it: the child process that exchanges with the store."""

    title = "The exchange with the store"
    stop_s = 30.0

    def __init__(self, config: Config, run: RunFolder) -> None:
        """Start the exchange. Raises UserError if the configured store is none, or a package is missing."""
        url = config.adapt.store or ""
        open_files(url)
        self._run, self._url = run, url
        self._answers = Silence()
        run.trainer_status.unlink(missing_ok=True)
        run.store_status.unlink(missing_ok=True)
        super().__init__("exchange", _main, (run.path, url, config_to_dict(config)), run.store_status)

    def silence_limit_s(self) -> float:
        """Return for how long it may show no sign of life: a large file on a slow line takes its time."""
        return SILENT_S

    def word(self) -> TrainerWord | None:
        """Return what the trainer elsewhere said last, None before its first word in this session."""
        return read_word(self._run.trainer_status)

    def absence(self) -> str:
        """Return why nothing is heard of the trainer, in one sentence, or nothing while all is well."""
        if self._answers.after(self._beat(), time.monotonic_ns()) >= ABSENT_S:
            return f"The store {self._url} has not answered for more than {ABSENT_S:.0f} s."
        return _told(self._run)


TrainerHandle = TrainerProcess | RemoteTrainer
"""The trainer as a session sees it, wherever it runs."""


def start_trainer(config: Config, run: RunFolder) -> TrainerHandle:
    """Start the trainer here, or the exchange with the one elsewhere. Raises UserError as `RemoteTrainer` does."""
    return TrainerProcess(config, run) if config.adapt.store is None else RemoteTrainer(config, run)
