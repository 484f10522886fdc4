"""The simulated cell as the mechanics of the emulated controller."""

import json

import numpy as np
import pytest

from hardware.arms.ur_pose import six
from hardware.cell.cell import Cell
from hardware.cell.model import TOOL0_FROM_TCP
from hardware.cell.tasks.lift import Lift
from hardware.clock import ManualClock
from hardware.emulation.cell_robot import CellRobot
from hardware.emulation.controller import Controller
from hardware.emulation.faults import Admin, Faults
from hardware.errors import DeviceError

PROGRAM = "def rtde_control():\n # int register offset\n0\nend\n"
SERVOL, SET_TCP = 24, 29


@pytest.fixture
def rig():
    clock = ManualClock()
    cell = Cell(Lift(), physics_step_s=0.004, servo_period_s=0.008, clock=clock)
    return Controller((3, 15, 0, 0), CellRobot(cell)), clock


def run(controller, clock, seconds):
    for _ in range(round(seconds / controller.cycle_s)):
        clock.advance_s(controller.cycle_s)
        controller.tick(clock.now_ns() / 1e9)


def command(controller, number, *doubles):
    values = {f"input_double_register_{index}": float(value) for index, value in enumerate(doubles)}
    controller.write({"input_int_register_0": number, **values}, 0.0)


def test_servol_moves_the_cells_arm_and_the_controller_publishes_what_the_physics_did(rig):
    controller, clock = rig
    controller.upload(PROGRAM, 0.0)
    run(controller, clock, 0.1)
    command(controller, SET_TCP, *six(TOOL0_FROM_TCP))
    run(controller, clock, 0.05)
    command(controller, 0)
    run(controller, clock, 0.05)
    cell = controller.robot.cell
    target = six(cell.arm.pose())
    start = target.copy()
    for _ in range(50):
        target[2] -= 0.001
        command(controller, SERVOL, *target, 0.5, 0.5, 0.008, 0.05, 300)
        run(controller, clock, 0.008)
    run(controller, clock, 0.6)
    assert cell.arm.pose().position[2] == pytest.approx(start[2] - 0.05, abs=0.003)
    published = controller.published(["actual_TCP_pose", "actual_q"])
    np.testing.assert_allclose(published["actual_TCP_pose"][:3], cell.arm.pose().position, atol=1e-9)
    np.testing.assert_allclose(published["actual_q"], cell.arm.read().joints)


def test_the_gripper_of_the_cell_follows(rig):
    controller, clock = rig
    run(controller, clock, 0.1)
    controller.mechanism.target_opening = 0.3
    run(controller, clock, 1.0)
    assert controller.robot.opening == pytest.approx(0.3, abs=0.05)


def test_joint_targets_arrive_as_they_are(rig):
    robot = rig[0].robot
    joints = robot.joints + np.array([0.05, -0.03, 0.04, 0.1, -0.1, 0.6])
    for _ in range(200):
        robot.step(joints, 1.0, 0.008)
    np.testing.assert_allclose(robot.joints, joints, atol=2e-3)


def test_the_view_is_the_true_state_and_goes_through_json(rig):
    controller, clock = rig
    run(controller, clock, 0.1)
    cell = controller.robot.cell
    view = json.loads(json.dumps(controller.robot.view()))
    assert (view["task"], view["scene_number"], view["succeeded"]) == ("lift", 0, False)
    assert view["capture_ns"] == clock.now_ns()
    np.testing.assert_array_equal(view["drawing"], cell.state_vector())
    np.testing.assert_array_equal(view["base_from_tcp"][:3], cell.arm.pose().position)
    np.testing.assert_array_equal(np.reshape(view["base_from_object"][0][3:], (3, 3)), cell.object_poses()[0].rotation)


def test_a_scene_is_put_up_around_an_arm_that_goes_on_moving(rig):
    controller, clock = rig
    twin = Cell(Lift(), physics_step_s=0.004, servo_period_s=0.008, clock=ManualClock())
    twin.reset(5)
    admin = Admin(controller, Faults(), controller.robot)
    controller.mechanism.servo(controller.robot.joints + 0.1, 0.5)
    run(controller, clock, 0.1)
    before = controller.robot.cell.arm.read()
    assert np.abs(before.joint_velocities).max() > 0.1
    assert admin.answer({"do": "scene", "seed": 5}) == {"scene_number": 1}
    seen = admin.answer({"do": "view"})
    assert seen["scene_number"] == 1
    np.testing.assert_array_equal(seen["base_from_object"][0][:3], twin.object_poses()[0].position)
    after = controller.robot.cell.arm.read()
    np.testing.assert_array_equal(after.joints, before.joints)
    np.testing.assert_array_equal(after.joint_velocities, before.joint_velocities)
    assert "error" in admin.answer({"do": "scene", "seed": -1})


def test_a_cell_with_another_period_is_refused():
    cell = Cell(Lift(), physics_step_s=0.005, servo_period_s=0.01, clock=ManualClock())
    controller = Controller((5, 12, 0, 0), CellRobot(cell))
    with pytest.raises(DeviceError, match=r"make the cell's servo_period_s 0\.002"):
        controller.tick(0.0)
