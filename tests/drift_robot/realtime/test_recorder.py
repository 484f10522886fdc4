import errno
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from realtime_bench import LAYOUT, a_step, eventually, life_of, of_kind

from data.episode import Episode
from data.schema import Outcome, Owner
from data.session import Session
from data.verify import State, verify
from drift_robot.gate import Fault, FaultCleared
from drift_robot.realtime import records
from drift_robot.realtime.child import Child
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import EpisodeSaved, Listener, Message, Pressed, Ready, Said, Speaker
from drift_robot.realtime.recorder_process import DISK, Recorder, RecorderSetup, run_recorder
from hardware.interfaces import Verb
from hardware.rings import RingWriter

ALL_KEPT, FAILURES_BINNED = True, False


class Bench:
    """A recorder, with the test in the place of control and arm."""

    def __init__(self, lines: Lines, folder: Path) -> None:
        self.lines = lines
        self.session = Session.create(folder, "lift")
        self.control, self.arm = RingWriter(lines.recording), RingWriter(lines.arm)
        self.answers = Listener(lines.words["recorder"], True)

    def recorder(self, first: bool = True, keep_failures: bool = ALL_KEPT) -> Recorder:
        setup = RecorderSetup(self.session.folder, LAYOUT, keep_failures)
        return Recorder(setup, life_of("recorder", self.lines, first))

    def begin(self, steps: int, owner: Owner = Owner.LEARNER) -> None:
        self.control.write({"order": records.BEGIN, "attributes": b'{"scene_seed": 42}'})
        for number in range(steps):
            self.control.write({"order": records.STEP, **a_step(number, owner).row()})

    def end(self, outcome: Outcome) -> None:
        ended_ns = time.monotonic_ns()
        self.control.write({"order": records.END, "time_ns": ended_ns, "outcome": outcome.value.encode()})

    def saved(self) -> list[EpisodeSaved]:
        """Return the answers, without how long it took."""
        return [replace(saved, save_s=0.0) for saved in of_kind(self.answers.hear(), EpisodeSaved)]  # type: ignore[type-var]


@pytest.fixture
def bench(lines: Lines, tmp_path: Path) -> Bench:
    return Bench(lines, tmp_path / "session")


