"""Put one cube of 4 cm on top of another, and let go of it."""

from math import hypot

import numpy as np

from hardware.cell.expert import CUBE_M, carry, holds, leave, pick, yaw_error
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table, scatter
from hardware.poses import Array, Pose


class Stacking:
    """Two cubes at random places and yaws: the red one belongs on the green one."""

    name = "stacking"
    objects = (TaskObject("cube", symmetry=4), TaskObject("base", symmetry=4))
    mjcf = Props("""
    <body name="cube"><freejoint name="cube"/><geom class="cube" material="red"/></body>
    <body name="base"><freejoint name="base"/><geom class="cube" material="green"/></body>""")
    time_limit_s = 18.0

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return the poses of both cubes, at least 12 cm apart."""
        places = scatter(rng, 2, apart_m=0.12)
        return tuple(pose_on_table(x, y, CUBE_M / 2, yaw) for x, y, yaw in places)

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether the cube rests on the other one and the open gripper is 5 cm above it."""
        cube, _ = scene.base_from_object
        clear = scene.opening > 0.75 and scene.base_from_tcp.position[2] > cube.position[2] + 0.05
        sideways, above = _misplaced(scene)
        return clear and sideways < CUBE_M / 2 and abs(above) < 0.004

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Pick the cube, carry it over the other one, turn it alike, lower it, let go and climb."""
        cube, base = scene.base_from_object
        sideways, above = _misplaced(scene)
        if holds(scene, cube):
            if sideways < 0.01 and abs(above) < 0.003:
                return leave(scene, cube)
            goal = base.position + np.array([0.0, 0.0, CUBE_M - 0.003])
            return carry(scene, cube, goal, yaw_error(scene, base)), 0.0
        if sideways < CUBE_M / 2 - 0.004 and abs(above) < 0.004:
            return leave(scene, cube)
        return pick(scene, cube, neighbour=base)


def _misplaced(scene: Scene) -> tuple[float, float]:
    """Return how far the cube is sideways of, and above, its place on the other one."""
    cube, base = scene.base_from_object
    x, y, z = (cube.position - base.position).tolist()
    return hypot(x, y), z - CUBE_M
