"""Two processes that bootstrap together do what one does alone with the same global batch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_run import TINY_YAML

from drift_robot.bootstrap import bootstrap_figures
from drift_robot.run_folder import RunFolder
from policies.checkpoint import load_manifest, load_policy

TOGETHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")


def drift_robot(*arguments: str | Path, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = (*before, sys.executable, "-c", "from drift_robot.cli import main; main()", *map(str, arguments))
    return subprocess.run(
        command, text=True, capture_output=True, timeout=250, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


@pytest.mark.slow
def test_two_processes_train_what_one_does_with_the_same_global_batch(
    demonstrated: RunFolder, bootstrapped: RunFolder, tmp_path: Path
) -> None:
    config, run = tmp_path / "tiny.yaml", RunFolder(tmp_path / "run")
    config.write_text(TINY_YAML)
    shutil.copytree(demonstrated.path, run.path)
    done = drift_robot("bootstrap", config, "--out", run.path, before=TOGETHER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Version 0 in") == 1
    together, alone = (load_manifest(each.versions().path(0)) for each in (run, bootstrapped))
    assert together.figures["losses"] == pytest.approx(alone.figures["losses"], rel=1e-3)
    assert bootstrap_figures(run.versions().path(0)).ranks == alone.figures["ranks"]
    weights, expected = (load_policy(each.versions().path(0))[0].state_dict() for each in (run, bootstrapped))
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-2, atol=1e-3)


def test_a_batch_that_cannot_be_shared_equally_is_refused(
    demonstrated: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = tmp_path / "tiny.yaml", RunFolder(tmp_path / "run")
    config.write_text(TINY_YAML)
    shutil.copytree(demonstrated.path, run.path)
    monkeypatch.setenv("WORLD_SIZE", "3")
    done = drift_robot("bootstrap", config, "--out", run.path)
    assert done.returncode == 2
    assert "bootstrap.batch_size is 32, which 3 processes cannot share equally" in done.stderr
    assert "Traceback" not in done.stderr
