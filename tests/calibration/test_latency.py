"""Whole measurements of latencies in the simulated cell, where everything is late by a known time."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from calibration import guide
from calibration.board import Board
from calibration.errors import NotGoodEnoughError
from calibration.guide import Answer, Guide, StoppedError, conduct, unattended
from calibration.late_rig import Lateness, LateRig
from calibration.latency import calibrate_arm_latency, calibrate_camera_latency, calibrate_gripper_latency
from calibration.sway import REACH_M, SWAY_S, offset_m
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig

BOARD = Board(BoardConfig())
OTHER_BOARD = Board(BoardConfig(dictionary="6X6_250"))
GOAL_S = 0.005
LATE = Lateness(camera_s=0.0473, arm_state_s=0.0131, arm_command_s=0.0217, gripper_command_s=0.033)


@contextmanager
def rig(camera: str, late: Lateness | None = None, limits: ArmLimits | None = None) -> Iterator[LateRig]:
    opened = LateRig(camera, BoardConfig(), limits or ArmLimits(), camera == "wrist", late=late, seed=3)
    with closing(opened):
        yield opened


def nobody() -> Callable[[Guide], Answer | None]:
    return unattended(lambda sentence: None)


def test_the_motion_is_slow_small_and_begins_and_ends_at_rest() -> None:
    times_s = np.arange(-0.1, SWAY_S + 0.1, 0.01)
    path = np.array([offset_m(time_s) for time_s in times_s.tolist()])
    speeds = np.linalg.norm(np.diff(path, axis=0), axis=1) / 0.01
    assert (np.abs(path) <= REACH_M).all()
    assert 0.05 < speeds.max() < 0.12
    assert np.linalg.norm(np.diff(path, 2, axis=0), axis=1).max() / 0.01**2 < 2.0
    np.testing.assert_allclose(path[[0, 10, -1]], 0.0, atol=1e-9)


def test_a_camera_is_timed_against_the_arm_and_against_a_screen() -> None:
    with rig("wrist", LATE) as cell:
        result = conduct(calibrate_camera_latency(cell, "wrist", BOARD, (0.0, 0.0), "1", 0.0), nobody())
    values, residuals = result.calibration.values, result.calibration.residuals
    assert abs(values["against_arm_s"] - (LATE.camera_s - LATE.arm_state_s)) < GOAL_S
    assert abs(values["shown_s"] - LATE.camera_s) < GOAL_S
    assert residuals["expected_error_ms"] < 5.0
    assert result.calibration.views["numbers_read"] > 80
    assert result.calibration.devices == {"camera": "simulated-wrist", "arm": "simulated"}
    assert set(result.pictures) == {"motion", "screen"}
    assert all(image.ndim == 3 and image.std() > 5 for image in result.pictures.values())


def test_a_camera_on_the_arm_needs_no_board() -> None:
    with rig("wrist", LATE) as cell:
        result = conduct(calibrate_camera_latency(cell, "wrist", OTHER_BOARD, (0.0, 0.0), "1"), nobody())
    assert abs(result.calibration.values["against_arm_s"] - (LATE.camera_s - LATE.arm_state_s)) < GOAL_S
    assert "shown_s" not in result.calibration.values


def test_a_camera_that_stands_still_sees_the_board_in_the_gripper() -> None:
    with rig("front", replace(LATE, camera_s=0.12)) as cell:
        result = conduct(calibrate_camera_latency(cell, "front", BOARD, (0.0, 0.0), "1"), nobody())
    assert abs(result.calibration.values["against_arm_s"] - (0.12 - LATE.arm_state_s)) < GOAL_S


def test_a_camera_that_stands_still_waits_for_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "PATIENCE_TURNS", 2)
    with rig("front") as cell, pytest.raises(NotGoodEnoughError, match=r"does not see the board.*Fix the board"):
        conduct(calibrate_camera_latency(cell, "front", OTHER_BOARD, (0.0, 0.0), "1"), nobody())


def test_the_way_to_the_arm_and_back_is_as_much_longer_as_it_was_made() -> None:
    found = []
    for late in (Lateness(), LATE):
        with rig("wrist", late) as cell:
            found.append(conduct(calibrate_arm_latency(cell, 0.0, "1"), nobody()).calibration.values)
    longer_s = found[1]["command_to_state_s"] - found[0]["command_to_state_s"]
    assert 0.01 < found[0]["command_to_state_s"] < 0.05
    assert abs(longer_s - LATE.arm_state_s - LATE.arm_command_s) < GOAL_S


def test_the_gripper_is_as_much_later_as_it_was_made() -> None:
    found = []
    for late in (Lateness(), LATE):
        with rig("wrist", late) as cell:
            found.append(conduct(calibrate_gripper_latency(cell, "1"), nobody()).calibration.values)
    assert abs(found[1]["command_to_report_s"] - found[0]["command_to_report_s"] - LATE.gripper_command_s) < GOAL_S


def test_nothing_moves_before_the_operator_agrees() -> None:
    with rig("wrist") as cell:
        before = cell.arm().base_from_tcp.position
        turns = 0

        def watcher(guide: Guide) -> Answer | None:
            nonlocal turns
            turns += 1
            return Answer.STOP if turns > 10 else None

        with pytest.raises(StoppedError):
            conduct(calibrate_arm_latency(cell, 0.0, "1"), watcher)
        np.testing.assert_allclose(cell.arm().base_from_tcp.position, before, atol=2e-3)


def test_an_arm_without_room_is_told_to_be_taken_away() -> None:
    low = ArmLimits(workspace_max_m=(0.8, 0.5, 0.28))
    with rig("wrist", limits=low) as cell, pytest.raises(NotGoodEnoughError, match="needs 11 mm to all sides"):
        conduct(calibrate_arm_latency(cell, 0.0, "1"), nobody())
