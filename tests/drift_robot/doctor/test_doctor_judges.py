"""What is made of measured numbers: every judge, on either side of each of its bounds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from drift_robot.doctor import cameras, machine, policy, rendering, robot
from drift_robot.doctor.findings import Finding, Level, fit_for_a_session, note, ok, problem, warning
from drift_robot.doctor.input import judge_rest, judge_tried
from hardware.arms.limits import ArmLimits
from hardware.cameras.config import RealSenseConfig
from hardware.cameras.health import FrameCounts
from hardware.cameras.realsense import CameraInfo
from hardware.cell.rendering import Backend
from hardware.grippers.robotiq import RobotiqConfig
from hardware.input_devices.mapping import XBOX
from hardware.poses import Pose, rotation_matrix

OK, NOTE, WARNING, PROBLEM = Level.OK, Level.NOTE, Level.WARNING, Level.PROBLEM
DOWN = rotation_matrix(np.array([np.pi, 0.0, 0.0]))
LIMITS = ArmLimits()
GOOD_LATENESS = np.full(500, 1e-5)
PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def at(x: float, y: float, z: float) -> Pose:
    return Pose(np.array([x, y, z]), DOWN)


def judged(finding: Finding, level: Level, words: str) -> None:
    assert finding.level is level
    assert words in f"{finding.found} {finding.advice}"
    assert finding.advice or level in (OK, NOTE), "what is wrong comes with what to do"


def test_only_a_problem_stops_a_session() -> None:
    assert fit_for_a_session([ok("a", "b"), note("a", "b"), warning("a", "b", "c")])
    assert not fit_for_a_session([ok("a", "b"), problem("a", "b", "c")])


@pytest.mark.parametrize(
    ("version", "level", "words"),
    [
        ((5, 12, 0), OK, "PolyScope 5.12.0"),
        ((5, 4, 3), WARNING, "Update it to 5.5"),
        ((3, 15, 8), OK, "PolyScope 3.15.8"),
        ((3, 11, 0), WARNING, "Update it to 3.12"),
        ((10, 10, 0), OK, "PolyScope X 10.10.0"),
    ],
)
def test_old_robot_software(version: tuple[int, int, int], level: Level, words: str) -> None:
    judged(robot.judge_version(version), level, words)


@pytest.mark.parametrize(("trips_s", "level"), [([0.001, 0.001, 0.05], OK), ([0.02, 0.03, 0.02], WARNING)])
def test_slow_network_to_the_robot(trips_s: Sequence[float], level: Level) -> None:
    judged(robot.judge_round_trips(trips_s), level, "round trip")


@pytest.mark.parametrize(
    ("stream", "level", "words"),
    [
        (robot.Stream(1000, 0, 500.0, 0.004), OK, "500 of 500"),
        (robot.Stream(1000, 5, 500.0, 0.004), OK, "5 missing"),
        (robot.Stream(980, 20, 490.0, 0.004), WARNING, "20 missing"),
        (robot.Stream(1000, 0, 500.0, 0.015), WARNING, "gap 15 ms"),
        (robot.Stream(1000, 0, 500.0, 0.021), PROBLEM, "lost after 20 ms"),
        (robot.Stream(0, 0, 0.0, 2.0), PROBLEM, "sends no data"),
    ],
)
def test_lost_and_late_packages(stream: robot.Stream, level: Level, words: str) -> None:
    judged(robot.judge_stream(stream, 500.0, 0.02), level, words)


@pytest.mark.parametrize(
    ("remote", "version", "level", "words"),
    [
        (True, (5, 12, 0), OK, "on (UR5e"),
        (True, (3, 15, 0), OK, "always on"),
        (False, (5, 12, 0), PROBLEM, "local control"),
    ],
)
def test_local_control(remote: bool, version: tuple[int, int, int], level: Level, words: str) -> None:
    judged(robot.judge_remote_control(remote, version, "UR5e"), level, words)


@pytest.mark.parametrize(
    ("bits", "mode", "level", "words"),
    [
        (1 << 0, 7, OK, "safety normal"),
        (1 << 0 | 1 << 1, 7, NOTE, "reduced mode"),
        (1 << 2 | 1 << 10, 7, PROBLEM, "a protective stop"),
        (1 << 3, 7, PROBLEM, "recovery mode"),
        (1 << 4 | 1 << 10, 7, PROBLEM, "a safeguard stop"),
        (1 << 5 | 1 << 7, 7, PROBLEM, "emergency stop of the system"),
        (1 << 6 | 1 << 7 | 1 << 10, 3, PROBLEM, "emergency stop at the robot"),
        (1 << 8, 7, PROBLEM, "safety violation"),
        (1 << 9, 7, PROBLEM, "safety fault"),
        (1 << 0, 3, PROBLEM, "powered off"),
        (1 << 0, 5, PROBLEM, "idle"),
        (1 << 0, 42, PROBLEM, "mode 42"),
    ],
)
def test_safety_states_and_robot_modes(bits: int, mode: int, level: Level, words: str) -> None:
    judged(robot.judge_safety(bits, mode), level, words)


@pytest.mark.parametrize(
    ("configured", "reported", "level", "words"),
    [
        ((0, 0, 0.15, 0, 0, 0), (0, 0, 0.1505, 0, 0, 0), OK, "(0, 0, 150) mm"),
        ((0, 0, 0.15, 0, 0, 0), (0, 0, 0, 0, 0, 0), NOTE, "a session sets it"),
        ((0, 0, 0.15, 0, 0, 0), (0, 0, 0.17, 0, 0, 0), WARNING, "(0, 0, 170) mm at the robot"),
        ((0, 0, 0.15, 0, 0, 0), (0, 0, 0.15, 0, 0, 1.57), WARNING, "turned by 1.57 rad"),
        ((0, 0, 0, 0, 0, 0), (0, 0, 0.15, 0, 0, 0), WARNING, "devices.arm.flange_from_tcp"),
    ],
)
def test_a_tool_that_differs(configured: Sequence[float], reported: Sequence[float], level: Level, words: str) -> None:
    judged(robot.judge_tool(configured, reported), level, words)


@pytest.mark.parametrize(
    ("configured", "reported", "level"), [(0.9, 0.92, OK), (0.9, 0.0, NOTE), (0.9, 2.0, WARNING), (0.0, 0.9, WARNING)]
)
def test_a_payload_that_differs(configured: float, reported: float, level: Level) -> None:
    judged(robot.judge_payload(configured, reported), level, f"{configured:g} kg")


@pytest.mark.parametrize(
    ("pose", "level", "words"),
    [
        (at(0.5, 0.0, 0.3), OK, "inside"),
        (at(0.1, 0.0, 0.3), WARNING, "50 mm below in x"),
        (at(0.5, 0.6, 0.7), WARNING, "100 mm above in y, 100 mm above in z"),
        (at(0.5, 0.0, 0.005), WARNING, "below in z"),  # the finger tips would be in the table
    ],
)
def test_an_arm_outside_the_workspace(pose: Pose, level: Level, words: str) -> None:
    judged(robot.judge_pose(pose, LIMITS), level, words)


def test_a_start_outside_the_workspace_stops_a_session() -> None:
    judged(robot.judge_start(at(0.5, 0.0, 0.3), LIMITS), OK, "inside")
    judged(robot.judge_start(at(0.9, 0.0, 0.3), LIMITS), PROBLEM, "100 mm above in x")


@pytest.mark.parametrize(("force_n", "level"), [(3.0, OK), (45.0, WARNING), (90.0, PROBLEM)])
def test_a_force_at_rest(force_n: float, level: Level) -> None:
    judged(robot.judge_force(force_n, 80.0), level, f"{force_n:.0f} N")


@pytest.mark.parametrize(
    ("registers", "level", "words"),
    [
        ({"STA": "3", "FLT": "0", "POS": "3"}, OK, "100 % open"),
        ({"STA": "0", "FLT": "0", "POS": "3"}, NOTE, "not activated"),
        ({"STA": "3", "FLT": "9", "POS": "3"}, PROBLEM, "fault 9"),
        ({"STA": "?", "FLT": "?", "POS": "?"}, PROBLEM, "without power"),
    ],
)
def test_the_gripper(registers: dict[str, str], level: Level, words: str) -> None:
    judged(robot.judge_robotiq(registers, RobotiqConfig()), level, words)


def test_a_gripper_on_an_output_that_is_not_in_use() -> None:
    judged(robot.judge_output(3, True), OK, "output 3")
    judged(robot.judge_output(3, False), PROBLEM, "digital_outputs")


@pytest.mark.parametrize(
    ("good", "other", "level", "words"),
    [
        (60, {}, OK, "30.0 of 30 frames a second, none lost"),
        (50, {}, WARNING, "25.0 of 30"),
        (15, {}, PROBLEM, "the policy needs 10"),
        (60, {"dropped": 2}, WARNING, "2 dropped"),
        (60, {"repeated": 4}, WARNING, "4 repeated"),
        (60, {"out_of_order": 4}, WARNING, "4 out of order"),
        (60, {"restarts": 1}, WARNING, "1 restarts"),
    ],
)
def test_frames_that_are_lost(good: int, other: dict[str, int], level: Level, words: str) -> None:
    judged(cameras.judge_frames("camera", 2.0, FrameCounts(good, **other), 30, 10.0), level, words)


@pytest.mark.parametrize(
    ("image", "level", "words"),
    [
        (PICTURE, OK, "contrast"),
        (np.full((48, 64, 3), 3, np.uint8), WARNING, "dark"),
        (np.full((48, 64, 3), 255, np.uint8), WARNING, "overexposed"),
        (np.full((48, 64, 3), (0, 120, 60), np.uint8), WARNING, "shows nothing"),
        (PICTURE // 20, WARNING, "dark"),
    ],
)
def test_pictures_that_show_nothing(image: np.ndarray, level: Level, words: str) -> None:
    judged(cameras.judge_picture("camera", image), level, words)


def info(serial: str, usb: str = "3.2") -> CameraInfo:
    return CameraInfo(serial, "D435", "5.16.0.1", usb)


FRONT, WRIST = RealSenseConfig("1"), RealSenseConfig("2")


@pytest.mark.parametrize(
    ("wanted", "connected", "levels", "words"),
    [
        ({"front": FRONT, "wrist": WRIST}, [info("1"), info("2")], [OK, OK], "USB 3.2"),
        ({"front": FRONT}, [info("7")], [PROBLEM], "1 is not connected; connected: 7 (D435)"),
        ({"front": FRONT, "wrist": WRIST}, [info("1"), info("7")], [OK, PROBLEM], "connected: 7 (D435)"),
        ({"front": FRONT}, [], [PROBLEM], "connected: no other"),
        ({"front": FRONT, "wrist": FRONT}, [info("1")], [PROBLEM, PROBLEM], "more than one"),
        ({"front": FRONT}, [info("1", "2.1")], [NOTE], "USB 2.1"),
        ({"front": FRONT, "wrist": WRIST}, [info("1", "2.1"), info("2", "2.1")], [WARNING, WARNING], "37 MB/s"),
        ({"front": FRONT, "wrist": WRIST}, [info("1", "2.1"), info("2")], [NOTE, OK], "USB 2.1"),
    ],
)
def test_connected_cameras_against_configured_ones(
    wanted: dict[str, RealSenseConfig], connected: list[CameraInfo], levels: list[Level], words: str
) -> None:
    findings = cameras.judge_bus(wanted, connected)
    assert [finding.level for finding in findings] == levels
    assert [finding.subject for finding in findings] == [f"camera {name}" for name in wanted]
    assert any(words in finding.found for finding in findings)


@pytest.mark.parametrize(
    ("found", "needed", "levels", "words"),
    [
        ({"ur_rtde": "1.6.5", "pyrealsense2": "2.59", "robosuite": "1.5.2"}, True, [OK, OK, OK], ""),
        ({}, True, [PROBLEM, PROBLEM, PROBLEM], "drift-robot[ur]"),
        ({}, True, [PROBLEM, PROBLEM, PROBLEM], "drift-robot[robosuite]"),
        ({}, False, [], ""),
        ({"pygame": "2.6"}, False, [WARNING], "pip uninstall"),
    ],
)
def test_missing_and_clashing_packages(found: dict[str, str], needed: bool, levels: list[Level], words: str) -> None:
    names = ("ur_rtde", "pyrealsense2", "robosuite")
    all_found = dict.fromkeys((*names, "pygame")) | found
    findings = machine.judge_packages(all_found, dict.fromkeys(names, needed))
    assert [finding.level for finding in findings] == levels
    assert not words or any(words in finding.advice for finding in findings)


def test_real_time_scheduling_that_is_not_allowed_comes_with_the_lines_for_it() -> None:
    judged(machine.judge_real_time(True, "ann"), OK, "SCHED_FIFO")
    judged(machine.judge_real_time(False, "ann"), WARNING, "'ann hard rtprio 50' to /etc/security/limits.conf")


@pytest.mark.parametrize(
    ("resolution_s", "late_s", "level"),
    [
        (1e-9, GOOD_LATENESS, OK),
        (1e-3, GOOD_LATENESS, WARNING),
        (1e-9, np.full(500, 2e-3), WARNING),
        (1e-9, np.where(np.arange(500) % 50 == 0, 5e-3, 1e-5), WARNING),
    ],
)
def test_a_clock_that_is_late(resolution_s: float, late_s: np.ndarray, level: Level) -> None:
    judged(machine.judge_clock(resolution_s, late_s, True), level, "p99")


@pytest.mark.parametrize(("cores", "load", "level"), [(8, 1.0, OK), (2, 0.5, WARNING), (8, 6.0, WARNING)])
def test_few_and_busy_cores(cores: int, load: float, level: Level) -> None:
    judged(machine.judge_cores(cores, load), level, f"{cores} cores")


@pytest.mark.parametrize(("free", "level"), [(100 << 20, OK), (30 << 20, PROBLEM)])
def test_too_little_shared_memory(free: int, level: Level) -> None:
    judged(machine.judge_shared_memory(free, 40 << 20), level, "MB free")


@pytest.mark.parametrize(
    ("free", "speed", "level", "words"),
    [
        (100e9, 200e6, OK, "5.6 hours"),
        (20e9, 200e6, WARNING, "1.1 hours"),
        (1e9, 200e6, PROBLEM, "3 minutes"),
        (100e9, 10e6, WARNING, "slow"),
        (100e9, 3e6, PROBLEM, "too slow"),
    ],
)
def test_a_full_or_slow_disk(free: float, speed: float, level: Level, words: str) -> None:
    judged(machine.judge_disk(machine.Disk(int(free), speed), Path("run"), 5e6), level, words)


@pytest.mark.parametrize(("there", "needed", "level"), [(True, True, OK), (False, False, NOTE), (False, True, PROBLEM)])
def test_no_screen(there: bool, needed: bool, level: Level) -> None:
    assert machine.judge_display(there, needed).level is level


@pytest.mark.parametrize(
    ("taken_s", "steps", "level"),
    [(0.09, 1, OK), (0.11, 1, WARNING), (0.11, 2, OK), (0.09, 0, OK), (1.7, 1, PROBLEM)],
)
def test_a_policy_that_is_too_slow(taken_s: float, steps: int, level: Level) -> None:
    judged(policy.judge_chunk(taken_s, 0.1, steps, 16, torch.device("cpu")), level, f"{1e3 * taken_s:.0f} ms")


def test_a_gpu_that_torch_cannot_use() -> None:
    judged(policy.judge_missing_gpu(False, "2.13"), NOTE, "none")
    judged(policy.judge_missing_gpu(True, "2.13+cpu"), WARNING, "2.13+cpu")


@pytest.mark.parametrize(
    ("backend", "taken_s", "level"),
    [(Backend.EGL, 0.004, OK), (Backend.OSMESA, 0.05, WARNING), (Backend.RAYCAST, 0.02, WARNING)],
)
def test_slow_rendering(backend: Backend, taken_s: float, level: Level) -> None:
    judged(rendering.judge_rendering(backend, "install libegl1", taken_s), level, backend.value)


@pytest.mark.parametrize(
    ("resting", "level", "words"),
    [
        ({"left_x": 0.05, "a": 0.0}, OK, "at rest"),
        ({"left_x": -0.2}, WARNING, "Left stick ↔ at -0.20"),
        ({"left_x": -0.2}, WARNING, "dead_zone to 0.25"),
        ({"a": 1.0}, WARNING, "pressed at rest: A"),
    ],
)
def test_a_device_that_drifts(resting: dict[str, float], level: Level, words: str) -> None:
    judged(judge_rest("gamepad", XBOX, resting), level, words)


@pytest.mark.parametrize(
    ("missing", "level", "words"),
    [
        (set(), OK, "all 6 axes and 13 buttons"),
        ({"left_x", "b"}, WARNING, "never seen: Left stick ↔, B"),
        ({"right_shoulder"}, PROBLEM, "could not take over"),
        ({*XBOX.motions, *XBOX.buttons}, PROBLEM, "0 of 19"),
    ],
)
def test_controls_that_were_never_seen(missing: set[str], level: Level, words: str) -> None:
    judged(judge_tried(XBOX, {*XBOX.motions, *XBOX.buttons}, missing), level, words)
