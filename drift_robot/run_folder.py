"""Where a run keeps its things: one folder with demonstrations, versions and sessions.

<run>/configuration.json      what the run was started with
<run>/demonstrations/         a data session: offline demonstrations
<run>/bootstrap/              the state of an unfinished bootstrap
<run>/bootstrap.jsonl         its figures, a line an epoch
<run>/versions/               published policies, which may act; 000000 is the bootstrapped one
<run>/training/               the newest of them with what training needs to go on
<run>/session/                a data session: online episodes
<run>/evaluation/             a data session for each version that was evaluated in real time
<run>/rollouts/               a data session for each version that was evaluated in lock-step
<run>/comparisons/            a data session for each two versions that were compared
<run>/trainer.json            the trainer's last word; trainer.jsonl its figures, a line a round
<run>/remote.json             the run's name among those in stores, if its trainer is elsewhere
<run>/store.json              the last word of the process that exchanges with the store
<run>/incoming/               what is being fetched from there
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data.files import lock_folder, read_json, write_json
from data.session import Session
from drift_robot import __version__
from drift_robot.config import Config, config_from_dict, config_to_dict
from drift_robot.errors import UserError
from drift_robot.versions import Versions


@dataclass(frozen=True)
class RunFolder:
    """The places in a run's folder."""

    path: Path

    @property
    def demonstrations(self) -> Path:
        """The session of offline demonstrations."""
        return self.path / "demonstrations"

    @property
    def bootstrap(self) -> Path:
        """The state of an unfinished bootstrap."""
        return self.path / "bootstrap"

    @property
    def training(self) -> Path:
        """The newest versions with what training needs to go on."""
        return self.path / "training"

    @property
    def session(self) -> Path:
        """The session of online episodes."""
        return self.path / "session"

    def evaluation(self, version: int) -> Path:
        """Return the session of a version's rollouts that were recorded in real time."""
        return self.path / "evaluation" / f"{version:06d}"

    def rollouts(self, version: int) -> Path:
        """Return the session of a version's rollouts that were recorded in lock-step."""
        return self.path / "rollouts" / f"{version:06d}"

    @property
    def comparisons(self) -> Path:
        """The sessions of comparisons, a folder for each two versions."""
        return self.path / "comparisons"

    @property
    def bootstrap_figures(self) -> Path:
        """The bootstrap's figures, one line of JSON an epoch."""
        return self.path / "bootstrap.jsonl"

    @property
    def train_now(self) -> Path:
        """A file that asks the trainer to offer what it has at the end of its present round; it takes it away."""
        return self.path / "train_now"

    @property
    def trainer_status(self) -> Path:
        """The trainer's last word."""
        return self.path / "trainer.json"

    @property
    def trainer_figures(self) -> Path:
        """The trainer's figures, one line of JSON a round."""
        return self.path / "trainer.jsonl"

    @property
    def remote(self) -> Path:
        """The run's name among those in stores."""
        return self.path / "remote.json"

    @property
    def store_status(self) -> Path:
        """The last word of the process that exchanges with the store."""
        return self.path / "store.json"

    @property
    def incoming(self) -> Path:
        """What is being fetched from a store."""
        return self.path / "incoming"

    def versions(self) -> Versions:
        """Return the published versions."""
        return Versions(self.path / "versions")


@contextmanager
def occupied(run: RunFolder) -> Iterator[None]:
    """Keep a run to oneself: two sessions, or two trainers, would spoil each other's work.

    Raises UserError if another process has it.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_folder(run.path)
    except BlockingIOError as error:
        raise UserError(
            f"Another drift-robot works in {run.path}; end that one first, or choose another --out folder."
        ) from error
    try:
        yield
    finally:
        os.close(lock)


def open_session(folder: Path, config: Config) -> Session:
    """Open a data session, or begin it. Raises UserError if it was recorded for another task or at another pace."""
    if not (folder / "session.json").exists():
        return Session.create(folder, config.cell.task, config.operator, config_to_dict(config), __version__)
    session = Session.open(folder)
    if session.info.task not in ("", config.cell.task):  # an imported one need not tell
        raise UserError(
            f"{folder} holds episodes of task '{session.info.task}', but the configuration says '{config.cell.task}'; "
            "choose another --out folder."
        )
    period_s = session.info.configuration.get("policy_period_s", config.policy_period_s)
    if not math.isclose(period_s, config.policy_period_s, rel_tol=1e-3):
        raise UserError(
            f"{folder} holds episodes with a step every {period_s:g} s, but the configuration says "
            f"'policy_period_s: {config.policy_period_s:g}'; set that, or choose another --out folder."
        )
    return session


def claim(run: RunFolder, config: Config) -> None:
    """Take a folder for a run, or go on in it if it was begun with the same configuration. Raises UserError else.

    Options that there were not when it was begun have to be as if they were not set.
    """
    path, content = run.path / "configuration.json", config_to_dict(config)
    if path.exists():
        if config_to_dict(config_from_dict(read_json(path), str(path))) != content:
            raise UserError(f"{run.path} was begun with another configuration or seed; choose another --out folder.")
    elif run.path.exists() and any(run.path.iterdir()):
        raise UserError(f"{run.path} is not empty and holds no run; choose another --out folder.")
    else:
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
