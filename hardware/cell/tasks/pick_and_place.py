"""Put a cube of 4 cm down in a round coloured area, and let go of it."""

from math import hypot

import numpy as np

from hardware.cell.expert import CUBE_M, carry, holds, leave, pick
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table, scatter
from hardware.poses import Array, Pose

AREA_RADIUS_M = 0.06
INSIDE_M = 0.045
"""How far from the area's centre the cube's centre may rest."""


class PickAndPlace:
    """A cube and an area at random places, the cube at a random yaw."""

    name = "pick_and_place"
    objects = (TaskObject("cube", symmetry=4), TaskObject("area", symmetry=1, fixed=True))
    mjcf = Props(f"""
    <body name="cube"><freejoint name="cube"/><geom class="cube" material="red"/></body>
    <body name="area" mocap="true">
      <geom class="visual" type="cylinder" size="{AREA_RADIUS_M} 0.0005" material="area"/>
    </body>""")
    time_limit_s = 16.0

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return the poses of cube and area, at least 14 cm apart."""
        (x, y, yaw), (area_x, area_y, _) = scatter(rng, 2, apart_m=0.14)
        return pose_on_table(x, y, CUBE_M / 2, yaw), pose_on_table(area_x, area_y, 0.0005)

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether the cube rests in the area and the open gripper is 5 cm above it."""
        cube, _ = scene.base_from_object
        clear = scene.opening > 0.75 and scene.base_from_tcp.position[2] > cube.position[2] + 0.05
        return clear and _rests(cube) and _from_centre(scene) < INSIDE_M

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Pick the cube, carry it over the area, lower it, let go and climb."""
        cube, area = scene.base_from_object
        distance = _from_centre(scene)
        if holds(scene, cube):
            if _rests(cube) and distance < 0.02:
                return leave(scene, cube)
            goal = area.position + np.array([0.0, 0.0, CUBE_M / 2 - 0.005])
            return carry(scene, cube, goal), 0.0
        if _rests(cube) and distance < INSIDE_M - 0.005:
            return leave(scene, cube)
        return pick(scene, cube)


def _rests(cube: Pose) -> bool:
    return bool(cube.position[2] < CUBE_M / 2 + 0.003)


def _from_centre(scene: Scene) -> float:
    cube, area = scene.base_from_object
    return hypot(cube.position[0] - area.position[0], cube.position[1] - area.position[1])
