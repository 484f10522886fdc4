"""One tiny run that many tests share: a few demonstrations and a policy that was trained on them for seconds."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, silently

from drift_robot.bootstrap import bootstrap
from drift_robot.collect import collect
from drift_robot.config import Config
from drift_robot.run_folder import RunFolder

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The smallest configuration of the whole job."""
    return TINY


@pytest.fixture(scope="session")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with demonstrations; leave it as it is."""
    run = RunFolder(tmp_path_factory.mktemp("demonstrated"))
    collect(TINY, run, silently)
    return run


@pytest.fixture(scope="session")
def bootstrapped(demonstrated: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with demonstrations and version 0; leave it as it is."""
    run = RunFolder(tmp_path_factory.mktemp("bootstrapped") / "run")
    shutil.copytree(demonstrated.path, run.path)
    bootstrap(TINY, run, silently)
    return run


@pytest.fixture
def run(bootstrapped: RunFolder, tmp_path: Path) -> RunFolder:
    """A bootstrapped run of the test's own."""
    shutil.copytree(bootstrapped.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def eager() -> Config:
    """A configuration whose trainer offers a version after every episode with a label."""
    return replace(TINY, adapt=replace(TINY.adapt, candidate_labels=1, candidate_episodes=1, hold_out=0))