def test_an_episode_is_whole_on_disk_before_the_recorder_answers(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.begin(7, Owner.EXPERT)
    recorder.drain()
    assert bench.saved() == []
    for number in range(30):
        bench.arm.write({"capture_ns": number, "authority": 2})
    recorder.drain()
    bench.end(Outcome.SUCCESS)
    recorder.drain()
    assert bench.saved() == [EpisodeSaved(0, Outcome.SUCCESS, 1, 3, 7, 7, False)]
    episode = Episode.open(bench.session.episodes()[0])
    assert (episode.steps, episode.arm_samples, episode.outcome) == (7, 30, Outcome.SUCCESS)
    assert episode.attributes["scene_seed"] == 42
    assert np.array_equal(episode.column("action.executed")[4], a_step(4).action_executed)
    assert np.array_equal(episode.column("observation.images.front")[4], a_step(4).images["front"])
    assert all(finding.good for finding in verify(bench.session.folder))


def test_the_steps_in_which_the_alarm_was_raised_are_noted_with_the_episode(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.begin(3)
    bench.control.write({"order": records.ALARM})
    bench.control.write({"order": records.STEP, **replace(a_step(3), alarm=1.5).row()})
    bench.end(Outcome.SUCCESS)
    bench.begin(2)
    bench.end(Outcome.SUCCESS)
    recorder.drain()
    alarmed, calm = map(Episode.open, bench.session.episodes())
    assert (alarmed.attributes["alarms"], calm.attributes["alarms"]) == ([3], [])
    assert alarmed.column("alarm")[3] == 1.5
    assert np.isnan(alarmed.column("alarm")[:3]).all()


@pytest.mark.parametrize(("outcome", "keep"), [(Outcome.DISCARDED, ALL_KEPT), (Outcome.FAILURE, FAILURES_BINNED)])
def test_a_discarded_episode_and_a_failed_demonstration_go_to_the_bin(
    bench: Bench, outcome: Outcome, keep: bool
) -> None:
    recorder = bench.recorder(keep_failures=keep)
    bench.begin(3)
    bench.end(outcome)
    recorder.drain()
    assert bench.saved() == [EpisodeSaved(None, outcome, 0)]
    assert (len(bench.session.episodes()), len(bench.session.binned_episodes())) == (0, 1)


def test_a_failed_episode_of_a_learner_is_kept(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.begin(3)
    bench.end(Outcome.FAILURE)
    recorder.drain()
    assert bench.saved() == [EpisodeSaved(0, Outcome.FAILURE, 1, 3, 3, 0, True)]


def test_an_episode_that_is_open_at_the_end_stays_and_verify_names_it(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.begin(5)
    recorder.drain()
    recorder.break_off()
    findings = verify(bench.session.folder)
    assert [finding.state for finding in findings] == [State.PARTIAL]
    assert "000000.zarr.partial was interrupted; good steps: 5" in findings[0].text


def test_a_broken_off_episode_is_answered_and_the_next_one_recorded(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.begin(5)
    bench.control.write({"order": records.BREAK_OFF})
    bench.begin(4)
    bench.end(Outcome.SUCCESS)
    recorder.drain()
    assert [saved.index for saved in bench.saved()] == [None, 1]
    assert [path.name for path in bench.session.partial_episodes()] == ["000000.zarr.partial"]


def test_a_recorder_in_the_place_of_a_dead_one_ignores_the_rest_and_answers_the_end(bench: Bench) -> None:
    dead = bench.recorder()
    bench.begin(5)
    dead.drain()
    recorder = bench.recorder(first=False)
    bench.control.write({"order": records.STEP, **a_step().row()})
    bench.end(Outcome.DISCARDED)
    recorder.drain()
    assert bench.saved() == [EpisodeSaved(None, Outcome.DISCARDED, 0)]
    assert bench.session.episodes() == []


def test_an_end_that_a_dead_recorder_left_unanswered_is_answered_by_the_next(bench: Bench) -> None:
    bench.begin(5)
    bench.end(Outcome.SUCCESS)
    bench.recorder(first=False)
    assert bench.saved() == [EpisodeSaved(None, Outcome.UNKNOWN, 0)]


def test_lost_steps_are_noticed_and_their_episode_is_not_used(bench: Bench) -> None:
    recorder = bench.recorder()
    bench.begin(5)
    recorder.drain()
    for number in range(100):
        bench.control.write({"order": records.STEP, **a_step(number).row()})
    bench.end(Outcome.SUCCESS)
    recorder.drain()
    heard = bench.answers.hear()
    (held,) = of_kind(heard, Fault)
    assert "The disk is too slow: 37 steps are lost." in held.reason  # type: ignore[attr-defined]
    assert Pressed(Verb.DISCARD) in heard, "nobody goes on with an episode that is not recorded"
    assert of_kind(heard, EpisodeSaved) == [EpisodeSaved(None, Outcome.SUCCESS, 0)]
    assert "good steps: 5" in verify(bench.session.folder)[0].text


@pytest.mark.parametrize("episodes", [0, 1])
def test_dropping_the_last_episode_moves_it_to_the_bin_if_there_is_one(bench: Bench, episodes: int) -> None:
    recorder = bench.recorder()
    for _ in range(episodes):
        bench.begin(3)
        bench.end(Outcome.SUCCESS)
    bench.control.write({"order": records.DROP_LAST})
    recorder.drain()
    assert len(bench.session.binned_episodes()) == episodes
    assert bench.session.episodes() == []


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond a size: with 0 the disk is full for it."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.realtime
def test_a_full_disk_holds_the_arm_keeps_the_episode_so_far_and_is_noticed_when_it_takes_data_again(
    bench: Bench,
) -> None:
    setup = RecorderSetup(bench.session.folder, LAYOUT, ALL_KEPT)
    process = Child("recorder", run_recorder, lambda: setup, bench.lines)
    heard: list[Message] = []

    def said(*wanted: Message) -> bool:
        heard.extend(bench.answers.hear())
        return all(message in heard for message in wanted)

    def committed() -> int:
        partial = bench.session.partial_episodes()
        return Episode.open(partial[0]).steps if partial else 0

    try:
        assert eventually(lambda: said(Ready()))
        bench.begin(12)
        assert eventually(lambda: committed() == 12)
        limit_files(process.pid, 0)
        bench.control.write({"order": records.STEP, **a_step(12).row()})
        assert eventually(lambda: said(Pressed(Verb.DISCARD)))
        (full,) = {fault.reason for fault in of_kind(heard, Fault)}  # type: ignore[attr-defined]
        assert "(File too large); 12 of 13 steps are safe. The episode is interrupted, and the arm holds" in full
        bench.control.write({"order": records.STEP, **a_step(13).row()})
        bench.end(Outcome.DISCARDED)
        assert eventually(lambda: said() or bool(of_kind(heard, EpisodeSaved)))
        heard.clear()
        assert eventually(lambda: said(Fault(full, DISK))), "it is said again: the arm process may be a new one"
        assert FaultCleared(DISK) not in heard
        limit_files(process.pid, resource.RLIM_INFINITY)
        assert eventually(lambda: said(FaultCleared(DISK)))
        bench.begin(3)
        bench.end(Outcome.SUCCESS)
        assert eventually(lambda: said() or bool(of_kind(heard, EpisodeSaved)))
    finally:
        Speaker(bench.lines.stop).say(Said("enough"))
        process.join(10.0)
    partial, whole = verify(bench.session.folder)
    assert (partial.state, whole.state) == (State.PARTIAL, State.WHOLE)
    assert "good steps: 12" in partial.text


def test_a_disk_that_is_full_at_the_end_of_an_episode_or_at_its_begin_holds_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = bench.recorder()
    bench.begin(5)
    recorder.drain()
    monkeypatch.setattr("pathlib.Path.write_bytes", no_space)
    bench.end(Outcome.SUCCESS)
    recorder.drain()
    heard = bench.answers.hear()
    assert [type(message) for message in heard] == [Fault, EpisodeSaved], "the fault first: the arm goes nowhere"
    assert of_kind(heard, EpisodeSaved)[0].index is None  # type: ignore[attr-defined]
    bench.begin(5)
    recorder.drain()
    heard = bench.answers.hear()
    assert "cannot be created: No space left on device" in of_kind(heard, Fault)[0].reason  # type: ignore[attr-defined]
    assert Pressed(Verb.DISCARD) in heard


def no_space(path: Path, content: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.realtime
def test_killed_at_random_moments_it_loses_no_committed_step() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, str(root / "benchmarks" / "kill_recorder.py"), "--kills", "8"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 partial" in done.stdout or "left over" in done.stdout


def test_an_episode_that_was_broken_off_is_answered_though_its_recorder_died_before(bench: Bench) -> None:
    bench.begin(5)
    bench.control.write({"order": records.BREAK_OFF})
    bench.recorder(first=False)
    assert bench.saved() == [EpisodeSaved(None, Outcome.UNKNOWN, 0)]
