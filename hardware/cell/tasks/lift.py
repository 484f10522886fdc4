"""Lift a cube of 4 cm by 10 cm, and hold it there."""

import numpy as np

from hardware.cell.expert import CUBE_M, holds, move, pick
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table, scatter
from hardware.poses import Array, Pose

LIFT_M = 0.10


class Lift:
    """A cube at a random place and yaw."""

    name = "lift"
    objects = (TaskObject("cube", symmetry=4),)
    mjcf = Props('<body name="cube"><freejoint name="cube"/><geom class="cube" material="red"/></body>')
    time_limit_s = 12.0

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return the cube's pose: anywhere in front of the arm, any yaw."""
        ((x, y, yaw),) = scatter(rng, 1)
        return (pose_on_table(x, y, CUBE_M / 2, yaw),)

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether the cube is 10 cm above the table."""
        return bool(scene.base_from_object[0].position[2] > CUBE_M / 2 + LIFT_M)

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Pick the cube; once it is held, raise it to 13 cm."""
        (cube,) = scene.base_from_object
        if not holds(scene, cube):
            return pick(scene, cube)
        target = scene.base_from_tcp.position + np.array([0.0, 0.0, CUBE_M / 2 + LIFT_M + 0.03 - cube.position[2]])
        return move(scene, target), 0.0
