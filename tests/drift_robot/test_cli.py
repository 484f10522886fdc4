"""The command line as its user meets it: help, exit codes, and mistakes that are one sentence."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_run import (
    ENDINGS,
    TINY_YAML,
    cli,
    end,
    finished,
    group_is_empty,
    in_shared_memory,
    left_in_shared_memory,
    second_version,
    wait_for,
)

from drift_robot.cli import main
from drift_robot.run_folder import RunFolder

Run = Callable[..., tuple[int, str, str]]
ROBOSUITE = Path(__file__).parents[2] / "configs" / "robosuite.yaml"
COMMANDS = (
    "benchmark",
    "demo",
    "doctor",
    "collect",
    "bootstrap",
    "adapt",
    "train",
    "evaluate",
    "data",
    "replay",
    "calibrate",
    "emulate",
    "fault",
)
DATA_COMMANDS = ("list", "show", "view", "stats", "report", "relabel", "verify", "repair", "discard", "restore")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_YAML)
    return path


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process, which knows the heavy libraries already."""
    terminated = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["drift-robot", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, terminated)


def test_help_teaches_the_workflow_and_names_every_command(run_cli: Run) -> None:
    code, output, _ = run_cli("--help")
    assert code == 0
    assert all(
        f"drift-robot {step} CONFIG --out RUN" in output for step in ("collect", "bootstrap", "evaluate", "adapt")
    )
    assert all(command in output for command in COMMANDS)
    code, output, _ = run_cli("data", "--help")
    assert code == 0
    assert all(command in output for command in DATA_COMMANDS)


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), *(("data", name) for name in DATA_COMMANDS)])
def test_every_command_has_help(run_cli: Run, command: tuple[str, ...]) -> None:
    code, output, errors = run_cli(*command, "--help")
    assert (code, errors) == (0, "")
    assert "Usage" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("collect", "missing.yaml", "--out", "run"), "missing.yaml: cannot be read"),
        (("doctor", "missing.yaml"), "missing.yaml: cannot be read"),
        (("doctor", "CONFIG", "--out", "CONFIG"), "choose another folder with --out"),
        (("bootstrap", "CONFIG", "--out", "RUN"), "run 'drift-robot collect' first"),
        (("bootstrap", "CONFIG", "--out", "CONFIG"), "Not a directory. Give another folder"),
        (("adapt", "CONFIG", "--out", "RUN"), "run 'drift-robot bootstrap' first"),
        (("evaluate", "CONFIG", "--out", "RUN"), "run 'drift-robot bootstrap' first"),
        (("evaluate", "CONFIG", "--out", "RUN", "--version", "7"), "holds no version 7"),
        (("evaluate", "CONFIG", "--out", "RUN", "--compare", "0", "7"), "holds no version 0; there are: none"),
        (("evaluate", "CONFIG", "--out", "RUN", "--version", "1", "--compare", "0", "7"), "leave --version out"),
        (("collect", "ROBOSUITE", "--out", "RUN", "--device", "scripted"), "robosuite_lift runs in lock-step alone"),
        (("adapt", "ROBOSUITE", "--out", "RUN", "--device", "keyboard"), "leave out --device and 'input.device'"),
        (("benchmark", "methods", "--tasks", "robosuite_lift,fold"), "--tasks: 'fold' should be one of lift"),
        (
            ("benchmark", "methods", "--config", "PICTURES", "--tasks", "lift,robosuite_can"),
            "pictures.yaml with --tasks robosuite_can: the task robosuite_can is run without cameras",
        ),
        (("data", "list", "RUN"), "session.json"),
        (("data", "report", "RUN"), "session.json"),
        (("data", "stats", "RUN"), "holds no session"),
        (("data", "repair", "EPISODE"), "is not there; 'drift-robot data list' shows"),
        (("data", "relabel", "RUN", "--steps", "a-b"), "--steps is 'a-b', but should be FIRST-LAST"),
        (("data", "relabel", "RUN", "--undo", "--outcome", "success"), "give it alone"),
        (("replay", "RUN"), "run is not there; 'drift-robot data list' shows"),
        (("emulate", "--host", "192.168.1.10"), "serves loopback addresses only, not 192.168.1.10"),
        (("emulate", "--controller-version", "five"), "'five' is not a controller version"),
        (("fault", "127.3.2.1"), "start one with 'drift-robot emulate --host 127.3.2.1'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    run_cli: Run, config: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    pictures = tmp_path / "pictures.yaml"
    pictures.write_text("cell: {cameras: {front: {}}}")
    places = {"CONFIG": config, "RUN": tmp_path / "run", "ROBOSUITE": ROBOSUITE, "PICTURES": pictures}
    places["EPISODE"] = places["RUN"] / "session" / "episodes" / "000099.zarr"
    code, _, errors = run_cli(*(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert words in errors
    assert len(errors.strip().splitlines()) == 1
    assert errors.startswith("drift-robot: ")


def test_without_robosuite_its_tasks_are_answered_with_how_to_install_it(
    run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "robosuite", None)  # so that an import fails
    code, _, errors = run_cli("collect", ROBOSUITE, "--out", tmp_path / "run")
    assert code == 2
    assert "in an environment of its own: there, pip install torch==2.13.0, then pip install 'drift-robot[rob" in errors
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [("collect",), ("fly",), ("demo", "--preset", "huge"), ("demo", "--sed", "1")])
def test_a_wrong_argument_is_explained_without_a_traceback(run_cli: Run, arguments: tuple[str, ...]) -> None:
    code, _, errors = run_cli(*arguments)
    assert code == 2
    assert "Traceback" not in errors
    assert "Error" in errors


def test_a_session_can_be_listed_shown_and_verified(run_cli: Run, demonstrated: RunFolder) -> None:
    session = demonstrated.demonstrations
    code, output, _ = run_cli("data", "list", session)
    assert code == 0
    assert output.count("success") >= 4
    code, output, _ = run_cli("data", "show", session / "episodes" / "000000.zarr")
    assert code == 0
    assert "success" in output
    assert run_cli("data", "verify", session)[0] == 0


def test_a_session_with_damage_is_exit_code_1_and_the_damage_is_named(run_cli: Run, run: RunFolder) -> None:
    chunk = next((run.demonstrations / "episodes" / "000001.zarr" / "owner").glob("c*"))
    chunk.write_bytes(b"x")
    code, output, _ = run_cli("data", "verify", run.demonstrations)
    assert code == 1
    assert "000001.zarr" in output


def test_labels_are_corrected_shown_and_taken_back(run_cli: Run, run: RunFolder) -> None:
    episode = run.demonstrations / "episodes" / "000001.zarr"
    why = ("--by", "Ada", "--because", "it slipped")
    code, output, _ = run_cli("data", "relabel", episode, "--steps", "3-5", "--owner", "transition", *why)
    assert code == 0
    assert "steps 3 to 5 transition, by Ada" in output
    assert run_cli("data", "relabel", episode, "--outcome", "failure", "--by", "Ada")[0] == 0
    output = " ".join(run_cli("data", "show", episode)[1].split())
    assert "it slipped" in output
    assert "success to failure, by Ada" in output
    assert "transition steps 3 to 5" in output
    assert run_cli("data", "verify", run.demonstrations)[0] == 0
    assert "Taken back: success to failure" in run_cli("data", "relabel", episode, "--undo")[1]
    assert '"relabelled": 1' in run_cli("data", "stats", run.path, "--json")[1]


@pytest.mark.slow
def test_the_steps_by_hand_each_say_the_next(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for command, following in (("collect", "bootstrap"), ("bootstrap", "adapt"), ("evaluate", None)):
        code, output, errors = finished(cli(command, config, "--out", out))
        assert (code, errors) == (0, "")
        if following is not None:
            assert f"Next: drift-robot {following} {config} --out {out}" in output.replace("\n", " ").replace("  ", " ")
    assert "Version 0: success" in output


@pytest.mark.parametrize("options", [[], ["--device", "gamepad", "--no-window"]])
def test_an_overlay_without_a_window_is_refused(run_cli: Run, config: Path, tmp_path: Path, options: list[str]) -> None:
    code, _, errors = run_cli("adapt", config, "--out", tmp_path / "run", "--overlay", tmp_path, *options)
    assert code == 2
    assert "The overlay is shown by the operator window" in errors


def test_an_overlay_that_is_no_episode_is_refused(run_cli: Run, config: Path, tmp_path: Path) -> None:
    overlay = ["--overlay", tmp_path / "nothing", "--device", "gamepad"]
    code, _, errors = run_cli("collect", config, "--out", tmp_path / "run", *overlay)
    assert code == 2
    assert str(tmp_path / "nothing") in errors.replace("\n", "")


@pytest.mark.slow
def test_a_session_that_cannot_start_ends_with_the_reason_and_exit_code_1(
    run_cli: Run, config: Path, tmp_path: Path
) -> None:
    code, output, _ = run_cli("collect", config, "--out", tmp_path / "run", "--device", "gamepad", "--no-window")
    assert code == 1
    assert output.count("No gamepad is plugged in: plug one in, or choose the keyboard.") == 1
    assert "started again" not in output


@pytest.mark.slow
@ENDINGS
def test_an_evaluation_that_is_stopped_leaves_no_process_and_no_shared_memory(
    config: Path, run: RunFolder, order: signal.Signals
) -> None:
    before = in_shared_memory()
    process = cli("evaluate", config, "--out", run.path, "--episodes", "50")
    wait_for(lambda: children(process.pid) >= 2)
    end(process, order)
    code, _, errors = finished(process)
    if order in (signal.SIGINT, signal.SIGTERM):  # after the others nobody is there to read
        assert "Traceback" not in errors
    assert code == (-signal.SIGKILL if order is signal.SIGKILL else 130)
    wait_for(lambda: group_is_empty(process.pid))
    assert not left_in_shared_memory(before)


def children(pid: int) -> int:
    """Return how many processes a process has started that still run."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            count += int(status.read_text().rpartition(")")[2].split()[1]) == pid
        except OSError:
            continue
    return count


def test_a_version_that_was_rolled_back_is_not_evaluated_either(run_cli: Run, config: Path, run: RunFolder) -> None:
    second_version(run)
    run.versions().quarantine(1)
    code, _, errors = run_cli("evaluate", config, "--out", run.path, "--version", "1")
    assert (code, "Version 1 is barred and never acts again" in errors) == (2, True)


def test_a_picture_is_a_png_whatever_it_is_called(run_cli: Run, run: RunFolder, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    assert run_cli("data", "stats", run.demonstrations, "--picture", picture)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
