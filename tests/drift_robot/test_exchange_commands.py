"""Export and import as commands, and a policy that learns from what was imported."""

from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY, silently
from typer.testing import CliRunner

from data.errors import DataError
from data.exchange.formats import Format
from drift_robot.bootstrap import bootstrap
from drift_robot.cli import app
from drift_robot.run_folder import RunFolder
from policies.checkpoint import load_policy


def command(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.mark.parametrize("kind", list(Format), ids=lambda kind: kind.value)
def test_a_policy_is_bootstrapped_on_what_was_imported(
    kind: Format, demonstrated: RunFolder, bootstrapped: RunFolder, tmp_path: Path
) -> None:
    away, run = tmp_path / "away", RunFolder(tmp_path / "run")
    code, told = command("data", "export", demonstrated.demonstrations, "--format", kind.value, "--out", away)
    assert (code, "4 episodes" in told, "100%" in told) == (0, True, True), told
    code, told = command("data", "import", away, "--format", kind.value, "--out", run.demonstrations)
    assert (code, "4 episodes" in told) == (0, True), told
    bootstrap(TINY, run, silently)
    policy, _ = load_policy(run.versions().path(0))
    expected, _ = load_policy(bootstrapped.versions().path(0))
    for (name, value), other in zip(policy.state_dict().items(), expected.state_dict().values(), strict=True):
        assert np.array_equal(value, other), name


def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    words = ["data", "import", str(tmp_path), "--format", "lerobot", "--out", str(tmp_path / "session")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, DataError)
    assert (str(done.exception), done.output) == (f"{tmp_path}/meta/info.json is missing.", "")
