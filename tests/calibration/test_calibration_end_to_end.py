"""Whole calibrations in the simulated cell, drawn pictures and noisy arm included, against its truth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibration import guide, procedures
from calibration.board import Board
from calibration.errors import CalibrationError, NotGoodEnoughError
from calibration.files import Calibration, Kind, lens_entry, lens_of, pose_entry, pose_of
from calibration.guide import Answer, Guide, StoppedError, conduct, unattended
from calibration.hand_eye import difference
from calibration.intrinsics import largest_difference
from calibration.procedures import calibrate_hand_eye, calibrate_intrinsics, check_camera
from calibration.rig import SLOW_M_S
from calibration.simulated_rig import Imperfections, SimulatedRig
from hardware.arms.limits import ArmLimits
from hardware.board import BoardConfig
from hardware.errors import DeviceError
from hardware.poses import Pose, rotation_matrix

BOARD = Board(BoardConfig())
LINKS = {"wrist": "tcp", "front": "base"}


def rig(camera: str, **options: Any) -> SimulatedRig:
    return SimulatedRig(camera, BoardConfig(), ArmLimits(), camera == "wrist", **{"jumps": True, **options})


def nobody() -> Callable[[Guide], Answer | None]:
    return unattended(lambda sentence: None)


def shifted(cell: SimulatedRig, x: float, y: float, z: float) -> Pose:
    here = cell.arm().base_from_tcp
    return Pose(here.position + np.array([x, y, z]), here.rotation)


def true_intrinsics(cell: SimulatedRig, camera: str) -> Calibration:
    values = {"lens": lens_entry(cell.true_lens()), "lens_std_px": [1.0, 1.0, 1.0, 1.0]}
    return Calibration(Kind.INTRINSICS, camera, values, {"rms_px": 0.1})


def true_hand_eye(cell: SimulatedRig, camera: str, moved: Pose | None = None) -> Calibration:
    link, other = ("tcp", "base") if camera == "wrist" else ("base", "tcp")
    place = cell.true_link_from_camera()
    board = cell.scene.tcp_from_board() if cell.scene.held else cell.true_base_from_board()
    values = {
        f"{link}_from_camera": pose_entry(place @ moved if moved else place),
        f"{other}_from_board": pose_entry(board),
        procedures.CHECK_POSE: pose_entry(cell.arm().base_from_tcp),
        "lens": lens_entry(cell.true_lens()),
        "intrinsics": true_intrinsics(cell, camera).hash,
    }
    return Calibration(Kind.HAND_EYE, camera, values, {"rms_px": 0.2})


def test_a_lens_is_found_by_the_arm_alone_and_compared_with_the_factorys() -> None:
    cell = rig("wrist")
    result = conduct(calibrate_intrinsics(cell, "wrist", BOARD, "1"), nobody())
    assert largest_difference(lens_of(result.calibration), cell.true_lens()) < 2.0
    assert abs(lens_of(result.calibration).fx / cell.true_lens().fx - 1.0) < 0.005
    assert result.calibration.residuals["rms_px"] < 0.15
    assert 0.3 < result.calibration.residuals["factory_difference_px"] < 4.0
    assert result.calibration.devices == {"camera": "simulated-wrist"}
    assert {name: image.ndim for name, image in result.pictures.items()} == dict.fromkeys(
        ("views", "coverage", "residuals"), 3
    )


@pytest.mark.parametrize("camera", ["wrist", "front"])
def test_a_camera_is_found_within_the_goal_on_the_arm_and_before_it(camera: str) -> None:
    cell = rig(camera)
    result = conduct(calibrate_hand_eye(cell, camera, BOARD, true_intrinsics(cell, camera), "1"), nobody())
    found = pose_of(result.calibration, f"{LINKS[camera]}_from_camera")
    off_m, off_rad = difference(found, cell.true_link_from_camera())
    assert off_m < 0.5e-3
    assert off_rad < np.radians(0.1)
    assert result.calibration.residuals["rms_px"] < 0.5
    checked = conduct(check_camera(cell, camera, BOARD, result.calibration), nobody())
    assert checked.moved_px < 1.0


@pytest.mark.parametrize("camera", ["wrist", "front"])
@pytest.mark.parametrize(
    ("moved", "more_than_px"),
    [
        (None, 0.0),
        (Pose(np.zeros(3), rotation_matrix(np.array([0.0, np.radians(0.6), 0.0]))), 2.0),
        (Pose(np.array([0.01, 0.0, 0.0]), np.eye(3)), 2.0),
    ],
)
def test_a_check_tells_a_moved_camera_from_one_in_place(camera: str, moved: Pose | None, more_than_px: float) -> None:
    cell = rig(camera)
    hand_eye = true_hand_eye(cell, camera, moved)
    checked = conduct(check_camera(cell, camera, BOARD, hand_eye), nobody())
    if moved is None:
        assert checked.moved_px < 1.0
        assert "is in place" in checked.sentence(hand_eye, 2.0)
    else:
        assert checked.moved_px > more_than_px
        assert "has been moved" in checked.sentence(hand_eye, 2.0)


def test_a_check_drives_to_where_it_saw_the_board_once_it_may() -> None:
    cell = rig("wrist")
    hand_eye = true_hand_eye(cell, "wrist")
    cell.go(shifted(cell, -0.1, 0.42, 0.1))
    answers: list[str] = []

    def somebody(guide: Guide) -> Answer | None:
        answers.extend(words for answer, words in guide.offers if answer is Answer.GO)
        return Answer.GO if guide.offers else None

    assert conduct(check_camera(cell, "wrist", BOARD, hand_eye), somebody).moved_px < 1.0
    assert answers == ["start: the arm moves"]


def test_another_picture_size_than_calibrated_is_refused() -> None:
    cell = rig("wrist")
    hand_eye = true_hand_eye(cell, "wrist")
    lens = replace(cell.true_lens(), width=1280, height=720)
    other = replace(hand_eye, values={**hand_eye.values, "lens": lens_entry(lens)})
    with pytest.raises(CalibrationError, match="gives 640x480 pictures, but its lens was calibrated at 1280x720"):
        conduct(check_camera(cell, "wrist", BOARD, other), nobody())


def test_a_board_that_is_not_seen_ends_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "PATIENCE_TURNS", 3)
    other = Board(BoardConfig(dictionary="6X6_250"))
    with pytest.raises(NotGoodEnoughError, match=r"does not see the board.*Lay the board flat"):
        conduct(calibrate_intrinsics(rig("wrist"), "wrist", other, "1"), nobody())


def test_nothing_moves_before_the_operator_agrees() -> None:
    cell = rig("wrist", jumps=False)
    before = cell.arm().base_from_tcp
    turns = 0

    def watcher(guide: Guide) -> Answer | None:
        nonlocal turns
        turns += 1
        return Answer.STOP if turns > 20 else None

    with pytest.raises(StoppedError):
        conduct(calibrate_intrinsics(cell, "wrist", BOARD, "1"), watcher)
    np.testing.assert_allclose(cell.arm().base_from_tcp.position, before.position, atol=1e-3)


def test_the_arm_drives_slowly_and_arrives() -> None:
    cell = rig("wrist", jumps=False, imperfections=Imperfections(0.0, 0.0, 0.0))
    goal = shifted(cell, 0.03, 0.04, -0.02)
    cell.go(goal)
    places = [cell.arm().base_from_tcp.position]
    while not cell.arrived:
        cell.turn()
        places.append(cell.arm().base_from_tcp.position)
        assert len(places) < 100
    speeds = np.linalg.norm(np.diff(places, axis=0), axis=1) / 0.05
    assert 0.5 * SLOW_M_S < speeds.max() < 1.1 * SLOW_M_S
    for _ in range(10):
        cell.turn()
    np.testing.assert_allclose(cell.arm().base_from_tcp.position, goal.position, atol=1e-3)


def test_an_arm_that_touches_something_stops_with_a_sentence() -> None:
    cell = SimulatedRig("wrist", BoardConfig(), ArmLimits(table_height_m=-0.1, workspace_min_m=(0.1, -0.5, -0.1)), True)
    cell.go(Pose(np.array([0.6, -0.3, -0.05]), cell.arm().base_from_tcp.rotation))

    def push() -> None:
        for _ in range(400):
            cell.turn()

    with pytest.raises(DeviceError, match="force at the tool"):
        push()
