"""Pictures of the cell: the same by every backend, of any size, and never a crash because of a broken GL."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cell_driver import drive, make_cell
from numpy.typing import NDArray

from hardware.cell.cell import Cell
from hardware.cell.rendering import VARIABLE, Backend, Renderer, backend
from hardware.cell.tasks import TASKS
from hardware.errors import DeviceError

ROOT = Path(__file__).parents[3]
NAMES = sorted(TASKS)
CAMERAS = ("front", "wrist")
ASK = "from hardware.cell.rendering import backend; chosen, why = backend(); print(chosen.value, '|', why)"


def choose(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != VARIABLE}
    return subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, check=False
    )


def reddest(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The centre (row, column) of the pixels in the cube's red, as a share of the picture's size."""
    pixels = image.astype(int)
    red = (pixels[..., 0] > 90) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90) & (pixels[..., 0] > 2 * pixels[..., 1])
    assert red.any()
    centre: NDArray[np.float64] = np.argwhere(red).mean(axis=0) + 0.5
    return centre / image.shape[:2]


@pytest.mark.skipif(backend()[0] is Backend.RAYCAST, reason="no GL library here to compare with")
@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("name", NAMES)
def test_a_ray_cast_picture_shows_what_the_gl_picture_shows(name: str, camera: str) -> None:
    cell = make_cell(TASKS[name])
    cell.reset(3)
    pictures = []
    for chosen in (backend()[0], Backend.RAYCAST):
        renderer = Renderer(TASKS[name], chosen)
        pictures.append(renderer.render(cell.state_vector(), camera, 120, 160).astype(float))
        renderer.close()
    difference = np.abs(pictures[0] - pictures[1])
    assert difference.mean() < 4.0
    assert (difference.max(axis=-1) > 40).mean() < 0.03


@pytest.fixture(scope="module")
def lift() -> Cell:
    cell = make_cell(TASKS["lift"])
    cell.reset(1)
    return cell


@pytest.mark.parametrize("chosen", sorted({backend()[0], Backend.RAYCAST}))
@pytest.mark.parametrize(("height", "width"), [(24, 32), (84, 84), (240, 320), (500, 700)])
def test_pictures_of_any_size_show_the_same_scene(lift: Cell, chosen: Backend, height: int, width: int) -> None:
    renderer = Renderer(lift.task, chosen)
    image = renderer.render(lift.state_vector(), "front", height, width)
    square = renderer.render(lift.state_vector(), "front", 400, 400)
    renderer.close()
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert abs(reddest(image)[0] - reddest(square)[0]) < 0.02


@pytest.mark.parametrize("chosen", sorted({backend()[0], Backend.RAYCAST}))
def test_the_front_camera_sees_a_cube_on_the_robots_left_on_the_right_of_the_picture(chosen: Backend) -> None:
    cell = make_cell(TASKS["lift"])
    renderer = Renderer(cell.task, chosen)
    columns, sides = [], []
    for seed in range(8):
        cell.reset(seed)
        columns.append(reddest(renderer.render(cell.state_vector(), "front"))[1])
        sides.append(cell.object_poses()[0].position[1])
    renderer.close()
    assert np.corrcoef(columns, sides)[0, 1] > 0.95
    assert min(columns) > 0.02
    assert max(columns) < 0.98


def test_the_wrist_camera_sees_the_held_cube_between_the_fingers() -> None:
    cell = make_cell(TASKS["lift"])
    assert drive(cell, cell.task.expert) is not None
    row, column = reddest(cell.camera("wrist").read(0.1).image)
    assert abs(column - 0.5) < 0.05
    assert 0.5 < row < 0.95


def test_every_start_of_every_task_with_something_red_is_in_the_front_picture() -> None:
    for task in (task for name, task in TASKS.items() if name != "microwave"):
        cell = make_cell(task)
        renderer = Renderer(task)
        for seed in range(15):
            cell.reset(seed)
            row, column = reddest(renderer.render(cell.state_vector(), "front"))
            assert 0.03 < row < 0.97
            assert 0.03 < column < 0.97
        renderer.close()


def test_a_picture_depends_on_the_state_vector_alone_and_not_on_the_cell(lift: Cell) -> None:
    renderer = Renderer(lift.task)
    here = lift.camera("front", 60, 80).read(0.1).image
    np.testing.assert_array_equal(renderer.render(lift.state_vector(), "front", 60, 80), here)
    renderer.close()


def test_a_moved_fixed_camera_shows_a_cube_where_the_offset_puts_it_and_the_wrist_camera_the_truth() -> None:
    cell = make_cell(TASKS["lift"])
    truth, displaced = Renderer(cell.task), Renderer(cell.task, perception_offset_m=(0.0, 0.03, 0.0))
    cell.reset(2)
    state = cell.state_vector()
    seen = reddest(displaced.render(state, "front"))
    np.testing.assert_array_equal(displaced.render(state, "wrist"), truth.render(state, "wrist"))
    position = cell.object_poses()[0].position
    start = int(np.argmin(np.abs(state - position[1])))
    moved = state.copy()
    moved[start] += 0.03
    np.testing.assert_allclose(seen, reddest(truth.render(moved, "front")), atol=0.01)
    assert np.abs(np.subtract(seen, reddest(truth.render(state, "front")))).max() > 0.03
    truth.close()
    displaced.close()


def test_two_renderers_take_turns_in_one_process() -> None:
    states, first = [], []
    renderers = [Renderer(TASKS[name]) for name in ("lift", "stacking")]
    for renderer, name in zip(renderers, ("lift", "stacking"), strict=True):
        states.append(make_cell(TASKS[name]).state_vector())
        first.append(renderer.render(states[-1], "front", 60, 80))
    for renderer, state, image in zip(renderers, states, first, strict=True):
        np.testing.assert_array_equal(renderer.render(state, "front", 60, 80), image)
        renderer.close()
    assert (first[0] != first[1]).any()


def test_an_unknown_camera_is_refused_by_name(lift: Cell) -> None:
    renderer = Renderer(lift.task, Backend.RAYCAST)
    with pytest.raises(DeviceError, match="no camera 'side'; choose one of front, wrist"):
        renderer.render(lift.state_vector(), "side")


def test_a_gl_that_kills_the_process_means_ray_casting_and_a_hint(tmp_path: Path) -> None:
    (tmp_path / "OpenGL").mkdir()
    (tmp_path / "OpenGL" / "__init__.py").write_text("import os; os.abort()")
    answer = choose({"PYTHONPATH": str(tmp_path)})
    assert answer.returncode == 0
    assert answer.stdout.startswith("raycast | ")
    assert "install libegl1" in answer.stdout


def test_the_backend_can_be_named_in_the_environment() -> None:
    answer = choose({VARIABLE: "raycast"})
    assert answer.stdout.startswith("raycast | ")
    assert VARIABLE in answer.stdout


def test_an_unknown_backend_in_the_environment_is_one_sentence() -> None:
    answer = choose({VARIABLE: "vulkan"})
    assert f"{VARIABLE} is 'vulkan'; expected one of egl, osmesa, raycast" in answer.stderr


def test_a_gl_wished_for_in_the_environment_but_missing_does_not_stop_the_import() -> None:
    """MUJOCO_GL set to a platform whose library is missing makes `import mujoco` fail by itself."""
    assert choose({"MUJOCO_GL": "osmesa", VARIABLE: "raycast"}).returncode == 0
