"""The cell behind the devices' interfaces: reproducible, independent, stamped, and shifted where it says so."""

import numpy as np
import pytest
from cell_driver import drive, hold, make_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.cell.cell import HOME, Cell
from hardware.cell.tasks import TASKS
from hardware.clock import ManualClock
from hardware.errors import DeviceError
from hardware.interfaces import Arm, Camera, Gripper
from hardware.poses import Array, Pose, rotation_vector

TASK_NAMES = sorted(TASKS)


def play(cell: Cell, seed: int, steps: int = 15) -> Array:
    rng = np.random.default_rng(seed)
    commanded, states = cell.arm.pose(), []
    for _ in range(steps):
        commanded = hold(cell, commanded, rng.normal(0.0, 0.1, 6), float(rng.random()))
        states.append(np.concatenate([cell.state_vector(), cell.arm.read().wrench]))
    return np.array(states)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_same_seed_and_commands_give_the_same_states_to_the_last_bit(name: str) -> None:
    first, second = make_cell(TASKS[name]), make_cell(TASKS[name])
    second.reset(5)
    play(second, 1)
    for cell in (first, second):
        cell.reset(7)
    np.testing.assert_array_equal(play(first, 2), play(second, 2))


@pytest.mark.parametrize("name", TASK_NAMES)
def test_different_seeds_give_different_scenes(name: str) -> None:
    cell, scenes = make_cell(TASKS[name]), []
    for seed in range(20):
        cell.reset(seed)
        scenes.append(cell.state_vector())
    assert len(np.unique(np.array(scenes), axis=0)) == 20


def test_two_cells_in_one_process_do_not_touch_each_other() -> None:
    alone, first, second = make_cell(TASKS["lift"]), make_cell(TASKS["lift"]), make_cell(TASKS["stacking"])
    alone.reset(3)
    first.reset(3)
    expected = play(alone, 1, 6)
    states = []
    rng = np.random.default_rng(1)
    commanded = first.arm.pose()
    for _ in range(6):
        commanded = hold(first, commanded, rng.normal(0.0, 0.1, 6), float(rng.random()))
        hold(second, second.arm.pose(), np.full(6, 0.1), 0.0)
        states.append(np.concatenate([first.state_vector(), first.arm.read().wrench]))
    np.testing.assert_array_equal(states, expected)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(TASK_NAMES), st.integers(0, 100), st.integers(0, 12))
def test_what_follows_a_restored_snapshot_is_what_followed_it_before(name: str, seed: int, steps: int) -> None:
    cell = make_cell(TASKS[name])
    cell.reset(seed)
    play(cell, seed, steps)
    snapshot = cell.snapshot()
    expected = play(cell, seed + 1)
    cell.restore(snapshot)
    np.testing.assert_array_equal(play(cell, seed + 1), expected)


def test_a_snapshot_remembers_how_long_the_goal_has_been_met() -> None:
    cell = make_cell(TASKS["lift"])
    assert drive(cell, cell.task.expert) is not None
    succeeded = cell.snapshot()
    cell.reset(1)
    assert not cell.succeeded()
    cell.restore(succeeded)
    assert cell.succeeded()


