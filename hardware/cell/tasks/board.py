"""Scenes for calibrating: a ChArUco board that lies on the table, or one that the gripper holds; nothing is to be done.

The picture on the board is drawn when the scene is built. A plate's frame: origin in the middle of the print, x right
and y up as it is seen, z out of it; a board's is calibration's, at the print's corner.
"""

from functools import cached_property
from math import pi

import numpy as np

from hardware.board import BoardConfig
from hardware.cell.model import TOOL0_FROM_TCP
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table
from hardware.poses import Array, Pose, rotation_matrix

PIXELS_PER_SQUARE = 128
MARGIN_M = 0.008
THICKNESS_M = 0.004
TILT = rotation_matrix(np.array([-0.4, 0.0, 0.0]))
HELD = Pose(np.array([0.03, 0.0, 0.10]), np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]) @ TILT)
"""tcp_from_plate of the held board: hanging below the gripper, facing along the tool's x axis and a little up."""


class BoardScene:
    """A board on the table or, `held`, in the gripper."""

    time_limit_s = 60.0

    def __init__(self, held: bool, board: BoardConfig | None = None) -> None:
        self.name = "board_in_gripper" if held else "board_on_table"
        self.held = held
        self.board = board or BoardConfig()
        self.objects = () if held else (TaskObject("plate", symmetry=1, fixed=True),)

    @cached_property
    def mjcf(self) -> Props:
        """The plate, its print as a texture."""
        import cv2  # only who builds the scene needs it

        from hardware.charuco import board_picture

        drawn = cv2.cvtColor(board_picture(self.board, PIXELS_PER_SQUARE), cv2.COLOR_GRAY2RGB)
        width, height = self.board.size_m
        half_x, half_y, half_z = width / 2 + MARGIN_M, height / 2 + MARGIN_M, THICKNESS_M / 2
        geoms = f"""
        <geom class="visual" type="box" size="{half_x:g} {half_y:g} {half_z:g}" pos="0 0 {-half_z - 5e-4:g}"
              rgba="1 1 1 1"/>
        <geom class="visual" type="mesh" mesh="print" material="board"/>"""
        x, y = width / 2, height / 2
        assets = f"""
        <texture name="board" type="2d" file="board.png"/>
        <material name="board" texture="board" specular="0"/>
        <mesh name="print" inertia="shell" vertex="{-x} {-y} 0 {x} {-y} 0 {x} {y} 0 {-x} {y} 0"
              face="0 1 2 0 2 3" texcoord="0 1 1 1 1 0 0 0"/>"""
        files = {"board.png": cv2.imencode(".png", drawn)[1].tobytes()}
        if not self.held:
            return Props(f'<body name="plate" mocap="true">{geoms}</body>', assets=assets, files=files)
        pose = TOOL0_FROM_TCP @ HELD
        place = " ".join(f"{x:.9g}" for x in pose.position)
        axes = " ".join(f"{x:.9g}" for x in (*pose.rotation[:, 0], *pose.rotation[:, 1]))
        holder = '<geom class="visual" type="box" size="0.004 0.02 0.015" pos="0.028 0 0.144" material="dark"/>'
        tool = f'{holder}<body name="plate" pos="{place}" xyaxes="{axes}">{geoms}</body>'
        return Props(tool=tool, assets=assets, files=files)

    def plate_from_board(self) -> Pose:
        """Return where calibration's frame of the board is on the plate."""
        width, height = self.board.size_m
        return Pose(np.array([-width / 2, height / 2, 0.0]), np.diag([1.0, -1.0, -1.0]))

    def tcp_from_board(self) -> Pose:
        """Return where the held board is."""
        return HELD @ self.plate_from_board()

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return where the plate lies: below the arm's start, turned a little."""
        if self.held:
            return ()
        x, y, yaw = rng.uniform((0.42, -0.04, -0.3), (0.48, 0.04, 0.3)).tolist()
        return (pose_on_table(x, y, THICKNESS_M + 5e-4, yaw - pi / 2),)

    def succeeded(self, scene: Scene) -> bool:
        """Tell that there is nothing to succeed in."""
        return False

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Hold still."""
        return np.zeros(6), 1.0
