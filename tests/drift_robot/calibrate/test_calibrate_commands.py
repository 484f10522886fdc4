"""`drift-robot calibrate` as its user meets it, and what sessions demand of calibrations."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygame
import pytest
from tiny_run import TINY, silently

from calibration import teaching
from calibration.config import CalibrationConfig
from calibration.errors import CalibrationError
from calibration.files import Calibration, Kind, lens_entry, pose_entry, write_calibration
from calibration.guide import Answer, Guide
from calibration.simulated_rig import SimulatedRig
from calibration.workspace import CELL
from data.episode import Episode
from drift_robot.calibrate import session
from drift_robot.calibrate.enforcement import calibration_record, enforced_limits
from drift_robot.calibrate.session import timed_parts
from drift_robot.calibrate.window import GuideWindow
from drift_robot.cli import main
from drift_robot.collect import collect
from drift_robot.config import Config, Picture, load_config
from drift_robot.errors import UserError
from drift_robot.lockstep import LockstepCell, run_episodes
from drift_robot.realtime import supervisor
from drift_robot.run_folder import RunFolder
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig
from hardware.grippers.none import NoGripperConfig
from hardware.poses import Pose, pose_from_vector, rotation_matrix

Run = Callable[..., tuple[int, str, str]]
WRIST = {"wrist": Picture(16, 16)}
WRIST_LATE = {"against_arm_s": 0.034, "camera_configured_s": 0.0, "arm_configured_s": 0.0}


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    terminated = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["drift-robot", "calibrate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, terminated)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cell.yaml"
    path.write_text(f"cell: {{cameras: {{wrist: {{}}}}}}\ncalibration: {{folder: {tmp_path / 'calibrations'}}}\n")
    return path


def calibrated(path: Path, moved_m: float = 0.0) -> None:
    """Write calibrations with the truth of the simulated cell, or off by so much."""
    settings = load_config(path)
    cell = SimulatedRig("wrist", BoardConfig(), ArmLimits(), True, seed=settings.seed, jumps=True)
    camera, folder = cell.true_link_from_camera(), Path(settings.calibration.folder)
    values = {"lens": lens_entry(cell.true_lens()), "lens_std_px": [1.0, 1.0, 1.0, 1.0]}
    lens = Calibration(Kind.INTRINSICS, "wrist", values, {"rms_px": 0.1})
    write_calibration(folder, lens)
    hand_eye = {
        "tcp_from_camera": pose_entry(Pose(camera.position + moved_m, camera.rotation)),
        "base_from_board": pose_entry(cell.true_base_from_board()),
        "base_from_tcp_at_check": pose_entry(cell.arm().base_from_tcp),
        "lens": lens_entry(cell.true_lens()),
        "intrinsics": lens.hash,
    }
    write_calibration(folder, Calibration(Kind.HAND_EYE, "wrist", hand_eye, {"rms_px": 0.2}))


def test_help_names_every_step(run_cli: Run) -> None:
    code, output, _ = run_cli("--help")
    assert code == 0
    steps = ("board", "intrinsics", "hand-eye", "workspace", "latency", "check")
    assert all(step in output for step in steps)
    for step in steps:
        assert run_cli(step, "--help")[0] == 0


def test_the_board_is_written_and_its_size_said(run_cli: Run, config: Path, tmp_path: Path) -> None:
    code, output, _ = run_cli("board", config, "--out", tmp_path / "board.pdf")
    assert code == 0
    assert "252 x 180 mm" in output
    assert (tmp_path / "board.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hand-eye", "CONFIG", "--unattended"), "Camera wrist has no intrinsics calibration"),
        (("check", "CONFIG", "--unattended"), "Camera wrist has no hand-eye calibration"),
        (("intrinsics", "CONFIG", "--camera", "top"), "no camera 'top'; choose one of wrist"),
        (("intrinsics", "CONFIG", "--by-hand", "--unattended"), "leave out --by-hand"),
        (
            ("latency", "CONFIG", "--unattended", "--part", "top"),
            "no part 'top' to be timed; choose one of arm, wrist, gr",
        ),
        (("workspace", "CONFIG", "--by-hand", "--unattended"), "Guiding by hand needs somebody"),
        (("workspace", "CONFIG", "--by-hand"), "leave out --by-hand"),
        (("board", "CONFIG", "--out", "board.doc"), "should end in .pdf or .png"),
    ],
)
def test_mistakes_are_one_sentence(run_cli: Run, config: Path, arguments: tuple[str, ...], words: str) -> None:
    code, _, errors = run_cli(*(config if argument == "CONFIG" else argument for argument in arguments))
    assert code == 2
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_check_says_in_place_or_moved_by_its_exit_code(run_cli: Run, config: Path, tmp_path: Path) -> None:
    calibrated(config)
    code, output, _ = run_cli("check", config, "--unattended")
    assert (code, "is in place" in output) == (0, True)
    assert (tmp_path / "calibrations" / "wrist.check.png").exists()
    calibrated(config, moved_m=0.01)
    code, output, _ = run_cli("check", config, "--unattended")
    assert (code, "has been moved" in output) == (1, True)


def test_latencies_are_measured_written_said_and_noted_in_every_episode(
    run_cli: Run, config: Path, tmp_path: Path
) -> None:
    code, output, _ = run_cli("latency", config, "--unattended", "--part", "arm", "--part", "gripper")
    assert code == 0
    assert "arm command to state:" in output
    assert "gripper command to report:" in output
    folder = tmp_path / "calibrations"
    assert {path.name for path in folder.iterdir()} == {
        f"{part}.latency{end}" for part in ("arm", "gripper") for end in (".yaml", ".motion.png")
    }
    write_calibration(folder, Calibration(Kind.LATENCY, "wrist", WRIST_LATE, {"expected_error_ms": 0.5}))
    settings = replace(TINY, calibration=load_config(config).calibration, cell=replace(TINY.cell, cameras=WRIST))
    noted = calibration_record(settings, "collect")["calibration"]
    assert noted["latency_s"]["camera wrist"] == pytest.approx(0.034)
    assert set(noted["hashes"]) == {"arm latency", "gripper latency", "wrist latency"}


def test_recording_refuses_latencies_that_are_missing_or_poor_where_demanded(config: Path, tmp_path: Path) -> None:
    calibrated(config)
    settings = demanding(tmp_path / "calibrations")
    with pytest.raises(UserError, match=r"no latency calibration of the arm.*calibrate latency"):
        calibration_record(settings, "collect")
    for name, values in (("arm", {}), ("wrist", WRIST_LATE)):
        write_calibration(
            tmp_path / "calibrations", Calibration(Kind.LATENCY, name, values, {"expected_error_ms": 0.5})
        )
    with pytest.raises(UserError, match=r"expected error of 0\.5 ms, more than 0\.1"):
        calibration_record(demanding(tmp_path / "calibrations", max_latency_error_ms=0.1), "collect")


def test_a_real_gripper_may_hold_the_board_so_it_is_moved_last_and_only_before_somebodys_eyes() -> None:
    real = load_config(Path(__file__).resolve().parents[3] / "configs" / "ur5e.yaml")
    parts = ["arm", "front", "wrist", "gripper", "input"]
    assert timed_parts(real, None, attended=True) == parts
    assert timed_parts(real, None, attended=False) == ["arm", "front", "wrist", "input"]
    assert timed_parts(real, ["gripper", "arm"], attended=False) == ["arm", "gripper"]
    assert real.devices is not None
    fixed = replace(real, devices=replace(real.devices, gripper=NoGripperConfig()))
    assert "gripper" not in timed_parts(fixed, None, attended=True)


def test_a_camera_called_as_a_part_of_the_cell_is_refused() -> None:
    named = replace(TINY, cell=replace(TINY.cell, cameras={"arm": Picture(16, 16)}))
    with pytest.raises(UserError, match="A camera is called 'arm'"):
        timed_parts(named, None, attended=True)


def test_a_workspace_is_taught_alone_and_bounds_every_session_from_then_on(
    run_cli: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "PLACES", teaching.PLACES[::2])
    calibrated(config)
    settings = load_config(config)
    assert enforced_limits(settings) == settings.limits
    code, output, _ = run_cli("workspace", config, "--unattended")
    assert code == 0
    assert "rms" in output
    assert "No box was taught" in output
    folder = tmp_path / "calibrations"
    pictures = {path.name for path in folder.glob("cell.workspace.*.png")}
    assert pictures == {"cell.workspace.touches.png", "cell.workspace.wrist.png"}
    taught = enforced_limits(settings).taught
    assert taught is not None
    assert abs(taught.table_offset_m) < 1e-3
    assert taught.table_normal[2] > np.cos(np.radians(0.2))
    assert taught.margin_m == settings.calibration.workspace_margin_m
    assert calibration_record(settings, "collect")["calibration"]["hashes"]["cell workspace"].startswith("sha256:")
    path = folder / "cell.workspace.yaml"
    path.write_text(path.read_text().replace("- 0.04", "- 0.05", 1))
    with pytest.raises(CalibrationError, match="was changed after it was written"):
        enforced_limits(settings)
    said: list[str] = []
    assert session.earlier_workspace(settings, said.append) is None  # so that it can be taught anew
    assert "was changed after it was written" in said[0]


def high_table(folder: Path) -> None:
    """Write a workspace whose table is 10 cm above the simulated one, and leans."""
    values = {
        "base_from_table": pose_entry(Pose(np.array([0.5, 0.0, 0.1]), rotation_matrix(np.array([0.05, 0.0, 0.0])))),
        "tool_points_m": [list(point) for point in ArmLimits().tool_points_m],
    }
    write_calibration(folder, Calibration(Kind.WORKSPACE, CELL, values, {"rms_mm": 0.1}))


def test_a_session_in_lock_step_keeps_to_the_taught_table(tmp_path: Path) -> None:
    settings = replace(TINY, calibration=CalibrationConfig(folder=str(tmp_path)))

    def lowest_m() -> float:
        (log,) = run_episodes([LockstepCell(settings, "collect")], None, [7])
        poses = [pose_from_vector(step.tcp.astype(float)) for step in log.steps]
        normal = rotation_matrix(np.array([0.05, 0.0, 0.0]))[:, 2]
        tool = np.array([(0.0, 0.0, 0.0), *ArmLimits().tool_points_m])
        above = [(pose.position + tool @ pose.rotation.T - [0.5, 0.0, 0.1]) @ normal for pose in poses]
        return float(np.min(above))

    assert lowest_m() < -0.05
    high_table(tmp_path)
    assert lowest_m() > settings.calibration.workspace_margin_m - 1e-3


def test_a_session_in_real_time_is_given_the_taught_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(TINY, calibration=CalibrationConfig(folder=str(tmp_path)))
    high_table(tmp_path)
    begun: list[Config] = []

    class Watch(supervisor.Supervisor):
        def __init__(self, config: Config, *rest: object) -> None:
            begun.append(config)
            raise KeyboardInterrupt  # before any process is started

    monkeypatch.setattr(supervisor, "Supervisor", Watch)
    with pytest.raises(KeyboardInterrupt):
        supervisor.run_session(settings, RunFolder(tmp_path / "run"), "collect", "scripted", False, lambda _: None)
    assert begun[0].limits == enforced_limits(settings)
    assert begun[0].limits.taught is not None


def demanding(folder: Path, **changes: object) -> Config:
    cell = replace(TINY.cell, cameras=WRIST)
    return replace(TINY, cell=cell, calibration=CalibrationConfig(folder=str(folder), enforce=True, **changes))  # type: ignore[arg-type]


def test_recording_refuses_where_demanded_and_says_how_to_go_on_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no intrinsics calibration of camera wrist.*--uncalibrated"):
        collect(demanding(tmp_path / "none"), RunFolder(tmp_path / "run"), silently)
    assert not (tmp_path / "run").exists()


def test_an_override_goes_on_and_is_noted_with_its_reason(tmp_path: Path) -> None:
    said: list[str] = []
    record = calibration_record(demanding(tmp_path, override="only a test"), "adapt", said.append)["calibration"]
    assert record["override"] == "only a test"
    assert "There is no intrinsics calibration" in record["shortcoming"]
    assert "only a test" in said[0]


def test_measuring_is_never_refused(tmp_path: Path) -> None:
    assert "shortcoming" in calibration_record(demanding(tmp_path), "evaluate")["calibration"]


def test_nothing_is_demanded_or_noted_without_being_asked_for(tmp_path: Path) -> None:
    assert calibration_record(replace(TINY, calibration=CalibrationConfig(folder=str(tmp_path))), "collect") == {}


def test_episodes_note_the_hashes_of_their_calibrations(config: Path, tmp_path: Path) -> None:
    calibrated(config)
    settings = replace(TINY, calibration=load_config(config).calibration, collect=replace(TINY.collect, episodes=1))
    collect(settings, RunFolder(tmp_path / "run"), silently)
    (episode,) = (tmp_path / "run" / "demonstrations" / "episodes").glob("*.zarr")
    noted = Episode.open(episode).attributes["calibration"]["hashes"]
    assert set(noted) == {"wrist hand_eye", "wrist intrinsics"}
    assert all(value.startswith("sha256:") for value in noted.values())
    json.dumps(noted)


def test_the_window_shows_a_guide_and_hears_only_what_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SDL_VIDEODRIVER", "dummy")
    guide = Guide("Title", "Do this", score=0.7, missing=("a view from the left",), offers=((Answer.GO, "go"),))
    with GuideWindow((640, 360)) as window:
        assert window.show(guide) is None
        for key, expected in ((pygame.K_s, None), (pygame.K_SPACE, Answer.GO), (pygame.K_ESCAPE, Answer.STOP)):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
            assert window.show(guide) is expected
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert window.show(guide) is Answer.STOP
