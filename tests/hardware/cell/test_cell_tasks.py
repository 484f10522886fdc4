"""The tasks: scripted experts that succeed from anywhere, and success tests that are not fooled."""

import numpy as np
import pytest
from cell_driver import Noisy, drive, hold, make_cell, move_to
from hypothesis import given
from hypothesis import strategies as st

from hardware.cell.cell import Cell
from hardware.cell.expert import MAX_SPEED_M_S, MAX_TURN_RAD_S
from hardware.cell.task import Scene, pose_on_table, scatter, upright
from hardware.cell.tasks import TASKS
from hardware.poses import Array, Pose, rotation_matrix

NAMES = sorted(TASKS)
DOWN = np.diag([1.0, -1.0, -1.0])


def successes(name: str, seeds: range, noisy: bool, physics_step_s: float = 0.005) -> list[float | None]:
    cell = make_cell(TASKS[name], physics_step_s)
    times = []
    for seed in seeds:
        cell.reset(seed)
        expert = cell.task.expert
        times.append(drive(cell, Noisy(expert, np.random.default_rng(seed)) if noisy else expert))
    return times


def count(name: str, episodes: int) -> int:
    """How many episodes of a task to run: a fifth of them where one takes long. docs/measurements.md has the rest."""
    return episodes if TASKS[name].time_limit_s < 20.0 else episodes // 5


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_succeeds_on_the_first_seeds(name: str) -> None:
    assert None not in successes(name, range(5), noisy=False)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_expert_succeeds_on_97_percent_of_many_seeds(name: str) -> None:
    times = successes(name, range(count(name, 200)), noisy=False)
    assert times.count(None) <= 0.03 * len(times)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_expert_succeeds_under_bursts_of_action_noise(name: str) -> None:
    times = successes(name, range(count(name, 60)), noisy=True)
    assert times.count(None) <= max(1, len(times) // 15)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_expert_goes_on_from_whatever_a_learner_leaves_behind(name: str) -> None:
    """The gripper closed, half closed or open beside, on, or under way into an object, low, turned and tilted."""
    cell = make_cell(TASKS[name])
    times = []
    for seed in range(count(name, 40)):
        cell.reset(seed)
        rng = np.random.default_rng(seed)
        commanded = cell.arm.pose()
        for _ in range(2):
            objects = cell.scene().base_from_object
            beside = objects[rng.integers(len(objects))].position + rng.uniform(
                (-0.07, -0.07, -0.008), (0.07, 0.07, 0.06)
            )
            turn = rotation_matrix(rng.normal(0.0, 0.08, 3)) @ rotation_matrix(np.array([0, 0, rng.uniform(-0.8, 0.8)]))
            commanded = move_to(cell, commanded, Pose(beside, turn @ DOWN), float(rng.choice([0.0, 0.5, 1.0])))
        times.append(drive(cell, cell.task.expert, commanded))
    assert times.count(None) <= 1


def test_lifting_takes_about_four_seconds() -> None:
    times = [time for time in successes("lift", range(10), noisy=False) if time is not None]
    assert 3.0 < np.median(times) < 8.0


@pytest.mark.parametrize("name", NAMES)
@given(
    st.tuples(st.floats(0.2, 0.8), st.floats(-0.5, 0.5), st.floats(0.0, 0.5)),
    st.tuples(*[st.floats(-0.7, 0.7)] * 3),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_the_experts_speed_is_bounded_and_its_opening_between_0_and_1(
    name: str, position: tuple[float, ...], turn: tuple[float, ...], opening: float, seed: int
) -> None:
    task = TASKS[name]
    tcp = Pose(np.array(position), rotation_matrix(np.array(turn)) @ DOWN)
    twist, wanted = task.expert(Scene(tcp, opening, task.sample(np.random.default_rng(seed))))
    assert np.linalg.norm(twist[:3]) <= MAX_SPEED_M_S + 1e-9 <= 0.25
    assert np.linalg.norm(twist[3:]) <= MAX_TURN_RAD_S + 1e-9
    assert 0.0 <= wanted <= 1.0


class Script:
    """A task whose objects start where a test puts them."""

    def __init__(self, name: str, *poses: Pose) -> None:
        self._task, self._poses = TASKS[name], poses
        self.name, self.objects, self.mjcf = name, self._task.objects, self._task.mjcf
        self.time_limit_s = self._task.time_limit_s
        self.succeeded, self.expert = self._task.succeeded, self._task.expert

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        return self._poses


def settle(cell: Cell, seconds: float = 0.5) -> None:
    hold(cell, cell.arm.pose(), np.zeros(6), 1.0, seconds)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, 1.2, np.pi / 2])
