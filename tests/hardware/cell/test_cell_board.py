"""The boards of the simulated cell: drawn, by any means, so that their corners are found where they truly are."""

import numpy as np
import pytest
from cell_driver import make_cell

from calibration.board import Board
from hardware.board import BoardConfig
from hardware.cell.optics import true_lens, true_pose
from hardware.cell.rendering import Backend, Renderer, backend
from hardware.cell.tasks import SCENES
from hardware.cell.tasks.board import BoardScene


@pytest.mark.parametrize("chosen", sorted({backend()[0], Backend.RAYCAST}))
@pytest.mark.parametrize(("name", "camera"), [("board_on_table", "wrist"), ("board_in_gripper", "front")])
def test_corners_are_seen_to_a_fraction_of_a_pixel(name: str, camera: str, chosen: Backend) -> None:
    scene = SCENES[name]
    assert isinstance(scene, BoardScene)
    cell, board = make_cell(scene), Board(BoardConfig())
    cell.reset(1)
    renderer = Renderer(scene, chosen)
    seen = board.detect(renderer.render(cell.state_vector(), camera, 480, 640))
    renderer.close()
    base_from_tcp = cell.arm.pose()
    if scene.held:
        base_from_board = base_from_tcp @ scene.tcp_from_board()
    else:
        base_from_board = cell.object_poses()[0] @ scene.plate_from_board()
    base_from_camera = base_from_tcp @ true_pose(camera) if camera == "wrist" else true_pose(camera)
    expected = board.seen(base_from_camera.inverse() @ base_from_board, true_lens(camera, 480, 640))
    assert seen is not None
    assert len(seen.ids) >= 18
    off = np.hypot(*(seen.pixels - expected[seen.ids]).T)
    assert np.median(off) < 0.15
    assert off.max() < 0.6


def test_a_board_lies_where_its_seed_says_and_another_seed_elsewhere() -> None:
    cell = make_cell(SCENES["board_on_table"])
    places = []
    for seed in (1, 1, 2):
        cell.reset(seed)
        places.append(cell.object_poses()[0].position)
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.allclose(places[0], places[2])
