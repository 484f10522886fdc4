"""The set-up script as a user meets it: run by a bare Python in a copy of the repository's relevant files."""

import ast
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drift_robot import environment

INTERRUPTED_AT_EACH_START = """
import os, signal, subprocess
from drift_robot import environment

started, popen = [], subprocess.Popen

def start_and_interrupt(*arguments, **options):
    process = popen(*arguments, **options)
    started.append(process.pid)
    os.kill(os.getpid(), signal.SIGINT)
    return process

subprocess.Popen = start_and_interrupt
try:
    environment.test_all(os.environ)
except KeyboardInterrupt:
    print(*started)
"""
BARE_PYTHON = getattr(sys, "_base_executable", sys.executable)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of nothing but the set-up script and a package without requirements."""
    (tmp_path / "drift_robot").mkdir()
    (tmp_path / "drift_robot" / "__init__.py").touch()
    shutil.copy(environment.__file__, tmp_path / "drift_robot" / "environment.py")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "drift-robot"\nversion = "0"\n')
    return tmp_path


def start(repository: Path, *arguments: str, python: str = BARE_PYTHON, **variables: str) -> subprocess.Popen[str]:
    """Start the set-up script where no package index can be reached."""
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(repository), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.Popen(
        [python, "-S", "-m", "drift_robot.environment", *arguments],
        cwd=repository,
        env={**os.environ, **offline, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished_environment(repository: Path) -> None:
    """Lay out what a finished set-up leaves, with a drift-robot command that prints what it was given."""
    programs = repository / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(BARE_PYTHON)
    (repository / ".venv" / "pyvenv.cfg").write_text(f"home = {Path(BARE_PYTHON).parent}\n")
    (programs / "drift-robot").write_text('#!/bin/sh\necho "$MUJOCO_GL $*"\n')
    (programs / "drift-robot").chmod(0o755)
    wanted = hashlib.sha256((repository / "pyproject.toml").read_bytes() + environment.TORCH.encode()).hexdigest()
    (repository / ".venv" / "installed.txt").write_text(wanted)
    (repository / ".venv" / "rendering.txt").write_text("egl")


def replace_python(repository: Path, ending: str) -> None:
    """Put a script in the place of the environment's Python that prints what it was given and ends so."""
    python = repository / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text(f'#!/bin/sh\necho "$*"\n{ending}\n')
    python.chmod(0o755)


def test_a_finished_environment_hands_over_to_the_command_at_once(repository: Path) -> None:
    finished_environment(repository)
    out, errors = start(repository, "demo", "--preset", "smoke", MUJOCO_GL="").communicate()
    assert (out, errors) == (" demo --preset smoke\n", "")


def test_run_passes_on_the_command_and_tells_mujoco_what_renders_here(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    finished_environment(repository)
    out, _ = start(repository, "run", "collect", "cell.yaml").communicate()
    assert out == "egl collect cell.yaml\n"


@pytest.mark.parametrize("failing", ["not realtime", "-m realtime", "nothing"])
def test_all_tests_run_in_two_calls_at_once_and_one_that_fails_fails_them_all(repository: Path, failing: str) -> None:
    finished_environment(repository)
    replace_python(repository, f'nice; case "$*" in *"{failing}"*) exit 3;; esac')
    process = start(repository, "test")
    out, _ = process.communicate()
    untimed, its_nice, timed, others_nice = out.splitlines()
    assert " -n " in untimed
    assert " -n " not in timed
    assert int(its_nice) == 19 >= int(others_nice)
    assert process.returncode == (0 if failing == "nothing" else 1)


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_both_calls(repository: Path, interruption: signal.Signals) -> None:
    finished_environment(repository)
    replace_python(repository, "exec sleep 60")
    process = start(repository, "test")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(interruption)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_an_interruption_while_the_calls_start_leaves_none_behind(repository: Path) -> None:
    finished_environment(repository)
    replace_python(repository, "exec sleep 60")
    (repository / "interrupted.py").write_text(INTERRUPTED_AT_EACH_START)
    said = subprocess.run([BARE_PYTHON, "-S", "interrupted.py"], cwd=repository, stdout=subprocess.PIPE, timeout=50)
    last_line = said.stdout.decode().splitlines()[-1]
    calls = [int(pid) for pid in last_line.split()]
    assert len(calls) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in calls)


def test_tests_with_options_run_in_one_call(repository: Path) -> None:
    finished_environment(repository)
    replace_python(repository, "exit 3")
    process = start(repository, "test", "-k", "gate")
    assert process.communicate()[0] == "-m pytest -k gate\n"
    assert process.returncode == 3


def test_a_choice_of_renderer_by_the_user_stands(repository: Path) -> None:
    finished_environment(repository)
    out, _ = start(repository, "run", MUJOCO_GL="osmesa").communicate()
    assert out.strip() == "osmesa"


def test_a_changed_project_file_is_noticed(repository: Path) -> None:
    finished_environment(repository)
    with (repository / "pyproject.toml").open("a") as project:
        project.write("# more\n")
    process = start(repository, "demo")
    assert process.stdout is not None
    assert "Setting up" in process.stdout.readline()
    process.terminate()
    process.communicate()


def test_a_failed_installation_ends_with_one_sentence_and_the_next_try_begins_anew(repository: Path) -> None:
    first = start(repository, "demo")
    out, errors = first.communicate()
    assert first.returncode == 1
    assert "virtual environment" in out
    assert "PyTorch failed: ERROR: No matching distribution found for torch" in errors
    assert len(errors.splitlines()) == 1
    (repository / ".venv" / "left-over").touch()
    start(repository, "demo").communicate()
    assert not (repository / ".venv" / "left-over").exists()


@pytest.mark.parametrize("cut", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_told_in_a_sentence_and_leaves_an_environment_that_is_made_anew(
    repository: Path, cut: signal.Signals
) -> None:
    process = start(repository, "demo")
    stamp = repository / ".venv" / "installed.txt"
    while not (stamp.exists() and stamp.read_text()) and process.poll() is None:  # it exists before it is written
        time.sleep(0.01)
    process.send_signal(cut)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert stamp.read_text() == environment.UNFINISHED


def test_a_second_command_waits_for_the_one_that_is_setting_up(repository: Path) -> None:
    first = start(repository, "demo")
    while not (repository / ".venv" / "installed.txt").exists() and first.poll() is None:
        time.sleep(0.01)
    second = start(repository, "demo")
    assert second.stdout is not None
    assert "waiting" in second.stdout.readline()
    assert first.poll() is None
    first.terminate()
    second.terminate()
    first.communicate()
    second.communicate()


def test_where_nothing_renders_the_command_runs_all_the_same_and_says_what_to_install(repository: Path) -> None:
    finished_environment(repository)
    (repository / ".venv" / "rendering.txt").write_text(environment.NO_RENDERING)
    process = start(repository, "demo", MUJOCO_GL="")
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "apt-get install libegl1 libopengl0 libgl1" in out
    assert out.endswith(" demo\n")


def test_an_old_python_can_read_the_script_that_tells_it_so() -> None:
    ast.parse(Path(environment.__file__).read_text(), feature_version=(3, 7))


def test_without_a_command_the_usage_is_shown(repository: Path) -> None:
    process = start(repository)
    out, _ = process.communicate()
    assert process.returncode == 2
    assert "drift_robot.environment demo" in out


def test_the_package_itself_imports_nothing() -> None:
    import drift_robot

    nodes = ast.walk(ast.parse(Path(drift_robot.__file__).read_text()))
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes)
