"""The online phase of DRIFT-DAgger: the learner drives, the expert corrects, the trainer learns, versions are swapped.

In lock-step the trainer is awaited one episode behind, and a swap takes the newest version that has learned from no
more than those episodes: so a session follows from its seed although two processes run side by side.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from data.events import EventLog
from drift_robot.actor import Actor, Successor
from drift_robot.alarm import no_alarm
from drift_robot.calibrate.enforcement import calibration_record
from drift_robot.collect import Progress, noted, store_episode
from drift_robot.compute import chosen_device
from drift_robot.config import Config
from drift_robot.errors import UserError
from drift_robot.fitting import fitting_manifest
from drift_robot.lockstep import EpisodeLog, LockstepCell, episode_layout, run_episodes
from drift_robot.remote.courier import GOES_ON, TrainerHandle, start_trainer
from drift_robot.report import EpisodeFigures, recorded_figures
from drift_robot.run_folder import RunFolder, occupied, open_session
from drift_robot.seeds import scene_seed
from drift_robot.trainer import online_phase
from drift_robot.versions import Versions
from policies.checkpoint import load_manifest

POLL_S = 0.01
MAX_RESTARTS = 3
Say = Callable[[str], None]


@dataclass(frozen=True)
class AdaptFigures:
    """What an online session gave. Times in seconds."""

    episodes: list[EpisodeFigures]
    swaps: int
    updates: int
    training_seconds: float
    batch_seconds: float
    final_version: int


def adapt(
    config: Config, run: RunFolder, progress: Progress, say: Say, on_episode: Callable[[EpisodeLog], None] | None = None
) -> AdaptFigures:
    """Run online episodes in lock-step until there are as many as configured; go on where an earlier call stopped.

    Raises UserError if there is no policy to start from that fits, no online phase in the method, no calibration that
    the configuration demands, or another session in this run.
    """
    online_phase(config)
    with occupied(run):
        return _adapt(config, run, progress, say, on_episode)


def _adapt(
    config: Config, run: RunFolder, progress: Progress, say: Say, on_episode: Callable[[EpisodeLog], None] | None
) -> AdaptFigures:
    torch.set_num_threads(1)
    versions = run.versions()
    newest = versions.newest_good()
    if newest is None:
        raise UserError(f"{run.path} holds no policy; run 'drift-robot bootstrap' first.")
    fitting_manifest(config, versions, newest)
    calibration = calibration_record(config, "adapt", say)
    session = open_session(run.session, config)
    layout = episode_layout(config)
    cell = LockstepCell(config, "adapt")
    trainer = start_trainer(config, run)
    actor: Actor | None = None
    trains = True
    try:
        with noted(session, "adapt", config.adapt.episodes) as events:
            for index in range(len(session.episodes()), config.adapt.episodes):
                trains = trains and _await_trainer(trainer, index - 1, say, events)
                version = swap_target(versions, max(index - 1, 0))
                scene = session.next_index()  # not one that was discarded
                seed = config.seed * 1_000_003 + scene
                new = actor is None or version != actor.version
                if actor is None:
                    actor = Actor.load(versions.path(version), seed, chosen_device(config.compute))
                elif new:
                    _swap(actor, versions, version, events)
                if new and config.alarm.enabled and actor.alarm is None:
                    say(no_alarm(version))
                actor.reseed(seed)
                for log in run_episodes([cell], actor, [scene_seed(config.seed, "session", scene)]):
                    store_episode(session, layout, log, events, calibration)
                    if on_episode is not None:
                        on_episode(log)
                progress(
                    index + 1,
                    config.adapt.episodes,
                    f"version {actor.version}, {log.outcome.value}, {log.expert_labels} labels",
                )
            if trains:
                _await_trainer(trainer, config.adapt.episodes, say, events)
        word = trainer.word()
        final = swap_target(versions, config.adapt.episodes)
    finally:
        trainer.stop()
    episodes = recorded_figures(session)
    acted = [episode.version for episode in episodes if episode.version >= 0]
    return AdaptFigures(
        episodes=episodes,
        swaps=sum(before != after for before, after in pairwise([0, *acted, final])),
        updates=word.updates if word else 0,
        training_seconds=word.training_seconds if word else 0.0,
        batch_seconds=word.batch_seconds if word else 0.0,
        final_version=final,
    )


def swap_target(versions: Versions, episodes: int) -> int:
    """Return the newest good version that has learned from at most `episodes` online episodes."""
    for version in reversed(versions.good()):
        learned = load_manifest(versions.path(version)).figures.get("online", {}).get("episodes", 0)
        if learned <= episodes:
            return version
    raise UserError(f"{versions.folder} holds no policy that may act; run 'drift-robot bootstrap' first.")


def _swap(actor: Actor, versions: Versions, version: int, events: EventLog) -> None:
    before, began_s = actor.version, time.perf_counter()
    actor.swap(Successor.load(versions.path(version), actor.device))
    events.note("swap", version=version, before=before, seconds=time.perf_counter() - began_s)


def _await_trainer(trainer: TrainerHandle, episodes: int, say: Say, events: EventLog) -> bool:
    """Wait until the trainer has learned from so many episodes; start it again if it dies or hangs.

    Returns False once it has been started again too often. One elsewhere is not waited for while it is not heard of.
    """
    while True:
        word = trainer.word()
        if word is not None and word.episodes >= episodes and word.state == "waiting":
            return True
        if trainer.killed_for_silence() or not trainer.alive():
            if why := trainer.last_words():
                say(why)
            if trainer.restarts >= MAX_RESTARTS:
                say(f"{trainer.title} has stopped too often; the session goes on with the acting policy.")
                return False
            say(f"{trainer.title} has stopped; it is started again, and the session goes on.")
            events.note("restarted", process="trainer")
            trainer.start()
        elif absence := trainer.absence():
            say(f"{absence} {GOES_ON}")
            return True
        time.sleep(POLL_S)
