"""Kills writers without warning and looks at what they leave."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import arm_log, check_steps, make_step

from data.episode import Episode, EpisodeWriter
from data.repair import repair
from data.schema import EpisodeLayout, Outcome
from data.session import Session, finished_episodes
from data.verify import Finding, State, verify

HERE = Path(__file__).parent
KILLS = 20


def write_and_kill(session: Path, index: int, after_s: float) -> int:
    """Run a writer, kill it some time after it started; return how many steps it said it had committed."""
    command = [sys.executable, str(HERE / "endless_writer.py"), str(session), str(index)]
    environment = {"PYTHONPATH": str(HERE.parent.parent), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split("\n")[:-1]
    return int(lines[-1]) if lines else 0


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_loses_no_committed_step(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", "lift").folder
    random_after = random.Random(0)
    committed = [write_and_kill(session, index, random_after.uniform(0.0, 0.4)) for index in range(KILLS)]
    assert max(committed) > 0

    found = [finding for finding in verify(session) if finding.state is not State.LEFTOVER]
    assert [finding.state for finding in found] == [State.PARTIAL] * KILLS
    kept = []
    for index, (finding, steps) in enumerate(zip(found, committed, strict=True)):
        assert finding.path.name == f"{index:06d}.zarr.partial"
        group = zarr.open_group(finding.path, mode="r")
        kept.append(int(group.attrs["committed_steps"]))
        assert kept[-1] >= steps
        for name, array in group.arrays():
            rows = group.attrs["committed_arm_samples" if name.startswith("arm.") else "committed_steps"]
            assert len(array[:rows]) == rows
        assert len(list(group.members())) == len(Episode.open(finding.path).columns)
        check_steps(Episode.open(finding.path), kept[-1])

    repair(session)
    assert {finding.state for finding in verify(session)} == {State.WHOLE}
    good = {path.name: Episode.open(path) for path in finished_episodes(session)}
    assert {name: episode.steps for name, episode in good.items()} == {
        f"{index:06d}.zarr": steps for index, steps in enumerate(kept) if steps
    }
    for episode in good.values():
        check_steps(episode, episode.steps)
        assert episode.arm_samples == 5 * episode.steps
        np.testing.assert_array_equal(episode.column("arm.time"), np.arange(episode.arm_samples))


class Killed(BaseException):
    """Stands for the end of a process."""


@settings(max_examples=60)
@given(
    plan=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), min_size=1, max_size=5),
    survives=st.integers(0, 400),
)
def test_whatever_file_a_writer_dies_at_its_committed_steps_are_whole(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[int, int]], survives: int
) -> None:
    session = Session.create(tmp_path_factory.mktemp("s"), "lift").folder
    layout = EpisodeLayout(object_dim=8, cameras={"front": (2, 2)})
    replaced, number, samples, committed = 0, 0, 0, 0

    def replace_or_die(source: Path, destination: Path) -> None:
        nonlocal replaced
        if replaced == survives:
            raise Killed
        replaced += 1
        os.rename(source, destination)

    writer = EpisodeWriter.create(session, 0, layout)
    with mock.patch("data.files.os.replace", replace_or_die):
        try:
            for steps, arm_samples in plan:
                for _ in range(steps):
                    writer.append(make_step(number, layout=layout))
                    number += 1
                writer.append_arm_log(*arm_log(samples, arm_samples))
                samples += arm_samples
                writer.flush()
                committed = number
            writer.finish(Outcome.SUCCESS)
        except Killed:
            with contextlib.suppress(Killed):
                writer.abandon()

    (path,) = (session / "episodes").glob("[0-9]*")
    episode = Episode.open(path)
    assert episode.steps >= committed
    check_steps(episode, episode.steps)
    np.testing.assert_array_equal(episode.column("arm.time"), np.arange(episode.arm_samples))
    kept = episode.steps
    repair(session)
    if kept or episode.finished:
        (path,) = finished_episodes(session)
        assert verify(session) == [Finding(path, State.WHOLE, f"{path.name} is whole; steps: {kept}.")]
        check_steps(Episode.open(path), kept)
    else:
        assert verify(session) == []


@pytest.mark.slow
def test_a_writer_killed_while_it_begins_leaves_at_most_a_leftover(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "s", "lift").folder
    command = [sys.executable, "-c", _DIES_WHILE_CREATING, str(session)]
    environment = {"PYTHONPATH": f"{HERE.parent.parent}:{HERE}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=False)
    assert {finding.state for finding in verify(session)} == {State.LEFTOVER}
    assert Session.open(session).next_index() == 1
    assert repair(session)
    assert verify(session) == []


_DIES_WHILE_CREATING = """
import os, signal, sys
from pathlib import Path
from recording import WITH_PICTURES
import data.episode

class DiesOnTheTenth(data.episode.GrowingArray):
    count = 0
    def __init__(self, *arguments):
        DiesOnTheTenth.count += 1
        if DiesOnTheTenth.count == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__init__(*arguments)

data.episode.GrowingArray = DiesOnTheTenth
data.episode.EpisodeWriter.create(Path(sys.argv[1]), 0, WITH_PICTURES)
"""
