"""Take an obstacle out of an open drawer, put a cube into it, and push it shut."""

from math import atan2, hypot, pi

import numpy as np

from hardware.cell.expert import CUBE_M, carry, holds, leave, move, pick
from hardware.cell.task import Props, Scene, TaskObject, pose_on_table
from hardware.poses import Array, Pose

INSIDE_M = 0.18
"""The drawer's sides, inside."""
WALL_M, HEIGHT_M, FLOOR_M = 0.006, 0.05, 0.004
TRAVEL_M = INSIDE_M + 2 * WALL_M
SHUT_M = TRAVEL_M - 0.015
TOP_M = HEIGHT_M + 0.012
"""The height of the cabinet's top."""
FRAME_M = 0.07
"""The height of the drawer's frame, in its middle."""
SPOT_M = 0.18
"""How far beside the drawer the obstacle is put."""
PUSH_HEIGHT_M = 0.03

_HALF = INSIDE_M / 2
_WALL = 'type="box" mass="0.1" material="area" friction="0.6 0.01 0.001"'
_WALLS = "".join(
    f'<geom {_WALL} size="{size}" pos="{pos}"/>'
    for size, pos in (
        (f"{_HALF} {_HALF} {FLOOR_M / 2}", f"0 0 {FLOOR_M / 2 + 0.001 - FRAME_M}"),
        *(
            (f"{_HALF + WALL_M} {WALL_M / 2} {HEIGHT_M / 2}", f"0 {y} {HEIGHT_M / 2 + 0.001 - FRAME_M}")
            for y in (_HALF + WALL_M / 2, -_HALF - WALL_M / 2)
        ),
        *(
            (f"{WALL_M / 2} {_HALF} {HEIGHT_M / 2}", f"{x} 0 {HEIGHT_M / 2 + 0.001 - FRAME_M}")
            for x in (_HALF + WALL_M / 2, -_HALF - WALL_M / 2)
        ),
    )
)
_SIDE = _HALF + 2 * WALL_M
_CABINET = "".join(
    f'<geom type="box" size="{size}" pos="{pos}" material="steel"/>'
    for size, pos in (
        (f"{_HALF + WALL_M} {_SIDE + 0.004} 0.003", f"{TRAVEL_M} 0 {TOP_M - 0.003 - FRAME_M}"),
        *(
            (f"{_HALF + WALL_M} 0.004 {TOP_M / 2 - 0.003}", f"{TRAVEL_M} {y} {TOP_M / 2 - 0.003 - FRAME_M}")
            for y in (_SIDE, -_SIDE)
        ),
    )
)


class DrawerInteraction:
    """A drawer that stands open with an obstacle in it, before its cabinet; a cube lies beside it."""

    name = "drawer_interaction"
    objects = (
        TaskObject("cube", symmetry=4),
        TaskObject("obstacle", symmetry=4),
        TaskObject("drawer", symmetry=1, jointed=True),
        TaskObject("cabinet", symmetry=1, fixed=True),
    )
    mjcf = Props(f"""
    <body name="cube"><freejoint name="cube"/><geom class="cube" material="red"/></body>
    <body name="obstacle"><freejoint name="obstacle"/><geom class="cube" material="green"/></body>
    <body name="cabinet" mocap="true">
      {_CABINET}
      <body name="drawer">
        <joint name="drawer" type="slide" axis="1 0 0" range="0 {TRAVEL_M}" damping="25" frictionloss="3"/>{_WALLS}
      </body>
    </body>""")
    time_limit_s = 40.0

    def sample(self, rng: np.random.Generator) -> tuple[Pose, ...]:
        """Return the poses of cube, obstacle, drawer and cabinet; the cabinet's frame is the open drawer's."""
        x, y, yaw = rng.uniform((0.45, -0.02, -0.1), (0.48, 0.02, 0.1)).tolist()
        cabinet = pose_on_table(x, y, FRAME_M, yaw)
        side, along, beyond, turned = rng.uniform((-1, -0.04, 0.0, -pi / 4), (1, 0.06, 0.03, pi / 4)).tolist()
        beside = cabinet.position + cabinet.rotation @ np.array([along, np.copysign(0.17 + beyond, side), 0.0])
        cube = pose_on_table(beside[0], beside[1], CUBE_M / 2, turned)
        dx, dy, obstacle_yaw = rng.uniform((-0.015, -0.015, -pi / 4), (0.015, 0.015, pi / 4)).tolist()
        inside = cabinet.position + cabinet.rotation @ np.array([dx, dy, 0.0])
        obstacle = pose_on_table(inside[0], inside[1], CUBE_M / 2 + FLOOR_M + 0.001, obstacle_yaw)
        return cube, obstacle, cabinet, cabinet

    def succeeded(self, scene: Scene) -> bool:
        """Tell whether the drawer is shut, with the cube and without the obstacle."""
        cube, obstacle, _, _ = scene.base_from_object
        return _shut_by(scene) > SHUT_M and _contains(scene, cube) and not _contains(scene, obstacle)

    def expert(self, scene: Scene) -> tuple[Array, float]:
        """Take the obstacle out, to the side where the cube is not; then put the cube in; then push, fingers closed."""
        cube, obstacle, drawer, _ = scene.base_from_object
        if holds(scene, obstacle):
            return _put(scene, obstacle, _spot(scene), 0.0, CUBE_M / 2)
        if _contains(scene, obstacle):
            return _pull(scene) if _shut_by(scene) > 0.05 else pick(scene, obstacle, _wall_beside(scene, obstacle))
        if not _contains(scene, cube) or (holds(scene, cube) and _shut_by(scene) < SHUT_M):
            if _shut_by(scene) > 0.06:
                return _pull(scene)
            if holds(scene, cube):
                goal = drawer.position + drawer.rotation @ np.array([-_shut_by(scene) / 2, 0.0, 0.0])
                return _put(scene, cube, goal, _askew(scene), CUBE_M / 2 + FLOOR_M)
            return pick(scene, cube)
        return _push(scene)


