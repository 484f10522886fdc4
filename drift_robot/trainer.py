"""The background trainer: its own process, which learns from finished episodes and publishes checked versions.

It shares two folders with the robot and nothing else, reads episodes, writes versions, and says what it does in one
small file. It may be killed at any time: what it had published stays, and a new one goes on from there.
"""

import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from data.buffer import Batch
from data.episode import Episode
from data.errors import DataError
from data.files import read_json, write_json
from data.session import finished_episodes
from data.windows import Source
from drift_robot.bootstrap import load_demonstrations
from drift_robot.candidate import candidate_fault, mean_loss
from drift_robot.compute import chosen_device
from drift_robot.config import AdaptConfig, Config
from drift_robot.errors import UserError
from drift_robot.figures import TrainingFigures
from drift_robot.leash import Leashed, serve
from drift_robot.run_folder import RunFolder
from drift_robot.training import DivergedError, calibrated_alarm, train_batch
from policies.checkpoint import Manifest, load_policy, load_training, save
from policies.errors import PolicyError, UnusableHereError
from policies.methods import METHODS, Phase
from policies.schedules import online_rank
from policies.training import TrainingState

POLL_S = 0.02
BEAT_S = 1.0
SILENT_S = 120.0
START_S = 600.0
"""For how long a trainer may show no sign of life: between two pieces of its work, and until its first word."""
NO_MEMORY = "can't allocate memory"  # torch on the CPU has no exception of its own for it
CANNED_WINDOWS = 16
DEMAND_WINDOWS = 64
"""Of the newest interventions, on which the loss decides whether the rank rises."""
KEPT_STATES = 3  # beside the bootstrapped one
LOSSES_SHOWN = 100

State = Literal["starting", "waiting", "training", "checking"]
Offer = Literal["published", "refused"]


@dataclass(frozen=True)
class TrainerWord:
    """The trainer's last word. `episodes` counts those learned from, `version` is the last published one.

    `labels_since` and `episodes_since` count what has come since that was offered; `checking_seconds` is how long the
    last check of a candidate took.
    """

    pid: int
    state: State = "starting"
    episodes: int = 0
    rounds: int = 0
    version: int = 0
    labels: int = 0
    updates: int = 0
    progress: float = 0.0
    batch_seconds: float = 0.0
    training_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    rejected: int = 0
    message: str = ""
    labels_since: int = 0
    episodes_since: int = 0
    checking_seconds: float = 0.0


@dataclass(frozen=True)
class Forecast:
    """When the next version may come: in `seconds`, or, where that is None, after so many more labels and episodes."""

    seconds: float | None = None
    labels: int = 0
    episodes: int = 0


def forecast(word: TrainerWord, settings: AdaptConfig, asked: bool) -> Forecast:
    """Return when the next candidate can have been trained and checked; `asked`: the operator wants one now."""
    labels = max(settings.candidate_labels - word.labels_since, 0)
    episodes = max(settings.candidate_episodes - word.episodes_since, 0)
    if (labels or episodes) and not asked:
        return Forecast(None, labels, episodes)
    if word.state == "checking":
        return Forecast(word.checking_seconds)
    if word.state != "training" or not word.rounds:
        return Forecast()
    round_s = word.training_seconds / word.rounds
    return Forecast((1.0 - word.progress) * round_s + word.checking_seconds)


def read_word(path: Path) -> TrainerWord | None:
    """Return the trainer's last word, or None before its first."""
    try:
        return TrainerWord(**read_json(path))
    except (DataError, TypeError):
        return None


def online_phase(config: Config) -> Phase:
    """Return how the configured method trains online. Raises UserError if it does not."""
    phase = METHODS[config.method].online
    if phase is None:
        raise UserError(
            f"The method {config.method} learns from demonstrations alone; set 'method' in the configuration to one "
            "that learns online, such as D(RR)."
        )
    return phase


