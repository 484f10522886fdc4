"""Insert two drawer boxes into the bays of a container, from the front, by the knobs on them."""

from math import atan2, hypot, pi

import numpy as np

from hardware.cell.expert import CUBE_M, carry, holds, leave, move, pick
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table
from hardware.poses import Array, Pose

BOX_M = (0.10, 0.08, 0.03)
KNOB_M = BOX_M[2] + CUBE_M / 2
"""The height of a knob's middle, where a box's frame is, above what the box stands on."""
WALL_M = 0.008
BAY_M = BOX_M[1] + 0.016
BAYS_Y_M = (-(BAY_M + WALL_M) / 2, (BAY_M + WALL_M) / 2)
WALL_HEIGHT_M = 0.025
FRONT_M = 0.13
"""How far in front of its place a box is set down to be pushed in."""

_DEPTH = BOX_M[0] / 2
_WALLS = "".join(
    f'<geom type="box" size="{_DEPTH} {WALL_M / 2} {WALL_HEIGHT_M / 2}" pos="0 {y} {WALL_HEIGHT_M / 2 - KNOB_M}"'
    ' material="steel"/>'
    for y in (-BAY_M - WALL_M, 0.0, BAY_M + WALL_M)
)
_BACK = (
    f'<geom type="box" size="{WALL_M / 2} {BAY_M + 1.5 * WALL_M} {WALL_HEIGHT_M / 2}"'
    f' pos="{_DEPTH + WALL_M / 2} 0 {WALL_HEIGHT_M / 2 - KNOB_M}" material="steel"/>'
)


def _box(name: str, colour: str) -> str:
    x, y, z = (side / 2 for side in BOX_M)
    return f"""
    <body name="{name}"><freejoint name="{name}"/>
      <geom class="cube" material="{colour}" mass="0.03"/>
      <geom type="box" size="{x} {y} {z}" pos="0 0 {-z - CUBE_M / 2}" mass="0.27" material="{colour}"
            friction="0.4 0.01 0.001"/>
    </body>"""


class DrawerAssembling:
    """Two boxes at random places left and right, the container behind them, turned a little."""

    name = "drawer_assembling"
    objects = (
        TaskObject("left_box", symmetry=2),
        TaskObject("right_box", symmetry=2),
        TaskObject("container", symmetry=1, fixed=True),
    )
    mjcf = Props(f"""
    {_box("left_box", "red")}{_box("right_box", "green")}
    <body name="container" mocap="true">{_WALLS}{_BACK}</body>""")
    time_limit_s = 45.0

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return the poses of both boxes (at their knobs) and of the container."""
        x, y, yaw = rng.uniform((0.60, -0.03, -0.2), (0.64, 0.03, 0.2)).tolist()
        boxes = []
        for side in (1.0, -1.0):
            box_x, box_y, box_yaw = rng.uniform((0.36, 0.11, -pi / 4), (0.46, 0.20, pi / 4)).tolist()
            boxes.append(pose_on_table(box_x, side * box_y, KNOB_M, box_yaw))
        return *boxes, pose_on_table(x, y, KNOB_M, yaw)

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether both boxes are in their bays and the open gripper is 5 cm above where it let go."""
        clear = scene.opening > 0.75 and scene.base_from_tcp.position[2] > KNOB_M + 0.05
        return clear and all(_inserted(scene, box) for box in (0, 1))

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Pick a box that is not in its bay, set it down before the bay, push it in, let go and climb."""
        left, right, _ = scene.base_from_object
        for index, box in ((0, left), (1, right)):
            if holds(scene, box):
                return (leave(scene, box)) if _inserted(scene, index) else (_insert(scene, index), 0.0)
        waiting = [index for index in (0, 1) if not _inserted(scene, index)]
        if not waiting:
            nearest = min((left, right), key=lambda box: hypot(*(box.position - scene.base_from_tcp.position)[:2]))
            return leave(scene, nearest)
        return pick(scene, scene.base_from_object[waiting[0]])


def _insert(scene: Scene, index: int) -> Array:
    """Return the twist that brings a held box before its bay, down, and into it."""
    box, container = scene.base_from_object[index], scene.base_from_object[2]
    x, y, z = _misplaced(scene, index)
    yaw = _askew(scene, index)
    low = z < 0.008
    if low and x > -FRONT_M - 0.02 and ((abs(y) < 0.005 and abs(yaw) < 0.08) or (x > -0.08 and abs(y) < 0.012)):
        goal = _place(container, index) + container.rotation @ np.array([0.005, 0.0, 0.002])
        return move(scene, scene.base_from_tcp.position + goal - box.position, yaw)
    return carry(scene, box, _place(container, index) + container.rotation @ np.array([-FRONT_M, 0.0, 0.003]), yaw)


def _inserted(scene: Scene, index: int) -> bool:
    x, y, z = _misplaced(scene, index)
    return abs(x) < 0.012 and abs(y) < 0.012 and abs(z) < 0.006


def _place(container: Pose, index: int) -> Array:
    """Return where a box's knob belongs: the left one in the bay on the left."""
    place: Array = container.position + container.rotation @ np.array([0.0, BAYS_Y_M[1 - index], 0.0])
    return place


def _misplaced(scene: Scene, index: int) -> tuple[float, float, float]:
    """Return how far a box is from its place, in the container's frame."""
    box, container = scene.base_from_object[index], scene.base_from_object[2]
    x, y, z = (container.rotation.T @ (box.position - _place(container, index))).tolist()
    return x, y, z


def _askew(scene: Scene, index: int) -> float:
    """Return the angle from box to container, modulo half a turn, in [-pi/2, pi/2)."""
    turned = scene.base_from_object[index].rotation.T @ scene.base_from_object[2].rotation
    return (atan2(turned[1, 0], turned[0, 0]) + pi / 2) % pi - pi / 2
