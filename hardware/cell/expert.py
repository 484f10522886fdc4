"""Building blocks of the scripted experts: memoryless rules that pick a cube from any state, and carry it.

Approach is a funnel: the worse the alignment, the higher the gripper has to be, and while it is too low for its
misalignment it climbs before it moves sideways. So any state that a learner leaves behind is a state to go on from.
"""

from dataclasses import dataclass
from math import atan2, copysign, cos, hypot, pi, sin

import numpy as np

from hardware.cell.model import STROKE_M
from hardware.cell.task import Scene
from hardware.poses import Array, Pose

MAX_SPEED_M_S = 0.15
MAX_TURN_RAD_S = 1.5
GAIN = 2.5  # 1/s, of every proportional rule
CUBE_M = 0.04


@dataclass(frozen=True)
class Grasp:
    """What the rules have to know of a gripper and what it picks.

    `gripped` are the openings between which the fingers are around it, `wide` is the one with which they go down beside
    it. `hover_m` is how high above it, and `carry_m` with it above its goal, the gripper has to be while it is badly
    aligned. `symmetry` is the order of what is picked about the vertical.
    """

    gripped: tuple[float, float]
    wide: float = 1.0
    hover_m: float = 0.08
    carry_m: float = 0.06
    symmetry: int = 4


CUBE = Grasp(gripped=(0.8 * CUBE_M / STROKE_M, 1.12 * CUBE_M / STROKE_M))
"""A cube in the simulated cell's own gripper."""


def holds(scene: Scene, cube: Pose, grasp: Grasp = CUBE) -> bool:
    """Tell whether the cube is between the fingers and they are as wide as the cube."""
    x, y, z = (scene.base_from_tcp.rotation.T @ (cube.position - scene.base_from_tcp.position)).tolist()
    between = abs(x) < 0.017 and abs(y) < 0.012 and abs(z) < 0.018
    return between and grasp.gripped[0] < scene.opening < grasp.gripped[1]


def move(scene: Scene, target: Array, yaw: float = 0.0, climb: float = 0.0) -> Array:
    """Return the twist (6,) that moves the TCP to a position (3,) and turns it by `yaw`, the tool pointing down.

    Sideways motion fades out while the TCP is `climb` too low (m): from all of it at zero to none at 3 cm.
    """
    twist = np.zeros(6)
    linear = GAIN * (target - scene.base_from_tcp.position)
    linear[:2] *= min(max(1.0 - climb / 0.03, 0.0), 1.0)
    twist[:3] = _limit(linear, MAX_SPEED_M_S)
    zx, zy, _ = scene.base_from_tcp.rotation[:, 2].tolist()
    # z_tool x (0, 0, -1) turns the tool's axis down.
    twist[3:] = _limit(GAIN * np.array([-zy, zx, yaw]), MAX_TURN_RAD_S)
    return twist


def yaw_error(scene: Scene, target: Pose, symmetry: int = 4) -> float:
    """Return the angle about the vertical from tool to target, modulo the target's symmetry, at most half of that."""
    half = pi / symmetry
    return (_heading(target) - _heading(scene.base_from_tcp) + half) % (2 * half) - half


def pick(scene: Scene, cube: Pose, neighbour: Pose | None = None, grasp: Grasp = CUBE) -> tuple[Array, float]:
    """Return twist and opening that bring the gripper over, around and closed on the cube.

    The fingers go to those two sides of the cube where there is room beside a `neighbour` cube.
    """
    tcp = scene.base_from_tcp
    offset = cube.position - tcp.position
    x, y, z = (tcp.rotation.T @ offset).tolist()
    yaw = yaw_error(scene, cube, grasp.symmetry)
    if neighbour is not None and _blocked(cube, neighbour, _heading(tcp) + yaw):
        yaw -= copysign(pi / 2, yaw)
    turned = abs(yaw)
    tilt = hypot(tcp.rotation[0, 2], tcp.rotation[1, 2])
    aligned = abs(x) < 0.012 and abs(y) < 0.016 and abs(z) < 0.012 and turned < 0.25 and tilt < 0.2
    if aligned and scene.opening > grasp.gripped[0]:
        return move(scene, tcp.position + 0.5 * offset, yaw), 0.0
    misaligned = max(hypot(x, y) / 0.05, turned / 0.5, tilt / 0.4, (grasp.wide - 0.1 - scene.opening) / 0.3)
    height = cube.position[2] + grasp.hover_m * min(max((misaligned - 0.2) / 0.8, 0.0), 1.0)
    target = np.array([cube.position[0], cube.position[1], height])
    return move(scene, target, yaw, climb=height - tcp.position[2]), grasp.wide


def carry(scene: Scene, cube: Pose, goal: Array, yaw: float = 0.0, grasp: Grasp = CUBE) -> Array:
    """Return the twist that brings the held cube over a position (3,) and down to it, turning it by `yaw`."""
    to_goal = goal - cube.position
    misaligned = max(hypot(to_goal[0], to_goal[1]) / 0.04, abs(yaw) / 0.4)
    climb = float(to_goal[2]) + grasp.carry_m * min(max((misaligned - 0.1) / 0.9, 0.0), 1.0)
    target = scene.base_from_tcp.position + np.array([to_goal[0], to_goal[1], climb])
    return move(scene, target, yaw, climb)


def leave(scene: Scene, cube: Pose, grasp: Grasp = CUBE) -> tuple[Array, float]:
    """Return twist and opening that let go of the cube, then climb straight up from it."""
    target = scene.base_from_tcp.position.copy()
    if scene.opening > 0.8:
        target[2] = cube.position[2] + grasp.hover_m
    return move(scene, target), 1.0


def _blocked(cube: Pose, neighbour: Pose, heading: float) -> bool:
    """Tell whether a gripper turned to `heading` (tool x against base x) would set a finger down on the neighbour."""
    dx, dy, dz = map(float, neighbour.position - cube.position)
    along = abs(cos(heading) * dx + sin(heading) * dy)
    across = abs(-sin(heading) * dx + cos(heading) * dy)
    return along < 0.04 and across < 0.09 and abs(dz) < 0.03


def _heading(pose: Pose) -> float:
    return atan2(pose.rotation[1, 0], pose.rotation[0, 0])


def _limit(vector: Array, longest: float) -> Array:
    return vector * min(1.0, longest / max(float(np.linalg.norm(vector)), 1e-9))
