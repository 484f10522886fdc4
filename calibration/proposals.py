"""Where to take the arm to look at the board: poses that are reachable, safe, and as different as possible.

Directions from which a camera would see the board well are drawn at random from a seed and checked; of those that pass,
each next one is the one that differs most from all before (farthest-point selection). Then they are put into an order
that keeps the ways short.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibration.board import Board
from hardware.arms.limits import ArmLimits, Workspace
from hardware.cameras.lens import Lens
from hardware.cell.kinematics import JOINT_LIMIT_RAD, chain, inverse_step
from hardware.interfaces import ArmState
from hardware.poses import Array, Pose, rotation_matrix, rotation_vector

CANDIDATES = 1500
SEEN_SHARE = 0.6
"""At least this share of the corners has to be in the picture."""
BORDER_PX = 6.0
CLEARANCE_M = 0.04
"""How far above the table everything stays: the tool's points, the board and the camera."""
LEAN_RAD = np.radians(40.0)
"""How far the tool may lean away from where it points now."""
STEP_M, STEP_RAD = 0.02, 0.1
JOINT_MARGIN_RAD = 0.2
MAX_JOINT_STEP_RAD = 0.6
MIN_DEXTERITY = 0.02
"""Smallest singular value of the Jacobian: nearer to a singularity the joints would race."""
SAME_ARM_M = 0.02


@dataclass(frozen=True)
class Sight:
    """What is known, roughly, of camera and board. `on_arm`: the camera rides on the TCP, else the board does."""

    lens: Lens
    link_from_camera: Pose
    other_from_board: Pose
    on_arm: bool

    def base_from_tcp(self, camera_from_board: Pose) -> Pose:
        """Return where the TCP has to be for the camera to see the board so."""
        if self.on_arm:
            return self.other_from_board @ camera_from_board.inverse() @ self.link_from_camera.inverse()
        return self.link_from_camera @ camera_from_board @ self.other_from_board.inverse()

    def camera_from_board(self, base_from_tcp: Pose) -> Pose:
        """Return how the camera sees the board with the TCP at a pose."""
        other_from_link = base_from_tcp if self.on_arm else base_from_tcp.inverse()
        return self.link_from_camera.inverse() @ other_from_link.inverse() @ self.other_from_board


@dataclass(frozen=True)
class Bounds:
    """What poses have to keep: the workspace, the table for what the tool carries, and the arm's own reach."""

    limits: ArmLimits
    state: ArmState
    flange_from_tcp: Pose

    def reach(self) -> "Callable[[Array, Pose], Array | None]":
        """Return a function from joints and a pose on a straight way ahead to the joints there; None if out of reach.

        An arm that is no UR5e is not known here: then any pose counts as reachable, and the arm itself has to tell.
        """
        known = chain(self.state.joints, self.flange_from_tcp).base_from_tcp
        if np.linalg.norm(known.position - self.state.base_from_tcp.position) > SAME_ARM_M:
            return lambda joints, pose: joints
        return self._along

    def _along(self, joints: Array, goal: Pose) -> Array | None:
        here = chain(joints, self.flange_from_tcp).base_from_tcp
        for pose in way(here, goal):
            before = joints
            for _ in range(6):
                joints = inverse_step(joints, pose, self.flange_from_tcp, max_step_rad=0.3)
            posture = chain(joints, self.flange_from_tcp)
            off = np.linalg.norm(posture.base_from_tcp.position - pose.position)
            turn = np.linalg.norm(rotation_vector(posture.base_from_tcp.rotation.T @ pose.rotation))
            if off > 1e-3 or turn > 0.01 or np.abs(joints - before).max() > MAX_JOINT_STEP_RAD:
                return None
            if (np.abs(joints) > JOINT_LIMIT_RAD - JOINT_MARGIN_RAD).any():
                return None
            if np.linalg.svd(posture.jacobian, compute_uv=False)[-1] < MIN_DEXTERITY:
                return None
        return joints


def way(start: Pose, goal: Pose) -> list[Pose]:
    """Return the poses of the straight way to a goal, a small step apart, the goal last."""
    offset, turn = goal.position - start.position, rotation_vector(goal.rotation @ start.rotation.T)
    steps = max(1, int(np.ceil(max(np.linalg.norm(offset) / STEP_M, np.linalg.norm(turn) / STEP_RAD))))
    return [
        Pose(start.position + share * offset, rotation_matrix(share * turn) @ start.rotation)
        for share in np.arange(1, steps + 1) / steps
    ]