class Trainer:
    """Learns from the episodes of a run, one round at a time."""

    def __init__(self, config: Config, run: RunFolder) -> None:
        self._config = config
        self._run = run
        self._device = chosen_device(config.compute)
        self._phase = online_phase(config)
        self._versions = run.versions()
        self._buffer = load_demonstrations(config, run.demonstrations)
        demonstrations = self._buffer.select(Source.DEMONSTRATION)
        spread = np.linspace(0, len(demonstrations) - 1, CANNED_WINDOWS).astype(int)
        self._canned = self._buffer.gather(demonstrations[spread])
        self._word = TrainerWord(os.getpid())
        self._figures = TrainingFigures(run.trainer_figures, "adapt", config.logging)
        self._learned: list[Path] = []
        self._beaten_s = 0.0
        self._tidy()
        self._restore()

    def run(self, stop: Callable[[], bool]) -> None:
        """Learn until told to stop."""

        def over() -> bool:
            self._beat()
            return stop()

        while not over():
            if self._versions.is_quarantined(self._word.version):
                self._restore()
            finished = finished_episodes(self._run.session)
            for gone in set(self._learned) - set(finished):
                self._buffer.forget(gone)
            fresh = [path for path in finished if path not in self._learned]
            if self._config.adapt.pace == "episode":
                fresh = fresh[:1]
            for path in fresh:
                self._ingest(path)
            idle = self._config.adapt.pace == "episode" or not self._word.labels
            if not fresh and idle and not self._run.train_now.exists():
                self._say(state="waiting", episodes=len(self._learned))
                time.sleep(POLL_S)
                continue
            self._round(over)

    def _tidy(self) -> None:
        """Remove what a killed trainer left half done: a state whose version was never published, scratch folders."""
        published = {self._versions.path(version).name for version in self._versions.published()}
        for folder in (self._versions.folder, self._run.training):
            for entry in folder.iterdir():
                half_done = entry.name.startswith(".") or (entry.name.isdecimal() and entry.name not in published)
                if entry.is_dir() and half_done:
                    shutil.rmtree(entry)

    def _restore(self) -> None:
        """Go on from the newest good version whose training state was kept; the bootstrapped one's always is."""
        kept = [v for v in self._versions.good() if (self._run.training / f"{v:06d}").exists()]
        state, manifest = load_training(self._run.training / f"{kept[-1]:06d}", self._device)
        self._state: TrainingState = state
        self._manifest = manifest
        figures = manifest.figures.get("online", {})
        finished = finished_episodes(self._run.session)
        learned = figures.get("learned", [path.name for path in finished[: int(figures.get("episodes", 0))]])
        for path in finished:
            if path.name in learned and path not in self._learned:
                self._ingest(path)
        self._say(
            version=manifest.version,
            labels_since=0,
            episodes_since=0,
            rounds=int(figures.get("rounds", 0)),
            updates=int(figures.get("updates", 0)),
            training_seconds=float(figures.get("training_seconds", 0.0)),
            batch_seconds=float(figures.get("batch_seconds", 0.0)),
        )

    def _ingest(self, path: Path) -> None:
        self._learned.append(path)
        try:
            brought = self._buffer.add(Episode.open(path))
        except DataError as error:
            self._say(message=str(error))
            return
        self._say(
            labels=self._word.labels + brought.expert_steps,
            labels_since=self._word.labels_since + brought.expert_steps,
            episodes_since=self._word.episodes_since + 1,
        )

    def _round(self, stop: Callable[[], bool]) -> None:
        """Train a round of batches as the method says; offer what came out if there are enough new labels."""
        settings = self._config.adapt
        began = time.perf_counter()
        self._state.enter(self._phase, self._rank())
        rng = np.random.default_rng([self._config.seed, 1, self._word.rounds])
        generator = torch.Generator().manual_seed(self._config.seed * 100_003 + 50_000 + self._word.rounds)
        shares = {
            Source.INTERVENTION: settings.intervention_share,
            Source.AUTONOMOUS: settings.autonomous_share,
            Source.DEMONSTRATION: 1.0 - settings.intervention_share - settings.autonomous_share,
        }
        losses, seconds = [], []
        for index in range(settings.batches_per_round):
            if stop():
                return
            batch = self._buffer.sample(settings.batch_size, rng, shares)
            try:
                update = train_batch(self._state, batch, settings.learning_rate, generator)
            except DivergedError as error:
                self._restore()
                self._say(message=f"{error} Training went back to version {self._word.version}.")
                return
            losses.append(update.loss)
            seconds.append(update.seconds)
            if index % 10 == 0:
                self._say(state="training", progress=index / settings.batches_per_round)
        updates = self._word.updates + len(losses)
        self._say(
            rounds=self._word.rounds + 1,
            updates=updates,
            training_seconds=self._word.training_seconds + time.perf_counter() - began,
            batch_seconds=(self._word.batch_seconds * self._word.updates + sum(seconds)) / updates,
            losses=[*self._word.losses, float(np.mean(losses))][-LOSSES_SHOWN:],
        )
        missing = forecast(self._word, settings, asked=False)
        enough = not missing.labels and not missing.episodes
        asked = self._run.train_now.exists()
        self._run.train_now.unlink(missing_ok=True)
        last = settings.pace == "episode" and len(self._learned) == settings.episodes  # else it is trained for nothing
        offer = self._offer() if enough or asked or last else None
        figures = {
            "utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **asdict(replace(self._word, losses=self._word.losses[-1:])),
            "round_batch_seconds": sum(seconds) / len(seconds),
            "rank": self._state.rank,
            "offer": offer,
        }
        told = self._figures.fault
        self._figures.note(self._word.rounds, figures | {"loss": self._word.losses[-1]})
        if self._figures.fault not in (None, told):
            self._say(message=self._figures.fault)
        self._say(state="waiting", episodes=len(self._learned))

    def _rank(self) -> int:
        """Return the rank of the coming round: r_min, or more while the newest interventions demand it."""
        config, state = self._config.rank, self._state
        if config.rises_at is None or self._phase.form == "dense":
            return config.r_min
        present = state.rank if state.phase.form == self._phase.form else config.r_min
        newest = self._buffer.select(Source.INTERVENTION)[-DEMAND_WINDOWS:]
        if not len(newest):
            return config.r_min
        on_newest, on_old = (mean_loss(state.policy, batch) for batch in (self._buffer.gather(newest), self._canned))
        return online_rank(present, config.r_min, config.r_max, on_newest > config.rises_at * on_old)

    def _offer(self) -> Offer:
        """Save a candidate, check it as it was saved, and publish it, or keep it from acting."""
        began = time.perf_counter()
        self._say(state="checking")
        number = self._versions.next()
        staged = self._versions.folder / ".candidate"
        shutil.rmtree(staged, ignore_errors=True)
        manifest = Manifest(
            version=number,
            parent=self._word.version,
            method=self._config.method,
            rank=self._state.rank,
            epoch=self._manifest.epoch,
            epochs=self._manifest.epochs,
            config=self._state.policy.config,
            data={**self._manifest.data, "episodes": len(self._learned), "labels": self._word.labels},
            figures={
                **self._manifest.figures,
                "online": {
                    "episodes": len(self._learned),
                    "learned": [path.name for path in self._learned],
                    "rounds": self._word.rounds,
                    "updates": self._word.updates,
                    "training_seconds": self._word.training_seconds,
                    "batch_seconds": self._word.batch_seconds,
                    "loss": self._word.losses[-1],
                },
            },
        )
        weights = self._state.acting_weights()
        try:
            acting, _ = load_policy(self._versions.path(self._word.version), self._device)
        except UnusableHereError:
            raise
        except PolicyError as error:
            self._versions.quarantine(self._word.version)
            self._say(message=f"Version {self._word.version} is barred: {error}")
            return "refused"
        try:
            config = self._config
            alarm = calibrated_alarm(
                weights,
                manifest.config,
                self._buffer,
                config.alarm,
                config.inference_steps,
                self._device,
                self._beat,
            )
            manifest = replace(manifest, alarm=alarm)
            save(staged, manifest, weights)
            candidate, _ = load_policy(staged, self._device)
        except UnusableHereError:
            raise
        except PolicyError as error:
            fault: str | None = str(error)
        else:
            fault = candidate_fault(candidate, acting, self._canned, self._held_out(), self._config.limits)
        if self._versions.is_quarantined(self._word.version):
            fault = f"Version {self._word.version} was rolled back, so what has learned on from it does not act."
        if fault is not None:
            self._say(rejected=self._word.rejected + 1, message=fault, checking_seconds=time.perf_counter() - began)
            return "refused"
        save(self._run.training / f"{number:06d}", manifest, weights, self._state)
        staged.rename(self._versions.path(number))
        self._say(
            version=number,
            message=f"Version {number} is published.",
            labels_since=0,
            episodes_since=0,
            checking_seconds=time.perf_counter() - began,
        )
        for old in sorted(self._run.training.glob("[0-9]*"))[1:-KEPT_STATES]:
            shutil.rmtree(old)
        return "published"

    def _held_out(self) -> Iterator[Batch]:
        """Yield the interventions that are kept for checking, a batch an episode."""
        for windows in self._buffer.held_out_episodes():
            self._beat()
            yield self._buffer.gather(windows)

    def _beat(self) -> None:
        """Show that a piece of work is done: a batch, an episode, a look for one. The time of the word's file tells."""
        if time.monotonic() - self._beaten_s >= BEAT_S:
            self._beaten_s = time.monotonic()
            os.utime(self._run.trainer_status)

    def _say(self, **changes: Any) -> None:
        word = replace(self._word, **changes)
        if word != self._word or not self._run.trainer_status.exists():
            self._word = word
            write_json(self._run.trainer_status, asdict(word))