def test_a_cube_is_stacked_even_if_it_touches_the_other_one(angle: float) -> None:
    side = 0.044 * max(abs(np.cos(angle)), abs(np.sin(angle))) ** -1
    cube = pose_on_table(0.5 + side * np.cos(angle), 0.05 + side * np.sin(angle), 0.02)
    cell = make_cell(Script("stacking", cube, pose_on_table(0.5, 0.05, 0.02)))
    assert drive(cell, cell.task.expert) is not None


def test_a_cube_that_lies_on_another_face_is_lifted() -> None:
    tumbled = Pose(np.array([0.5, 0.0, 0.02]), rotation_matrix(np.array([0.0, np.pi / 2, 0.0])))
    cell = make_cell(Script("lift", tumbled))
    assert drive(cell, cell.task.expert) is not None


def test_a_cube_in_the_air_does_not_count_as_lifted_until_it_stays_there() -> None:
    cell = make_cell(Script("lift", pose_on_table(0.5, -0.1, 0.2)))
    assert cell.task.succeeded(cell.scene())
    for _ in range(100):
        cell.step()
        assert not cell.succeeded()


def test_a_cube_held_in_the_area_does_not_count_as_placed() -> None:
    cell = make_cell(Script("pick_and_place", pose_on_table(0.5, 0.0, 0.02), pose_on_table(0.5, 0.0, 0.0005)))
    commanded = move_to(cell, cell.arm.pose(), Pose(np.array([0.5, 0.0, 0.02]), DOWN), 1.0)
    hold(cell, commanded, np.zeros(6), 0.0, 1.0)
    assert not cell.succeeded()
    assert drive(cell, cell.task.expert, commanded) is not None


@pytest.mark.parametrize(("beside_m", "placed"), [(0.03, True), (0.05, False)])
def test_a_cube_counts_as_placed_where_it_rests_inside_the_area(beside_m: float, placed: bool) -> None:
    cell = make_cell(
        Script("pick_and_place", pose_on_table(0.5 + beside_m, 0.0, 0.02), pose_on_table(0.5, 0.0, 0.0005))
    )
    settle(cell)
    assert cell.succeeded() is placed


@pytest.mark.parametrize(
    ("cube", "stacked"),
    [((0.5, 0.0, 0.06), True), ((0.515, 0.0, 0.06), True), ((0.55, 0.0, 0.02), False), ((0.524, 0.0, 0.06), False)],
)
def test_a_cube_counts_as_stacked_where_it_rests_on_the_other(cube: tuple[float, float, float], stacked: bool) -> None:
    cell = make_cell(Script("stacking", pose_on_table(*cube), pose_on_table(0.5, 0.0, 0.02)))
    settle(cell, 1.0)
    assert cell.succeeded() is stacked


@given(st.tuples(*[st.floats(-3.0, 3.0)] * 3))
def test_a_cubes_upright_orientation_is_the_same_cube_with_the_steepest_axis_up(turn: tuple[float, ...]) -> None:
    rotation: Array = rotation_matrix(np.array(turn))
    renamed = upright(rotation)
    np.testing.assert_allclose(np.linalg.det(renamed), 1.0, atol=1e-9)
    assert renamed[2, 2] >= 1 / 3**0.5 - 1e-9
    overlap = np.abs(rotation.T @ renamed)
    np.testing.assert_allclose(overlap.max(axis=0), 1.0, atol=1e-9)
    np.testing.assert_allclose(overlap.sum(axis=0), 1.0, atol=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_scattered_places_lie_in_front_of_the_arm_and_apart(seed: int, count: int) -> None:
    places = np.array(scatter(np.random.default_rng(seed), count, apart_m=0.1))
    assert ((places[:, 0] >= 0.38) & (places[:, 0] <= 0.62) & (np.abs(places[:, 1]) <= 0.22)).all()
    for i in range(count):
        for j in range(i):
            assert np.hypot(*(places[i, :2] - places[j, :2])) >= 0.1
