"""Robosuite's Lift and Can behind the devices' interfaces: reproducible, followed closely, and done by our experts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cell_driver import Noisy, drive, hold, move_to

from data.schema import Outcome
from drift_robot.benchmark.methods import method_jobs, method_rows, run_job
from drift_robot.config import Config, load_config
from drift_robot.lockstep import LockstepCell, run_episodes
from hardware.cell.expert import move
from hardware.cell.robosuite_cell import RobosuiteCell
from hardware.cell.task import RobosuiteTask, Scene
from hardware.cell.tasks import ROBOSUITE_TASKS
from hardware.clock import NS_PER_S, Clock, ManualClock
from hardware.errors import DeviceError
from hardware.poses import Array, Pose, rotation_vector

pytest.importorskip("robosuite", exc_type=ImportError)

NAMES = sorted(ROBOSUITE_TASKS)
CONFIG = load_config(Path(__file__).parents[3] / "configs" / "robosuite.yaml")
DOWN = np.diag([1.0, -1.0, -1.0])
TABLE_M = -0.112
CLUMSY_S = 4.0
TABLE_MIDDLE = np.array([0.56, 0.0])


def make(name: str, offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> RobosuiteCell:
    return RobosuiteCell(
        ROBOSUITE_TASKS[name],
        physics_step_s=0.002,
        servo_period_s=0.01,
        clock=ManualClock(),
        perception_offset_m=offset_m,
    )


def config_of(name: str) -> Config:
    return replace(CONFIG, cell=replace(CONFIG.cell, task=name))


@pytest.fixture(scope="module")
def lift() -> RobosuiteCell:
    return make("robosuite_lift")


@pytest.fixture(scope="module")
def can() -> RobosuiteCell:
    return make("robosuite_can")


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> RobosuiteCell:
    found: RobosuiteCell = request.getfixturevalue(request.param)
    return found


both = pytest.mark.parametrize("cell", ["lift", "can"], indirect=True)


def play(cell: RobosuiteCell, seed: int, steps: int = 8) -> Array:
    rng = np.random.default_rng(seed)
    commanded, states = cell.arm.pose(), []
    for _ in range(steps):
        commanded = hold(cell, commanded, rng.normal(0.0, 0.1, 6), float(rng.random()))
        states.append(np.concatenate([cell.state_vector(), cell.arm.read().wrench]))
    return np.array(states)


@both
def test_the_same_seed_and_commands_give_the_same_states_to_the_last_bit(cell: RobosuiteCell) -> None:
    cell.reset(5)
    play(cell, 1)
    cell.reset(7)
    other = make(cell.task.name)
    other.reset(7)
    np.testing.assert_array_equal(other.state_vector(), cell.state_vector())
    np.testing.assert_array_equal(play(other, 2), play(cell, 2))


@both
def test_different_seeds_give_different_scenes(cell: RobosuiteCell) -> None:
    scenes = []
    for seed in range(5):
        cell.reset(seed)
        scenes.append(np.concatenate([cell.arm.read().joints, cell.object_poses()[0].position]))
    assert (np.std(scenes, axis=0)[:-1] > 0).all()


@both
def test_an_episode_begins_at_rest_with_the_open_tool_pointing_down(cell: RobosuiteCell) -> None:
    for seed in range(3):
        cell.reset(seed)
        state = cell.arm.read()
        assert np.linalg.norm(rotation_vector(state.base_from_tcp.rotation @ DOWN.T)) < 0.25
        assert cell.gripper.read() == pytest.approx(1.0, abs=0.02)
        np.testing.assert_array_equal(state.joint_velocities, np.zeros(6))
        before = state.base_from_tcp.position
        hold(cell, cell.arm.pose(), np.zeros(6), 1.0, 0.5)
        np.testing.assert_allclose(cell.arm.pose().position, before, atol=5e-4)


def test_the_base_frame_is_where_the_robot_stands_before_the_table(lift: RobosuiteCell) -> None:
    for seed in range(3):
        lift.reset(seed)
        hold(lift, lift.arm.pose(), np.zeros(6), 1.0, 0.3)
        (cube,) = lift.object_poses()
        assert np.abs(cube.position[:2] - TABLE_MIDDLE).max() < 0.031
        assert 0.019 < cube.position[2] - TABLE_M < 0.023


def test_fingers_close_along_y_of_the_tool_and_meet_in_its_point(lift: RobosuiteCell) -> None:
    lift.reset(0)
    data = lift._environment.sim.data
    left, right = (
        lift.arm.base_from_world.position + data.get_geom_xpos(f"gripper0_right_{side}_fingerpad_collision")
        for side in ("left", "right")
    )
    tcp = lift.arm.pose()
    apart, middle = tcp.rotation.T @ (left - right), tcp.rotation.T @ ((left + right) / 2 - tcp.position)
    assert abs(apart[1]) == pytest.approx(0.11, abs=0.002)
    np.testing.assert_allclose(apart[[0, 2]], 0.0, atol=0.01)
    np.testing.assert_allclose(middle, [0.0, 0.0, -0.01], atol=0.003)


def test_the_arm_follows_a_moving_target_closely_and_comes_to_rest_on_it(lift: RobosuiteCell) -> None:
    lift.reset(1)
    start = lift.arm.pose()
    target = hold(lift, start, np.array([0.12, 0.08, 0.0, 0.0, 0.0, 0.5]), 1.0, 1.0)
    behind = target.position - lift.arm.pose().position
    assert np.linalg.norm(behind) < 0.05 * np.hypot(0.12, 0.08)
    hold(lift, target, np.zeros(6), 1.0, 0.5)
    np.testing.assert_allclose(lift.arm.pose().position, target.position, atol=2e-4)
    assert np.linalg.norm(rotation_vector(target.rotation @ lift.arm.pose().rotation.T)) < 2e-3
    lift.arm.stop()
    for _ in range(20):
        lift.step()
    np.testing.assert_allclose(lift.arm.pose().position, target.position, atol=2e-4)


def test_the_gripper_goes_to_any_opening(lift: RobosuiteCell) -> None:
    lift.reset(1)
    for opening in (0.8, 0.5, 0.0, 1.0):
        hold(lift, lift.arm.pose(), np.zeros(6), opening, 1.0)
        assert lift.gripper.read() == pytest.approx(opening, abs=0.1)


def test_the_wrench_tells_what_presses_at_the_tool(lift: RobosuiteCell) -> None:
    lift.reset(1)
    commanded = hold(lift, lift.arm.pose(), np.zeros(6), 0.0, 1.0)
    assert np.linalg.norm(lift.arm.read().wrench[:3]) < 1.0
    over = Pose(np.array([0.45, 0.2, TABLE_M + 0.03]), DOWN)
    commanded = move_to(lift, commanded, over, 0.0)
    pressed = Pose(np.array([0.45, 0.2, TABLE_M - 0.002]), DOWN)
    for _ in range(100):
        lift.arm.servo(pressed)
        lift.step()
    force = lift.arm.read().wrench[:3]
    assert 5.0 < force[2] < 200.0
    assert np.hypot(force[0], force[1]) < 0.7 * force[2]


def test_readings_are_stamped_with_the_clock_at_the_last_step() -> None:
    clock = ManualClock(1_000)
    cell = RobosuiteCell(ROBOSUITE_TASKS["robosuite_lift"], physics_step_s=0.002, servo_period_s=0.01, clock=clock)
    assert cell.arm.read().capture_ns == 1_000
    clock.sleep_until_ns(10_001_000)
    assert cell.arm.read().capture_ns == cell.tracker.read().capture_ns == 1_000
    cell.step()
    assert cell.arm.read().capture_ns == cell.tracker.read().capture_ns == 10_001_000


@both
def test_the_tracker_is_off_by_the_perception_offset_and_the_scene_is_not(cell: RobosuiteCell) -> None:
    shifted = make(cell.task.name, (0.03, -0.01, 0.0))
    for each in (cell, shifted):
        each.reset(4)
    tracked = shifted.tracker.read().base_from_object
    assert len(tracked) == len(cell.task.objects)
    for perceived, pose in zip(tracked, cell.scene().base_from_object, strict=True):
        np.testing.assert_allclose(perceived.position - pose.position, (0.03, -0.01, 0.0), atol=1e-12)
    for pose, same in zip(shifted.scene().base_from_object, cell.scene().base_from_object, strict=True):
        np.testing.assert_array_equal(pose.position, same.position)


def put(cell: RobosuiteCell, joint: str, base_from_object: Pose) -> None:
    """Put an object somewhere, upright and at rest, and let a servo period pass."""
    world = cell.arm.base_from_world.inverse() @ base_from_object
    cell._environment.sim.data.set_joint_qpos(joint, np.concatenate([world.position, [1.0, 0.0, 0.0, 0.0]]))
    cell._environment.sim.data.set_joint_qvel(joint, np.zeros(6))
    cell.step()


@pytest.mark.parametrize(("height_m", "lifted"), [(0.03, False), (0.05, True)])
def test_the_cube_is_lifted_where_robosuite_says_so(lift: RobosuiteCell, height_m: float, lifted: bool) -> None:
    lift.reset(2)
    assert not lift.succeeded()
    put(lift, "cube_joint0", Pose(np.array([0.56, 0.0, TABLE_M + height_m]), np.eye(3)))
    assert lift.succeeded() is lifted


@pytest.mark.parametrize(("beside_m", "placed"), [(0.0, True), (0.05, True), (-0.2, False)])
def test_the_can_is_placed_where_it_is_in_its_own_compartment(
    can: RobosuiteCell, beside_m: float, placed: bool
) -> None:
    can.reset(2)
    _, goal = can.object_poses()
    put(can, "Can_joint0", Pose(goal.position + np.array([beside_m, 0.0, 0.005]), np.eye(3)))
    assert can.succeeded() is placed


@pytest.mark.parametrize("name", NAMES)
def test_in_lockstep_the_expert_succeeds_on_the_first_seeds_within_the_configured_limits(name: str) -> None:
    logs = list(run_episodes([LockstepCell(config_of(name), "collect")], None, range(3)))
    assert [log.outcome for log in logs] == [Outcome.SUCCESS] * 3
    assert all(log.expert_labels == len(log.steps) for log in logs)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_expert_succeeds_on_97_percent_of_many_seeds(name: str) -> None:
    logs = run_episodes([LockstepCell(config_of(name), "collect")], None, range(100))
    assert sum(log.outcome is Outcome.SUCCESS for log in logs) >= 97


@pytest.mark.slow
@both
def test_the_expert_succeeds_under_bursts_of_action_noise(cell: RobosuiteCell) -> None:
    times = []
    for seed in range(15):
        cell.reset(seed)
        times.append(drive(cell, Noisy(cell.task.expert, np.random.default_rng(seed))))
    assert times.count(None) <= 1


class Clumsy:
    """A task whose expert first brings the gripper, for 4 s, twice beside, on, or into an object, open or not."""

    def __init__(self, task: RobosuiteTask, clock: Clock, seed: int) -> None:
        self.name, self.objects, self.time_limit_s = task.name, task.objects, task.time_limit_s + CLUMSY_S
        self._expert, self._clock = task.expert, clock
        rng = np.random.default_rng(seed)
        self._beside_m = rng.uniform((-0.07, -0.07, -0.008), (0.07, 0.07, 0.06), (2, 3))
        self._turn_rad_s = rng.uniform(-0.4, 0.4, 2)
        self._opening = rng.choice([0.0, 0.5, 1.0], 2)
        self._began_ns: int | None = None

    def expert(self, scene: Scene) -> tuple[Array, float]:
        self._began_ns = self._began_ns or self._clock.now_ns()
        turn = int((self._clock.now_ns() - self._began_ns) / NS_PER_S / (CLUMSY_S / 2))
        if turn > 1:
            return self._expert(scene)
        twist = move(scene, scene.base_from_object[0].position + self._beside_m[turn])
        twist[5] = self._turn_rad_s[turn]
        return twist, float(self._opening[turn])


def after_a_clumsy_start(name: str, seed: int) -> Outcome:
    """Return how an episode ended that began so."""
    cell = LockstepCell(config_of(name), "collect")
    cell._cell.task = Clumsy(ROBOSUITE_TASKS[name], cell._clock, seed)  # type: ignore[misc]
    (log,) = run_episodes([cell], None, [seed])
    return log.outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_expert_goes_on_from_whatever_a_learner_leaves_behind(name: str) -> None:
    outcomes = [after_a_clumsy_start(name, seed) for seed in range(15)]
    assert outcomes.count(Outcome.SUCCESS) >= 14


def test_a_lying_can_is_placed_too(can: RobosuiteCell) -> None:
    can.reset(3)
    world = can.arm.base_from_world.inverse() @ Pose(np.array([0.6, -0.15, -0.06]), np.eye(3))
    lying = np.concatenate([world.position, [np.cos(np.pi / 4), np.sin(np.pi / 4), 0.0, 0.0]])
    can._environment.sim.data.set_joint_qpos("Can_joint0", lying)
    hold(can, can.arm.pose(), np.zeros(6), 1.0, 0.5)
    assert abs(can.object_poses()[0].rotation[2, 2]) < 0.3
    assert drive(can, can.task.expert) is not None


def test_another_physics_step_than_robosuites_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"steps by 0\.002 s, .* says 0\.005; begin with configs/robosuite\.yaml"):
        RobosuiteCell(ROBOSUITE_TASKS["robosuite_lift"], physics_step_s=0.005, servo_period_s=0.01, clock=ManualClock())


def test_a_camera_is_refused(lift: RobosuiteCell) -> None:
    with pytest.raises(DeviceError, match="robosuite_lift is run without cameras; remove 'front'"):
        lift.camera("front")


@pytest.mark.slow
def test_a_whole_run_of_a_method_ends_with_a_result(tmp_path: Path) -> None:
    config = config_of("robosuite_lift")
    config = replace(
        config,
        collect=replace(config.collect, episodes=2),
        bootstrap=replace(config.bootstrap, epochs=2, batches_per_epoch=5, batch_size=8),
        adapt=replace(config.adapt, episodes=2, batches_per_round=2, batch_size=8),
        evaluate=replace(config.evaluate, episodes=2),
    )
    (job,) = method_jobs(config, ["robosuite_lift"], method_rows(config, ["D(RR)"]), [0], tmp_path)
    result = run_job(job)
    assert (result.task, result.demonstrations, result.evaluated, result.updates_online) == ("robosuite_lift", 2, 2, 4)
    assert len(result.episodes) == 2
