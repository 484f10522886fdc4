"""Offline demonstrations in the simulated cell, driven by the scripted expert."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from data.episode import Episode
from data.events import EventLog
from data.schema import EpisodeLayout, Outcome
from data.session import Session
from drift_robot import __version__
from drift_robot.calibrate.enforcement import calibration_record
from drift_robot.config import Config
from drift_robot.lockstep import EpisodeLog, LockstepCell, episode_layout, run_episodes
from drift_robot.run_folder import RunFolder, occupied, open_session
from drift_robot.seeds import scene_seed

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and a few words."""


@contextmanager
def noted(session: Session, mode: str, planned: int) -> Iterator[EventLog]:
    """Note begin and end of a lock-step session among its events; yields their log."""
    with EventLog(session.folder) as events:
        events.note("begun", mode=mode, device=None, planned=planned, software=__version__)
        ending = "The session broke off."
        try:
            yield events
            done = len(session.episodes())
            ending = f"All {planned} episodes are done." if done >= planned else f"{done} of {planned} were enough."
        except KeyboardInterrupt:
            ending = "The session was interrupted."
            raise
        finally:
            events.note("ended", sentence=ending, complete=len(session.episodes()) >= planned)


def store_episode(
    session: Session,
    layout: EpisodeLayout,
    log: EpisodeLog,
    events: EventLog,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write an episode that has ended, with further attributes; it appears in the session when it is whole."""
    began_s = time.perf_counter()
    writer = session.write_episode(layout, {"scene_seed": log.seed, **(attributes or {})})
    for step in log.steps:
        writer.append(step)
    path = writer.finish(log.outcome, {"alarms": log.alarms})
    index, save_s = Episode.open(path).index, time.perf_counter() - began_s
    events.note("episode", index=index, outcome=log.outcome.value, save_s=save_s, control=None, arm=None)


def collect(config: Config, run: RunFolder, progress: Progress) -> int:
    """Record demonstrations until there are as many successful ones as configured; go on where it stopped.

    Returns how many there are. Raises UserError if the configuration demands calibrations that are not there, or
    another process works in the run.
    """
    calibration = calibration_record(config, "collect")
    with occupied(run):
        return _collect(config, run, progress, calibration)


def _collect(config: Config, run: RunFolder, progress: Progress, attributes: Mapping[str, Any]) -> int:
    session = open_session(run.demonstrations, config)
    layout = episode_layout(config)
    wanted = config.collect.episodes
    cell = LockstepCell(config, "collect")
    tried = session.next_index()
    with noted(session, "collect", wanted) as events:
        while (done := len(session.episodes())) < wanted:
            progress(done, wanted, "demonstrations")
            for log in run_episodes([cell], None, [scene_seed(config.seed, "demonstrations", tried)]):
                store_episode(session, layout, log, events, attributes)
                if log.outcome is not Outcome.SUCCESS:
                    session.drop_last()
            tried += 1
    progress(wanted, wanted, "demonstrations")
    return wanted
