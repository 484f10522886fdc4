"""Robosuite's Lift and Can as far as they are ours: what is tracked, and scripted experts.

Scenes, their distribution and success tests are robosuite's; hardware/cell/robosuite_cell.py runs them. Nothing here
needs robosuite.
"""

from math import hypot

import numpy as np

from hardware.cell.expert import Grasp, carry, holds, leave, move, pick
from hardware.cell.task import Scene, TaskObject
from hardware.poses import Array, Pose

PADS_OPEN_M, PADS_CLOSED_M = 0.110, 0.013
"""How far the middles of the Robotiq 85's finger pads are apart in robosuite's model."""
PAD_M = 0.002
TCP_FROM_PADS_M = np.array([0.0, 0.0, -0.012])
"""The point between the pads of a gripper that is closed around something."""
LIFTED_M = 0.10


def opening(pads_apart_m: float) -> float:
    """Return the gripper's opening, 0 closed to 1 open, from how far the middles of its pads are apart."""
    return (pads_apart_m - PADS_CLOSED_M) / (PADS_OPEN_M - PADS_CLOSED_M)


def _around(width_m: float) -> tuple[float, float]:
    """Return the openings between which the fingers are around something so wide."""
    return opening(0.8 * width_m + PAD_M), opening(1.15 * width_m + PAD_M)


CUBE = Grasp(gripped=_around(0.042), wide=0.8)
LYING = Grasp(gripped=_around(0.05), wide=0.65, hover_m=0.10, carry_m=0.12, symmetry=2)
STANDING = Grasp(gripped=_around(0.05), wide=0.8, hover_m=0.13, carry_m=0.12)


class RobosuiteLift:
    """A cube of 4 to 4.4 cm near the middle of a table, to be lifted 4 cm above it."""

    name = "robosuite_lift"
    environment = "Lift"
    objects = (TaskObject("cube_main", symmetry=4),)
    time_limit_s = 12.0

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Pick the cube; once it is held, raise it."""
        (cube,) = scene.base_from_object
        if holds(scene, cube, CUBE):
            return move(scene, scene.base_from_tcp.position + np.array([0.0, 0.0, LIFTED_M])), 0.0
        return pick(scene, cube, grasp=CUBE)


class RobosuiteCan:
    """A can of 5 cm anywhere in a bin, to be put into its compartment of another one.

    The second object is the picture of a can that robosuite puts in the middle of that compartment.
    """

    name = "robosuite_can"
    environment = "PickPlaceCan"
    objects = (TaskObject("Can_main", symmetry=0), TaskObject("VisualCan_main", symmetry=0, fixed=True))
    time_limit_s = 20.0

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Pick the can, standing or lying, carry it over its compartment, lower it, let go and climb."""
        can, goal = scene.base_from_object
        handle, grasp = _handle(can)
        x, y, z = np.abs(can.position - goal.position).tolist()
        if _holds_can(scene, can):
            if x < 0.03 and y < 0.03 and z < 0.012:
                return leave(scene, handle, grasp)
            return carry(scene, can, goal.position, grasp=grasp), 0.0
        if x < 0.07 and y < 0.09 and z < 0.03:
            return leave(scene, handle, grasp)
        return pick(scene, handle, grasp=grasp)


def _holds_can(scene: Scene, can: Pose) -> bool:
    """Tell whether the fingers are around the can, however it hangs between them, and as wide as it is."""
    between = scene.base_from_tcp.position + scene.base_from_tcp.rotation @ TCP_FROM_PADS_M
    x, y, z = (can.rotation.T @ (between - can.position)).tolist()
    return hypot(x, y) < 0.025 and abs(z) < 0.045 and STANDING.gripped[0] < scene.opening < STANDING.gripped[1]


def _handle(can: Pose) -> tuple[Pose, Grasp]:
    """Return where to grip a can: a standing one along the walls of its bin, a lying one across."""
    x, y, z = can.rotation[:, 2].tolist()
    low = can.position + np.array([0.0, 0.0, -0.008])  # the pads come to its middle
    if abs(z) > 0.7:
        return Pose(low, np.eye(3)), STANDING
    along = np.array([x, y, 0.0]) / np.hypot(x, y)
    across = np.array([-along[1], along[0], 0.0])
    return Pose(low, np.stack([along, across, (0.0, 0.0, 1.0)], axis=1)), LYING
