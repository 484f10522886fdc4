"""The mechanics behind the emulated controller: a small interface, and the ideal robot that follows exactly.

What stands around the arm, if there is a cell, is an interface of its own.
"""

from typing import Any, Protocol

import numpy as np

from hardware.poses import Array

HOME_JOINTS_RAD = np.array([2.8602, -1.62, 1.8447, -1.7955, -1.5708, -1.8522])


class Robot(Protocol):
    """An arm of six joint servos with a gripper. Joints (6,) rad, velocities (6,) rad/s, wrench (6,) N, Nm in base."""

    @property
    def joints(self) -> Array:
        """The measured joint positions."""
        ...

    @property
    def joint_velocities(self) -> Array:
        """The measured joint velocities."""
        ...

    @property
    def wrench(self) -> Array:
        """Force and torque on the tool, about the TCP."""
        ...

    @property
    def opening(self) -> float:
        """The gripper's measured opening, 0 closed and 1 open."""
        ...

    def step(self, target_joints: Array, target_opening: float, seconds: float) -> None:
        """Advance by one controller cycle with the servos on these targets."""
        ...


class Scenery(Protocol):
    """What stands around the arm, as a person in the cell sees it and can change it."""

    def put_up(self, seed: int) -> int:
        """Put up the scene of a seed while the arm stays as it is; return the scene's number."""
        ...

    def view(self) -> dict[str, Any]:
        """Return all that can be seen, ready for JSON."""
        ...


class IdealRobot:
    """Massless: at the end of every cycle it is where it was told to be. The gripper opens or closes in one second."""

    GRIPPER_SPEED_1_S = 1.0

    def __init__(self, joints: Array = HOME_JOINTS_RAD) -> None:
        self.joints: Array = np.array(joints, dtype=np.float64)
        self.joint_velocities: Array = np.zeros(6)
        self.wrench: Array = np.zeros(6)
        self.opening = 1.0

    def step(self, target_joints: Array, target_opening: float, seconds: float) -> None:
        """Advance by one controller cycle with the servos on these targets."""
        self.joint_velocities = (target_joints - self.joints) / seconds
        self.joints = target_joints.copy()
        reach = self.GRIPPER_SPEED_1_S * seconds
        self.opening += min(max(target_opening - self.opening, -reach), reach)
