"""What the tests of whole stages share: the smallest configuration, episodes made by hand, processes of our own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.episode import Episode
from data.schema import Outcome, Owner
from data.session import finished_episodes
from drift_robot.config import Config, config_from_dict
from drift_robot.lockstep import LockstepCell, episode_layout, run_episodes
from drift_robot.run_folder import RunFolder, open_session
from drift_robot.seeds import scene_seed
from policies.checkpoint import load_policy, save

TINY_YAML = """
cell: {task: lift, deployment_offset_m: [0.03, 0.0, 0.0]}
policy:
  {unet_dims: [16], condition_width: 16, step_embedding_dim: 16, action_horizon: 4, sample_steps: 4, prediction: sample}
rank: {kind: sigmoid, r_max: 16, r_min: 4}
collect: {episodes: 4}
bootstrap: {epochs: 4, batches_per_epoch: 15, batch_size: 32, learning_rate: 0.004, warmup_batches: 5, threads: 1}
adapt:
  episodes: 3
  batches_per_round: 12
  batch_size: 32
  learning_rate: 0.001
  candidate_labels: 1
  candidate_episodes: 1
  hold_out: 0
evaluate: {episodes: 2}
"""


def _tiny() -> Config:
    import yaml

    return config_from_dict(yaml.safe_load(TINY_YAML), "tiny")


TINY = _tiny()


def silently(done: int, total: int, words: str) -> None:
    """Show no progress."""


def add_corrected_episode(run: RunFolder, config: Config, index: int, outcome: Outcome = Outcome.FAILURE) -> Path:
    """Store an online episode in whose middle the expert has driven: a demonstration with other labels."""
    session = open_session(run.session, config)
    cell = LockstepCell(config, "collect")
    (log,) = run_episodes([cell], None, [scene_seed(config.seed, "session", index)])
    writer = session.write_episode(episode_layout(config), {"scene_seed": log.seed})
    for k, step in enumerate(log.steps):
        owner = Owner.LEARNER if k < 8 or k >= 30 else Owner.TRANSITION if k < 11 else Owner.EXPERT
        writer.append(replace(step, owner=owner, version=0, rank=config.rank.r_min))
    writer.finish(outcome)
    return finished_episodes(run.session)[-1]


def second_version(run: RunFolder) -> Path:
    """Publish version 1: version 0 with one weight changed a little."""
    policy, manifest = load_policy(run.versions().path(0))
    weights = {name: value.clone() for name, value in policy.state_dict().items()}
    name = next(name for name in weights if name.endswith("weight"))
    weights[name] += 0.01
    save(run.versions().path(1), replace(manifest, version=1, parent=0, training=None), weights)
    return run.versions().path(1)


ENDINGS = pytest.mark.parametrize(
    "order",
    [
        signal.SIGINT,
        signal.SIGKILL,
        *(pytest.param(order, marks=pytest.mark.long) for order in (signal.SIGTERM, signal.SIGHUP)),
    ],
)
"""Ctrl-C, kill, a closed terminal, and kill -9."""


def wait_for(what: Callable[[], bool], seconds: float = 200.0) -> None:
    """Wait until something holds; fail if it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def cli(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start `drift-robot` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "drift_robot.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def finished(process: subprocess.Popen[str], seconds: float = 240.0) -> tuple[int, str, str]:
    """Return exit code, output and errors of a process; its whole group is killed if it does not end."""
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output, errors


def end(process: subprocess.Popen[str], order: signal.Signals) -> None:
    """End a process that leads its group as it happens: a terminal tells the whole group, everybody else only one."""
    if order in (signal.SIGINT, signal.SIGHUP):
        os.killpg(process.pid, order)
    else:
        process.send_signal(order)


def group_is_empty(group: int) -> bool:
    """Whether no process of a group runs any more."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return False
    return True


def in_shared_memory() -> set[str]:
    """Return the names of all shared memory: segments and named semaphores, of whatever program."""
    return {entry.name for entry in Path("/dev/shm").iterdir()}


def left_in_shared_memory(before: set[str], patience_s: float = 30.0) -> set[str]:
    """Return what is new in shared memory, used by no process that still runs (of other programs), and stays.

    What other tests' processes leave when they are killed is gone soon: their resource trackers see to it.
    """
    deadline_s = time.monotonic() + patience_s
    while (left := _unused_in_shared_memory(before)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    return left


def _unused_in_shared_memory(before: set[str]) -> set[str]:
    inodes = {}
    for entry in in_shared_memory() - before:
        with suppress(FileNotFoundError):
            inodes[(Path("/dev/shm") / entry).stat().st_ino] = entry
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            for inode in re.findall(r"(\d+)\s+/dev/shm/", maps.read_text()):
                inodes.pop(int(inode), None)
    return set(inodes.values())


def columns(path: Path) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Return what an episode says about driving, without times."""
    episode = Episode.open(path)
    names = ("observation.tcp", "action.executed", "action.learner", "owner", "policy.version", "policy.rank")
    return {name: np.asarray(episode.column(name)) for name in names}


def same_episodes(one: RunFolder, other: RunFolder) -> bool:
    """Whether the online episodes of two runs say the same about driving."""
    pairs = zip(finished_episodes(one.session), finished_episodes(other.session), strict=True)
    return all(
        all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(x.values(), y.values(), strict=True))
        for x, y in ((columns(first), columns(second)) for first, second in pairs)
    )


def meeting(config: Config, store: str) -> Config:
    """Return the configuration of a session that meets its trainer in a store."""
    return replace(config, adapt=replace(config.adapt, store=store))


def ended_trainer(trainer: subprocess.Popen[str]) -> str:
    """End `drift-robot train` with Ctrl-C; return what it has said."""
    end(trainer, signal.SIGINT)
    code, output, errors = finished(trainer)
    assert code == 130, errors
    assert "Nothing is lost: the same command goes on from here." in errors
    wait_for(lambda: group_is_empty(trainer.pid))
    return output
