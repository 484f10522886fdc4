"""Open a microwave's door by the knob on it."""

from math import atan2, cos, sin

import numpy as np

from hardware.cell.expert import CUBE_M, holds, move, pick, yaw_error
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table
from hardware.poses import Array, Pose

DEPTH_M, WIDTH_M, HEIGHT_M = 0.14, 0.24, 0.09
KNOB_M = 0.19
"""From the hinge to the middle of the knob."""
OPEN_RAD = 1.05
AHEAD_RAD = 0.35
"""How far ahead on its arc the knob is led."""
HINGE = np.array([-DEPTH_M / 2 - 0.012, WIDTH_M / 2 - 0.005, 0.0])
KNOB = np.array([0.0, -KNOB_M, HEIGHT_M + CUBE_M / 2])
"""The knob's middle from the hinge, in the door's frame, which is the microwave's while the door is closed."""


class Microwave:
    """A microwave at a random place in front of the arm, turned a little; its door opens towards the arm."""

    name = "microwave"
    objects = (
        TaskObject("microwave", symmetry=1, fixed=True),
        TaskObject("knob", symmetry=1, jointed=True),
    )
    mjcf = Props(f"""
    <body name="microwave" mocap="true">
      <geom type="box" size="{DEPTH_M / 2} {WIDTH_M / 2} {HEIGHT_M / 2 - 0.002}" pos="0 0 {-HEIGHT_M / 2}"
            material="steel"/>
      <geom class="visual" type="box" size="0.03 0.06 0.0005" pos="0.02 0 -0.001" material="dark"/>
      <body name="door" pos="{HINGE[0]} {HINGE[1]} {-HEIGHT_M}">
        <inertial mass="0.6" pos="0 {-WIDTH_M / 2} {HEIGHT_M / 2}" diaginertia="0.004 0.002 0.004"/>
        <joint name="knob" axis="0 0 -1" range="0 1.7" damping="0.15" frictionloss="0.1"/>
        <geom type="box" size="0.006 {WIDTH_M / 2 - 0.01} {HEIGHT_M / 2 - 0.002}"
              pos="0 {-WIDTH_M / 2 + 0.005} {HEIGHT_M / 2}" mass="0" material="dark"/>
        <body name="knob" pos="{KNOB[0]} {KNOB[1]} {KNOB[2]}"><geom class="cube" mass="0" material="blue"/></body>
      </body>
    </body>""")
    time_limit_s = 22.0

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return the poses of the microwave (the middle of its top) and of the knob of its closed door."""
        x, y, yaw = rng.uniform((0.60, -0.08, -0.3), (0.66, 0.08, 0.3)).tolist()
        body = pose_on_table(x, y, HEIGHT_M, yaw)
        knob = body.position + body.rotation @ (HINGE + KNOB - (0.0, 0.0, HEIGHT_M))
        return body, Pose(knob, body.rotation)

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether the door is open by 60 degrees."""
        return _opened(scene) > OPEN_RAD

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Grip the knob, and lead it along its arc, turning with it."""
        _, knob = scene.base_from_object
        if not holds(scene, knob):
            return pick(scene, knob)
        arm = knob.position - knob.rotation @ KNOB  # the hinge, at the height of the table
        c, s = cos(-AHEAD_RAD), sin(-AHEAD_RAD)
        x, y = (knob.position - arm)[:2].tolist()
        target = np.array([arm[0] + c * x - s * y, arm[1] + s * x + c * y, knob.position[2]])
        return move(
            scene, scene.base_from_tcp.position + target - knob.position, yaw_error(scene, knob) - AHEAD_RAD
        ), 0.0


def _opened(scene: Scene) -> float:
    """Return the door's angle, 0 when it is closed."""
    body, knob = scene.base_from_object
    turned = body.rotation.T @ knob.rotation
    return -atan2(turned[1, 0], turned[0, 0])