def propose(board: Board, sight: Sight, bounds: Bounds, count: int, seed: int = 0) -> list[Pose]:
    """Return up to `count` poses base_from_tcp, to be visited in this order from where the arm is now."""
    rng = np.random.default_rng(seed)
    here = bounds.state.base_from_tcp
    now = sight.camera_from_board(here)
    centre = board.outline.mean(axis=0)
    distance = float((now.rotation @ centre + now.position)[2])
    limits = replace(bounds.limits, table_height_m=bounds.limits.table_height_m + CLEARANCE_M)
    workspace = Workspace(limits)
    candidates, features = [here], [_features(board, sight.lens, now, distance)]
    for _ in range(CANDIDATES):
        camera_from_board = _candidate(rng, sight.lens, now, centre, distance)
        pose = sight.base_from_tcp(camera_from_board)
        if _allowed(board, sight, workspace, limits.table_height_m, here, pose, camera_from_board):
            candidates.append(pose)
            features.append(_features(board, sight.lens, camera_from_board, distance))
    chosen = _spread(np.array(features), 2 * count)
    return _tour(bounds, [candidates[i] for i in chosen], count)


def _candidate(rng: np.random.Generator, lens: Lens, now: Pose, centre: Array, distance: float) -> Pose:
    """Return a random camera_from_board: anywhere in the picture, tilted, turned a little, nearer or farther."""
    depth = distance * rng.uniform(0.55, 1.25)
    u, v = rng.uniform(0.15, 0.85) * lens.width, rng.uniform(0.15, 0.85) * lens.height
    middle = depth * np.array([(u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy, 1.0])
    facing = _facing(now.rotation)
    tilt = rng.uniform(-0.65, 0.65, 2)
    rotation = (
        rotation_matrix(np.array([*tilt, 0.0])) @ rotation_matrix(np.array([0, 0, rng.uniform(-1.2, 1.2)])) @ facing
    )
    return Pose(middle - rotation @ centre, rotation)


def _facing(rotation: Array) -> Array:
    """Return a board's rotation turned to face the camera squarely, its heading in the picture kept."""
    heading = np.arctan2(rotation[1, 0], rotation[0, 0])
    return rotation_matrix(np.array([0.0, 0.0, heading]))


def _allowed(
    board: Board, sight: Sight, workspace: Workspace, lowest_m: float, here: Pose, pose: Pose, camera_from_board: Pose
) -> bool:
    if not workspace.holds(pose) or float(pose.rotation[:, 2] @ here.rotation[:, 2]) < np.cos(LEAN_RAD):
        return False
    if sight.on_arm:
        carried = (pose @ sight.link_from_camera).position[None]
    else:
        corners = board.outline @ sight.other_from_board.rotation.T + sight.other_from_board.position
        carried = corners @ pose.rotation.T + pose.position
    if carried[:, 2].min() < lowest_m:
        return False
    pixels = board.seen(camera_from_board, sight.lens)
    size = np.array([sight.lens.width, sight.lens.height])
    with np.errstate(invalid="ignore"):
        inside = ((pixels > BORDER_PX) & (pixels < size - BORDER_PX)).all(axis=1)
    return bool(inside.mean() >= SEEN_SHARE and camera_from_board.rotation[2, 2] > 0.6)


def _features(board: Board, lens: Lens, camera_from_board: Pose, distance: float) -> Array:
    """Return what makes a view different (6,): where in the picture, how tilted and turned, how far."""
    middle = camera_from_board.rotation @ board.outline.mean(axis=0) + camera_from_board.position
    u, v = lens.project(middle).tolist()
    x, y, _ = camera_from_board.rotation[:, 2].tolist()
    heading = np.arctan2(camera_from_board.rotation[1, 0], camera_from_board.rotation[0, 0])
    return np.array([2 * u / lens.width, 2 * v / lens.height, 3 * x, 3 * y, heading, 2 * middle[2] / distance])


def _spread(features: Array, count: int) -> list[int]:
    """Return indices of features (n, d), the first one first, each next one farthest from those before."""
    chosen = [0]
    nearest = np.linalg.norm(features - features[0], axis=1)
    while len(chosen) < min(count, len(features)):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return chosen


def _tour(bounds: Bounds, poses: Sequence[Pose], count: int) -> list[Pose]:
    """Return the first `count` poses that can be reached from the one before, always the nearest next."""
    reach = bounds.reach()
    left = list(poses[: count + 1])
    spare = list(poses[count + 1 :])
    here, joints = left.pop(0), bounds.state.joints
    tour: list[Pose] = []
    while left and len(tour) < count:
        nearest = min(left, key=lambda pose: float(np.linalg.norm(pose.position - here.position)))
        left = [pose for pose in left if pose is not nearest]
        reached = reach(joints, nearest)
        if reached is not None:
            tour.append(nearest)
            here, joints = nearest, reached
        elif spare:
            left.append(spare.pop(0))
    return tour
