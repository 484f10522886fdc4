"""The small motion by which latencies are measured: smooth, slow, never the same twice while it lasts.

Each axis of the base is a sum of two sines whose frequencies have no common measure, so that a shift in time can be
mistaken for no other, and whatever a camera looks along, it sees two of the three. It begins and ends at rest.
"""

from math import pi, sin

import numpy as np
from numpy.typing import NDArray

from calibration.errors import NotGoodEnoughError
from hardware.arms.controller import Chunk
from hardware.arms.limits import ArmLimits, Workspace
from hardware.clock import NS_PER_S
from hardware.poses import Array, Pose, action_vector

SWAY_S = 6.0
RAMP_S = 1.0
WAYPOINT_S = 0.02
AXES = (((0.008, 0.53), (0.003, 1.31)), ((0.008, 0.71), (0.003, 1.73)), ((0.004, 0.43), (0.0015, 1.09)))
"""Amplitude in m and frequency in Hz of both sines of x, y and z: at most 0.1 m/s."""
REACH_M = tuple(sum(amplitude for amplitude, _ in sines) for sines in AXES)
GRIPPER = ((0.2, 0.37), (0.06, 0.91))
"""The same of the gripper, in shares of its opening, about `GRIPPER_MIDDLE`."""
GRIPPER_MIDDLE = 0.65


def offset_m(time_s: float) -> Array:
    """Return how far (3,) the arm is from the middle at a time from the beginning; zero before and after."""
    return np.array([_sum(sines, time_s) for sines in AXES])


def opening(time_s: float) -> float:
    """Return the gripper's opening at a time from the beginning."""
    return GRIPPER_MIDDLE + _sum(GRIPPER, time_s)


def _sum(sines: tuple[tuple[float, float], ...], time_s: float) -> float:
    """Return a sum of sines, let in and out smoothly."""
    inside = min(max(min(time_s, SWAY_S - time_s) / RAMP_S, 0.0), 1.0)
    return sin(0.5 * pi * inside) ** 2 * sum(a * sin(2.0 * pi * hertz * time_s) for a, hertz in sines)


def check_room(base_from_tcp: Pose, limits: ArmLimits) -> None:
    """Raise NotGoodEnoughError where the limits would cut the motion off."""
    workspace = Workspace(limits)
    for axis, reach_m in enumerate(REACH_M):
        for sign in (-1.0, 1.0):
            moved = base_from_tcp.position + sign * reach_m * np.eye(3)[axis]
            if not workspace.holds(Pose(moved, base_from_tcp.rotation)):
                raise NotGoodEnoughError(
                    f"The arm needs {1000 * max(REACH_M):.0f} mm to all sides within its limits: take it away from the "
                    "workspace's walls and the table."
                )


def sway_path(base_from_tcp: Pose, gripper: float | None, begin_ns: int) -> Chunk:
    """Return the motion about a pose as waypoints for the controller.

    `gripper` is the opening that stays; None moves the gripper instead of the arm.
    """
    seconds = np.arange(WAYPOINT_S, SWAY_S + WAYPOINT_S, WAYPOINT_S)
    times_ns: NDArray[np.int64] = begin_ns + np.rint(seconds * NS_PER_S).astype(np.int64)
    actions = [
        action_vector(base_from_tcp, opening(s))
        if gripper is None
        else action_vector(Pose(base_from_tcp.position + offset_m(s), base_from_tcp.rotation), gripper)
        for s in seconds.tolist()
    ]
    return Chunk(begin_ns, times_ns, np.array(actions))