def _main(config: Config, folder: Path, threads: int, leash: "Connection[bytes, bytes]") -> None:
    torch.set_num_threads(threads)
    serve(leash, lambda stop: Trainer(config, RunFolder(folder)).run(stop), _last_words)


def _last_words(error: Exception) -> str:
    """Return why a trainer ends, in one sentence."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or NO_MEMORY in str(error):
        return "The trainer has run out of memory."
    if isinstance(error, UserError | DataError | PolicyError | OSError):
        return f"The trainer gives up: {error}"
    traceback.print_exception(error)
    return f"The trainer met an error that it does not know: {error!r:.300}"


class TrainerProcess(Leashed):
    """The trainer as a child process: started, watched and stopped by the session, which never waits for its work."""

    title = "The trainer"

    def __init__(self, config: Config, run: RunFolder) -> None:
        self._run = run
        super().__init__("trainer", _main, (config, run.path, config.adapt.threads), run.trainer_status)

    def silence_limit_s(self) -> float:
        """Return for how long it may show no sign of life now: longer until its first word."""
        return START_S if self.word() is None else SILENT_S

    def word(self) -> TrainerWord | None:
        """Return what it said last, None before this process's first word."""
        word = read_word(self._run.trainer_status)
        return word if word is not None and word.pid == self._process.pid else None

    def absence(self) -> str:
        """Return why it cannot be heard of although its process lives: a child of ours always can."""
        return ""