def _wall_beside(scene: Scene, cube: Pose) -> Pose | None:
    """Return a place in the wall that is so near to a cube in the drawer that no finger fits between, if one is."""
    drawer = scene.base_from_object[2]
    local = drawer.rotation.T @ (cube.position - drawer.position)
    axis = int(np.argmax(np.abs(local[:2])))
    if abs(local[axis]) < 0.025:
        return None
    return Pose(cube.position + drawer.rotation[:, axis] * np.copysign(0.06, local[axis]), drawer.rotation)


def _put(scene: Scene, cube: Pose, spot: Array, yaw: float, height: float) -> tuple[Array, float]:
    """Return twist and opening that put a held cube down at a spot, with its middle at a height, and let go."""
    away = hypot(cube.position[0] - spot[0], cube.position[1] - spot[1])
    if away < 0.012 and cube.position[2] < height + 0.005:
        return leave(scene, cube)
    over_walls = HEIGHT_M * min(max((away - 0.03) / 0.05, 0.0), 1.0)
    return carry(scene, cube, np.array([spot[0], spot[1], height - 0.003 + over_walls]), yaw), 0.0


def _push(scene: Scene) -> tuple[Array, float]:
    """Return twist and opening that go before the drawer's front with closed fingers, down, and forward."""
    return _shove(scene, -_HALF - WALL_M - 0.05, 1.0)


def _pull(scene: Scene) -> tuple[Array, float]:
    """Return twist and opening that go behind the drawer's front with closed fingers, down, and back."""
    return _shove(scene, -_HALF + 0.03, -1.0)


def _shove(scene: Scene, start_x: float, direction: float) -> tuple[Array, float]:
    drawer, tcp = scene.base_from_object[2], scene.base_from_tcp
    x, y, _ = (drawer.rotation.T @ (tcp.position - drawer.position)).tolist()
    behind = direction * (x - start_x)
    if tcp.position[2] < PUSH_HEIGHT_M + 0.012 and abs(y) < 0.04 and -0.03 < behind < 0.05:
        forward = np.array([direction * 0.06, -0.5 * y, 0.0])
        target = tcp.position + drawer.rotation @ forward
        target[2] = PUSH_HEIGHT_M
        return move(scene, target, _askew(scene)), 0.0
    place = drawer.position + drawer.rotation @ np.array([start_x, 0.0, 0.0])
    away = hypot(*(tcp.position - place)[:2])
    misaligned = max(away / 0.04, scene.opening / 0.3)
    height = PUSH_HEIGHT_M + 0.10 * min(max((misaligned - 0.3) / 0.7, 0.0), 1.0)
    target = np.array([place[0], place[1], height])
    return move(scene, target, _askew(scene), climb=height - tcp.position[2]), 0.0


def _shut_by(scene: Scene) -> float:
    """Return how far the drawer has been pushed in."""
    _, _, drawer, cabinet = scene.base_from_object
    return float((cabinet.rotation.T @ (drawer.position - cabinet.position))[0])


def _contains(scene: Scene, cube: Pose) -> bool:
    """Tell whether a cube lies in the drawer."""
    drawer = scene.base_from_object[2]
    x, y, _ = (drawer.rotation.T @ (cube.position - drawer.position)).tolist()
    return max(abs(x), abs(y)) < _HALF - 0.005 and bool(cube.position[2] < HEIGHT_M)


def _spot(scene: Scene) -> Array:
    """Return where the obstacle is put: beside the drawer, where the cube is not."""
    cube, _, _, cabinet = scene.base_from_object
    y = float((cabinet.rotation.T @ (cube.position - cabinet.position))[1])
    spot: Array = cabinet.position + cabinet.rotation @ np.array([0.0, -np.copysign(SPOT_M, y), 0.0])
    return spot


def _askew(scene: Scene) -> float:
    """Return the angle from tool to drawer, modulo half a turn, in [-pi/2, pi/2): the fingers open sideways."""
    turned = scene.base_from_tcp.rotation.T @ scene.base_from_object[2].rotation
    return -((atan2(turned[1, 0], turned[0, 0]) + pi / 2) % pi - pi / 2)
