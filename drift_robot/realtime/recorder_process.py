"""The recorder: brings steps and the arm log to disk, and answers when an episode is safe there.

A disk that is full, fails or is too slow holds the arm with a sentence until it takes data again; what was committed of
the open episode stays as interrupted.
"""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.episode import Episode, EpisodeWriter
from data.errors import DataError, DiskError
from data.schema import EpisodeLayout, Outcome, Owner, step_of
from data.session import Session
from drift_robot.gate import Fault, FaultCleared
from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import EpisodeSaved, Pressed, Said
from drift_robot.realtime.pacing import Pace
from hardware.clock import NS_PER_S, MonotonicClock
from hardware.interfaces import Verb
from hardware.rings import RingReader

POLL_S = 0.02
DISK = "disk"
LOOK_S = 1.0
"""How often a disk that has failed is tried again, with `PROBE_BYTES`."""
PROBE_BYTES = 1 << 20


@dataclass(frozen=True)
class RecorderSetup:
    """Where to record what. `keep_failures` is False for demonstrations: a failed one goes to the bin.

    `attributes` are noted with every episode.
    """

    session: Path
    layout: EpisodeLayout
    keep_failures: bool
    attributes: Mapping[str, Any] = field(default_factory=dict)


def disk_fails(error: Exception) -> str:
    """Return what the operator is told of a disk that takes nothing."""
    return f"The disk fails: {error} The episode is interrupted, and the arm holds: make room on the disk, then reset."


def run_recorder(setup: RecorderSetup, life: Life) -> None:
    """Record until the session is over; an episode that is open then stays as interrupted."""
    recorder = Recorder(setup, life)
    pace = Pace(POLL_S, MonotonicClock())
    life.ready()
    while not life.over():
        pace.wait()
        recorder.drain()
    recorder.drain()
    recorder.break_off()


class Recorder:
    """The episode that is open, if any, and the two rings that fill it."""

    def __init__(self, setup: RecorderSetup, life: Life) -> None:
        self._setup = setup
        self._life = life
        self._session = Session.open(setup.session)
        self._orders, self._arm = RingReader(life.lines.recording), RingReader(life.lines.arm)
        self._writer: EpisodeWriter | None = None
        self._alarms: list[int] = []
        self._ended_ns = 0
        self._open = False
        self._trouble = ""
        self._looked_s = 0.0
        newest, newest_arm = self._orders.latest(), self._arm.latest()
        self._arm_seen = newest_arm.sequence if newest_arm else 0
        self._seen = newest.sequence if newest and not life.first else 0
        if not life.first:
            life.say(FaultCleared(DISK))
        if not life.first and newest and newest.value["order"] in (records.END, records.BREAK_OFF):
            self._answer(None, Outcome.UNKNOWN)

    def drain(self) -> None:
        """Take in all that has come; a disk that fails holds the arm until it takes data again."""
        try:
            self._take_in()
        except (DiskError, OSError) as error:
            self._hold(disk_fails(error))
        if self._trouble and time.monotonic() - self._looked_s >= LOOK_S:
            self._look_at_disk()

    def break_off(self) -> None:
        """Let go of the open episode; it stays as interrupted. Raises DiskError if its last steps are lost."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()

    def _take_in(self) -> None:
        for record in self._orders.since(self._seen):
            if record.sequence != self._seen + 1 and self._writer is not None:
                missing = record.sequence - self._seen - 1
                self._hold(f"The disk is too slow: {missing} steps are lost. The episode is interrupted: reset.")
            self._seen = record.sequence
            self._follow(record.value)
        samples = self._arm.since(self._arm_seen)
        if samples:
            self._arm_seen = samples[-1].sequence
            if self._writer is not None:
                self._writer.append_arm_log(**records.arm_log_of([sample.value for sample in samples]))
        if self._writer is not None:
            self._writer.flush_if_due()

    def _hold(self, trouble: str) -> None:
        """Hold the arm and let go of the episode: what is committed of it stays, and the gate is told to end it."""
        with suppress(DiskError, OSError):
            self.break_off()
        self._trouble, self._looked_s = trouble, time.monotonic()
        self._life.say(Fault(trouble, DISK))
        if self._open:
            self._life.say(Pressed(Verb.DISCARD))

    def _look_at_disk(self) -> None:
        """Tell that the disk takes data again, or say once more that it does not: the arm process may be a new one."""
        self._looked_s = time.monotonic()
        if self._takes_data():
            self._trouble = ""
            self._life.say(FaultCleared(DISK))
        else:
            self._life.say(Fault(self._trouble, DISK))

    def _takes_data(self) -> bool:
        probe = self._setup.session / ".probe"
        try:
            probe.write_bytes(bytes(PROBE_BYTES))
        except OSError:
            return False
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return True

    def _follow(self, order: Any) -> None:
        kind = int(order["order"])
        if kind == records.BEGIN:
            self._open = True
            self.break_off()
            self._writer = self._session.write_episode(
                self._setup.layout, {**self._setup.attributes, **json.loads(order["attributes"])}
            )
            self._alarms = []
        elif kind == records.STEP and self._writer is not None:
            self._writer.append(step_of(order, self._setup.layout))
        elif kind == records.ALARM and self._writer is not None:
            self._alarms.append(self._writer.steps)
        elif kind == records.END:
            self._open = False
            self._ended_ns = int(order["time_ns"])
            self._end(records.outcome_of(order))
        elif kind == records.DROP_LAST:
            self._drop_last()
        elif kind == records.BREAK_OFF:
            self._open = False
            self.break_off()
            self._answer(None, Outcome.UNKNOWN)

    def _end(self, outcome: Outcome) -> None:
        path = None
        try:
            path = self._close(outcome)
        except (DiskError, OSError) as error:
            self._hold(disk_fails(error))
        self._answer(path, outcome)

    def _close(self, outcome: Outcome) -> Path | None:
        """Bring the open episode to its end on disk; return its place if it counts. Raises DiskError."""
        if self._writer is None:
            return None
        if outcome is Outcome.DISCARDED:
            self._writer.discard()
            self._writer = None
            return None
        path = self._writer.finish(outcome, {"alarms": self._alarms})
        self._writer = None
        if outcome is not Outcome.SUCCESS and not self._setup.keep_failures:
            self._session.drop_last()
            return None
        return path

    def _drop_last(self) -> None:
        try:
            dropped = self._session.drop_last()
        except DataError as error:
            self._life.say(Said(str(error)))
            return
        number = dropped.name.split(".")[0]
        self._life.say(Said(f"Episode {number} is in the bin; 'drift-robot data restore' undoes it."))
        self._answer(None, Outcome.DISCARDED, dropped=int(number))

    def _answer(self, path: Path | None, outcome: Outcome, dropped: int | None = None) -> None:
        done = len(self._session.episodes())
        if path is None:
            self._life.say(EpisodeSaved(None, outcome, done, dropped=dropped))
            return
        episode = Episode.open(path)
        owner = episode.column("owner")
        version = episode.column("policy.version")
        self._life.say(
            EpisodeSaved(
                index=episode.index,
                outcome=outcome,
                done=done,
                version=int(np.max(version, initial=-1)),
                steps=episode.steps,
                expert_labels=int((owner == Owner.EXPERT).sum()),
                alone=bool((owner == Owner.LEARNER).all()),
                save_s=(time.monotonic_ns() - self._ended_ns) / NS_PER_S,
            )
        )
