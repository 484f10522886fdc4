"""Export and import as commands, and a policy that learns from what was imported."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_run import TINY, TINY_YAML, silently
from typer.testing import CliRunner

from data.errors import DataError
from data.exchange.formats import Format
from drift_robot.bootstrap import bootstrap
from drift_robot.cli import app
from drift_robot.collect import collect
from drift_robot.config import Config, config_from_dict
from drift_robot.run_folder import RunFolder
from policies.checkpoint import load_policy


def with_pictures() -> Config:
    """The smallest configuration of a policy that sees."""
    given = yaml.safe_load(TINY_YAML)
    given["cell"] |= {"track_objects": False, "cameras": {"front": {"height": 32, "width": 48}}}
    given["policy"]["vision"] = "small_cnn"
    return config_from_dict(given | {"collect": {"episodes": 2}}, "with pictures")


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


@pytest.fixture(scope="module")
def demonstrated_with_pictures(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with demonstrations with pictures and a policy that was bootstrapped on them."""
    run = RunFolder(tmp_path_factory.mktemp("pictures"))
    collect(with_pictures(), run, silently)
    bootstrap(with_pictures(), run, silently)
    return run


@pytest.mark.parametrize("kind", list(Format), ids=lambda kind: kind.value)
def test_a_policy_that_sees_is_bootstrapped_on_what_was_imported(
    kind: Format, demonstrated_with_pictures: RunFolder, tmp_path: Path
) -> None:
    away, run = tmp_path / "away", RunFolder(tmp_path / "run")
    code, told = command(
        "data", "export", demonstrated_with_pictures.demonstrations, "--format", kind.value, "--out", away
    )
    assert code == 0, told
    code, told = command("data", "import", away, "--format", kind.value, "--out", run.demonstrations)
    assert code == 0, told
    bootstrap(with_pictures(), run, silently)
    policy, manifest = load_policy(run.versions().path(0))
    expected, own = load_policy(demonstrated_with_pictures.versions().path(0))
    lossless = kind is not Format.LEROBOT  # whose pictures are a video
    for (name, value), other in zip(policy.state_dict().items(), expected.state_dict().values(), strict=True):
        assert np.allclose(value, other, atol=0 if lossless else 0.1, rtol=0), name
    assert manifest.figures["losses"] == pytest.approx(own.figures["losses"], rel=1e-6 if lossless else 0.2)


def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    words = ["data", "import", str(tmp_path), "--format", "lerobot", "--out", str(tmp_path / "session")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, DataError)
    assert (str(done.exception), done.output) == (f"{tmp_path}/meta/info.json is missing.", "")
