"""The model's mechanics: same kinematics as ours, a servo that follows closely, a grasp that holds."""

import mujoco
import numpy as np
import pytest
from cell_driver import hold, make_cell, move_to

from hardware.cell.cell import Cell
from hardware.cell.kinematics import forward
from hardware.cell.model import STROKE_M, TOOL0_FROM_TCP, build
from hardware.cell.task import Props, pose_on_table
from hardware.cell.tasks import TASKS
from hardware.poses import Pose, rotation_vector

DOWN = np.diag([1.0, -1.0, -1.0])


def test_the_models_tcp_is_where_our_kinematics_say() -> None:
    model = build(Props(), 0.005)
    data = mujoco.MjData(model)
    for joints in np.random.default_rng(0).uniform(-np.pi, np.pi, (100, 6)):
        data.qpos[:6] = joints
        mujoco.mj_kinematics(model, data)
        pose = forward(joints, TOOL0_FROM_TCP)
        np.testing.assert_allclose(data.site("tcp").xpos, pose.position, atol=1e-7)
        np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3), pose.rotation, atol=1e-7)


@pytest.mark.parametrize("velocity", [(0.25, 0, 0), (0, 0.25, 0), (0, 0, -0.25), (0.1, 0.15, 0.1)])
def test_the_tcp_lags_a_moving_target_by_40_ms_at_most_and_settles_without_overshoot(
    velocity: tuple[float, float, float],
) -> None:
    cell = make_cell(TASKS["lift"])
    cell.reset(1)
    along = np.array(velocity) / np.linalg.norm(velocity)
    twist = np.array([*velocity, 0, 0, 0])
    commanded = hold(cell, cell.arm.pose(), twist, 1.0, 0.6)
    lag_m = float((commanded.position - cell.arm.pose().position) @ along)
    assert 0.0 < lag_m / np.linalg.norm(velocity) < 0.04
    for _ in range(100):
        hold(cell, commanded, np.zeros(6), 1.0, 0.01)
        assert (cell.arm.pose().position - commanded.position) @ along < 3e-4
    np.testing.assert_allclose(cell.arm.pose().position, commanded.position, atol=1e-4)


def test_rotation_follows_as_closely() -> None:
    cell = make_cell(TASKS["lift"])
    turn = np.array([0.3, -0.4, 1.4])
    commanded = hold(cell, cell.arm.pose(), np.array([0, 0, 0, *turn]), 1.0, 0.5)
    behind = rotation_vector(commanded.rotation @ cell.arm.pose().rotation.T)
    assert 0.0 < behind @ turn / (turn @ turn) < 0.04


def grasp_and_lift(cell: Cell) -> Pose:
    cube = cell.object_poses()[0].position
    commanded = move_to(cell, cell.arm.pose(), Pose(cube + np.array([0, 0, 0.1]), DOWN), 1.0)
    commanded = move_to(cell, commanded, Pose(cube, DOWN), 1.0)
    commanded = hold(cell, commanded, np.zeros(6), 0.0, 0.6)
    return move_to(cell, commanded, Pose(cube + np.array([0, 0, 0.15]), DOWN), 0.0)


class Placed:
    """The lift task with the cube always at one place, square to the gripper."""

    name, objects, mjcf = "placed", TASKS["lift"].objects, TASKS["lift"].mjcf
    time_limit_s = 10.0
    succeeded, expert = TASKS["lift"].succeeded, TASKS["lift"].expert

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        return (pose_on_table(0.5, 0.1, 0.02),)


@pytest.mark.parametrize("physics_step_s", [0.005, 0.0025])
def test_a_grasped_cube_stays_in_the_fingers_while_the_arm_moves_about(physics_step_s: float) -> None:
    cell = make_cell(Placed(), physics_step_s)
    commanded = grasp_and_lift(cell)
    held = commanded.inverse() @ cell.object_poses()[0]
    for twist in ((0.25, 0, 0, 0, 0, 1.0), (-0.25, 0.2, 0, 0.5, 0, -1.0), (0, -0.25, 0.1, -0.5, 0, 0)):
        commanded = hold(cell, commanded, np.array(twist), 0.0, 0.8)
    commanded = hold(cell, commanded, np.zeros(6), 0.0, 2.0)
    slipped = (commanded.inverse() @ cell.object_poses()[0]).position - held.position
    assert np.linalg.norm(slipped) < 0.004
    assert cell.gripper.read() * STROKE_M == pytest.approx(0.04, abs=0.002)


def test_the_wrench_weighs_a_held_cube() -> None:
    cell = make_cell(Placed())
    hold(cell, grasp_and_lift(cell), np.zeros(6), 0.0, 1.0)
    np.testing.assert_allclose(cell.arm.read().wrench[:3], [0.0, 0.0, -0.08 * 9.81], atol=0.02)
    np.testing.assert_allclose(cell.arm.read().wrench[3:], 0.0, atol=0.01)


def test_pressing_on_the_table_pushes_the_wrench_up_and_nothing_breaks() -> None:
    cell = make_cell(Placed())
    commanded = move_to(cell, cell.arm.pose(), Pose(np.array([0.5, -0.1, 0.03]), DOWN), 0.0)
    below_the_table = Pose(commanded.position - np.array([0.0, 0.0, 0.03]), DOWN)
    cell.arm.servo(below_the_table)
    for _ in range(100):
        cell.step()
    assert cell.arm.read().wrench[2] > 20.0
    assert 0.005 < cell.arm.pose().position[2] < 0.013
    assert np.abs(cell.arm.read().joint_velocities).max() < 0.05


def test_the_gripper_opens_and_closes_in_less_than_a_second() -> None:
    cell = make_cell(Placed())
    for opening in (0.0, 0.6, 1.0):
        hold(cell, cell.arm.pose(), np.zeros(6), opening, 0.9)
        assert cell.gripper.read() == pytest.approx(opening, abs=0.01)


def test_the_arm_holds_still_when_stopped_and_follows_joint_targets() -> None:
    cell = make_cell(Placed())
    hold(cell, cell.arm.pose(), np.array([0.2, 0, 0, 0, 0, 0]), 1.0, 0.5)
    cell.arm.stop()
    hold_at = cell.arm.read().joints
    for _ in range(50):
        cell.step()
    np.testing.assert_allclose(cell.arm.read().joints, hold_at, atol=0.02)
    assert np.abs(cell.arm.read().joint_velocities).max() < 1e-3
    goal = hold_at + np.array([0.3, -0.2, 0.2, 0.1, -0.1, 1.0])
    cell.arm.servo_joints(goal)
    for _ in range(80):
        cell.step()
    np.testing.assert_allclose(cell.arm.read().joints, goal, atol=1e-3)
