"""The simulated cell as the mechanics behind an emulated controller, and as the scene around its arm."""

from typing import Any

import numpy as np

from hardware.cell.cell import Cell
from hardware.errors import DeviceError
from hardware.poses import Array, Pose


class CellRobot:
    """A `Robot` that steps a cell, with its `Scenery`. The cell's servo period has to be the controller's cycle."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._scene = 0
        self._take()

    def step(self, target_joints: Array, target_opening: float, seconds: float) -> None:
        """Advance the cell by one controller cycle, the arm on these joint targets. Raises DeviceError."""
        if abs(seconds - self.cell.servo_period_s) > 1e-9:
            raise DeviceError(
                f"The cell steps by {self.cell.servo_period_s:g} s and its controller by {seconds:g} s;"
                f" make the cell's servo_period_s {seconds:g}."
            )
        self.cell.arm.servo_joints(target_joints)
        self.cell.gripper.move(target_opening)
        self.cell.step()
        self._take()

    def put_up(self, seed: int) -> int:
        """Put up the scene of a seed around the arm, which stays as it is; return the scene's number."""
        self.cell.put_up(seed)
        self._scene += 1
        return self._scene

    def view(self) -> dict[str, Any]:
        """Return all that can be seen of the cell after its last step, in plain numbers (link.py reads them)."""
        cell = self.cell
        return {
            "task": cell.task.name,
            "scene_number": self._scene,
            "capture_ns": cell.capture_ns,
            "drawing": cell.state_vector().tolist(),
            "base_from_object": [_numbers(pose) for pose in cell.object_poses()],
            "base_from_tcp": _numbers(cell.arm.pose()),
            "opening": cell.gripper.read(),
            "succeeded": cell.succeeded(),
        }

    def _take(self) -> None:
        state = self.cell.arm.read()
        self.joints: Array = state.joints
        self.joint_velocities: Array = state.joint_velocities
        self.wrench: Array = state.wrench
        self.opening = self.cell.gripper.read()


def _numbers(pose: Pose) -> list[float]:
    """Return position and rotation, row by row, as twelve numbers."""
    numbers: list[float] = np.concatenate([pose.position, pose.rotation.ravel()]).tolist()
    return numbers