def test_the_arm_starts_at_rest_near_home_with_the_gripper_open() -> None:
    cell = make_cell(TASKS["lift"])
    starts = []
    for seed in range(50):
        cell.reset(seed)
        state = cell.arm.read()
        starts.append(state.base_from_tcp.position)
        assert np.abs(state.base_from_tcp.position - HOME.position).max() < 0.031
        assert np.linalg.norm(rotation_vector(state.base_from_tcp.rotation @ HOME.rotation.T)) < 0.08 * 3**0.5 + 1e-3
        assert cell.gripper.read() == pytest.approx(1.0)
        np.testing.assert_array_equal(state.joint_velocities, np.zeros(6))
    assert (np.std(starts, axis=0) > 0.01).all()


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_scene_put_up_by_hand_has_the_seeds_objects_at_rest_and_the_arm_as_it_was(name: str) -> None:
    cell, reference = make_cell(TASKS[name]), make_cell(TASKS[name])
    reference.reset(9)
    drive(cell, cell.task.expert)
    target = cell.arm.read().base_from_tcp
    for _ in range(100):  # out of the way
        target = Pose(target.position + np.array([0.0, 0.0, 0.0012]), target.rotation)
        cell.arm.servo(target)
        cell.step()
    arm, opening = cell.arm.read(), cell.gripper.read()
    assert cell.succeeded()
    cell.put_up(9)
    assert not cell.succeeded()
    np.testing.assert_array_equal(cell.arm.read().joints, arm.joints)
    np.testing.assert_array_equal(cell.arm.read().joint_velocities, arm.joint_velocities)
    assert cell.gripper.read() == opening
    for pose, expected in zip(cell.object_poses(), reference.object_poses(), strict=True):
        np.testing.assert_array_equal(pose.position, expected.position)
        np.testing.assert_array_equal(pose.rotation, expected.rotation)
    for _ in range(20):
        cell.step()
    for pose, expected in zip(cell.object_poses(), reference.object_poses(), strict=True):
        np.testing.assert_allclose(pose.position, expected.position, atol=1e-3)


def test_a_cell_without_commands_stays_as_it_is() -> None:
    cell = make_cell(TASKS["stacking"])
    cell.reset(2)
    before = cell.scene()
    for _ in range(200):
        cell.step()
    after = cell.scene()
    np.testing.assert_allclose(after.base_from_tcp.position, before.base_from_tcp.position, atol=1e-4)
    for old, new in zip(before.base_from_object, after.base_from_object, strict=True):
        np.testing.assert_allclose(new.position, old.position, atol=5e-4)


def test_the_tracker_is_off_by_the_perception_offset_and_the_scene_is_not() -> None:
    offset = (0.03, -0.01, 0.0)
    shifted, true = make_cell(TASKS["stacking"], perception_offset_m=offset), make_cell(TASKS["stacking"])
    for cell in (shifted, true):
        cell.reset(4)
    tracked = shifted.tracker.read().base_from_object
    assert len(tracked) == 2
    for perceived, pose in zip(tracked, true.scene().base_from_object, strict=True):
        np.testing.assert_allclose(perceived.position - pose.position, offset, atol=1e-12)
        np.testing.assert_array_equal(perceived.rotation, pose.rotation)
    for pose, same in zip(shifted.scene().base_from_object, true.scene().base_from_object, strict=True):
        np.testing.assert_array_equal(pose.position, same.position)


def test_readings_are_stamped_with_the_clock_at_the_last_step() -> None:
    clock = ManualClock(1_000)
    cell = Cell(TASKS["lift"], physics_step_s=0.005, servo_period_s=0.01, clock=clock)
    assert cell.arm.read().capture_ns == 1_000
    clock.sleep_until_ns(10_001_000)
    assert cell.arm.read().capture_ns == cell.tracker.read().capture_ns == 1_000
    cell.step()
    assert cell.arm.read().capture_ns == cell.tracker.read().capture_ns == 10_001_000


def test_a_physics_step_that_does_not_divide_the_servo_period_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"physics_step_s 0\.004 does not divide servo_period_s 0\.01"):
        make_cell(TASKS["lift"], 0.004)


def test_the_devices_meet_their_interfaces() -> None:
    cell = make_cell(TASKS["lift"])
    arm: Arm = cell.arm
    gripper: Gripper = cell.gripper
    camera: Camera = cell.camera("wrist", 24, 32)
    assert arm.servo_period_s == 0.01
    assert gripper.read() == pytest.approx(1.0)
    frame = camera.read(timeout_s=0.1)
    assert frame.image.shape == (24, 32, 3)
    assert frame.image.dtype == np.uint8
    for device in (camera, gripper, arm):
        device.close()
