"""Proposed poses: inside the limits, within reach, the board in view, and each different from the others."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from calibration.board import Board
from calibration.proposals import CLEARANCE_M, Bounds, Sight, propose, way
from hardware.arms.limits import ArmLimits, Workspace
from hardware.board import BoardConfig
from hardware.cell.cell import HOME, HOME_JOINTS_RAD
from hardware.cell.kinematics import chain, inverse_step
from hardware.cell.model import TOOL0_FROM_TCP
from hardware.cell.optics import true_lens, true_pose
from hardware.cell.task import pose_on_table
from hardware.cell.tasks.board import BoardScene
from hardware.interfaces import ArmState
from hardware.poses import Array, Pose, rotation_vector

BOARD = Board(BoardConfig())
LIMITS = ArmLimits(workspace_min_m=(0.25, -0.35, 0.05), workspace_max_m=(0.7, 0.35, 0.5))


def state() -> ArmState:
    joints = HOME_JOINTS_RAD
    for _ in range(20):
        joints = inverse_step(joints, HOME, TOOL0_FROM_TCP, max_step_rad=0.3)
    return ArmState(0, joints, np.zeros(6), HOME, np.zeros(6))


def sight(camera: str) -> Sight:
    scene = BoardScene(held=camera == "front")
    lies = pose_on_table(0.45, 0.0, 0.005, -1.5) @ scene.plate_from_board()
    placed = scene.tcp_from_board() if scene.held else lies
    return Sight(true_lens(camera, 480, 640), true_pose(camera), placed, camera == "wrist")


@pytest.mark.parametrize("camera", ["wrist", "front"])
def test_proposals_are_allowed_reachable_and_see_the_board(camera: str) -> None:
    looking, bounds = sight(camera), Bounds(LIMITS, state(), TOOL0_FROM_TCP)
    poses = propose(BOARD, looking, bounds, 12)
    assert len(poses) == 12
    joints = bounds.state.joints
    for pose in poses:
        assert Workspace(LIMITS).holds(pose)
        seen = BOARD.seen(looking.camera_from_board(pose), looking.lens)
        assert ((seen > 0) & (seen < [640, 480])).all(axis=1).mean() >= 0.6
        carried = looking.link_from_camera.position[None] if looking.on_arm else _corners(looking)
        assert (carried @ pose.rotation.T + pose.position)[:, 2].min() >= CLEARANCE_M - 1e-9
        reached = bounds.reach()(joints, pose)
        assert reached is not None
        there = chain(reached, TOOL0_FROM_TCP).base_from_tcp
        np.testing.assert_allclose(there.position, pose.position, atol=1e-3)
        joints = reached
    turned = np.array([rotation_vector(HOME.rotation.T @ pose.rotation) for pose in poses])
    assert np.degrees(np.sqrt(np.linalg.eigvalsh(np.cov(turned.T)))).min() > 8.0


def _corners(looking: Sight) -> Array:
    return BOARD.outline @ looking.other_from_board.rotation.T + looking.other_from_board.position


def test_the_same_seed_proposes_the_same() -> None:
    looking, bounds = sight("wrist"), Bounds(LIMITS, state(), TOOL0_FROM_TCP)
    first, second = (propose(BOARD, looking, bounds, 3, seed=4) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.position, b.position)


def test_a_narrow_workspace_leaves_nothing_to_propose() -> None:
    narrow = ArmLimits(workspace_min_m=(0.47, -0.01, 0.29), workspace_max_m=(0.475, 0.0, 0.295))
    assert propose(BOARD, sight("wrist"), Bounds(narrow, state(), TOOL0_FROM_TCP), 5) == []


def test_what_is_out_of_reach_is_not_proposed() -> None:
    reach = Bounds(LIMITS, state(), TOOL0_FROM_TCP).reach()
    assert reach(state().joints, Pose(HOME.position + np.array([0.6, 0.0, 0.0]), HOME.rotation)) is None
    assert reach(state().joints, Pose(HOME.position + np.array([0.05, 0.0, 0.0]), HOME.rotation)) is not None


def test_another_arm_has_to_tell_itself_what_it_reaches() -> None:
    elsewhere = Pose(HOME.position + np.array([0.0, 0.0, 0.1]), HOME.rotation)
    unknown = Bounds(LIMITS, replace(state(), base_from_tcp=elsewhere), TOOL0_FROM_TCP)
    far = Pose(HOME.position + np.array([0.6, 0.0, 0.0]), HOME.rotation)
    assert unknown.reach()(state().joints, far) is not None


def test_a_way_is_straight_and_ends_at_its_goal() -> None:
    goal = Pose(HOME.position + np.array([0.1, 0.05, 0.0]), HOME.rotation)
    steps = way(HOME, goal)
    np.testing.assert_allclose(steps[-1].position, goal.position)
    assert max(float(np.linalg.norm(b.position - a.position)) for a, b in pairwise([HOME, *steps])) < 0.0201
