"""The simulated cell's two-finger gripper as a `Gripper`."""

from typing import Any

from hardware.cell.model import STROKE_M

SPEED_PER_S = 2.5  # full openings per second: 85 mm in 0.4 s


class SimulatedGripper:
    """Two coupled fingers behind one position servo. `advance` belongs to the cell, the rest is `Gripper`."""

    def __init__(self, model: Any, data: Any, servo_period_s: float) -> None:
        self._data = data
        self._joints = [int(model.joint(name).qposadr[0]) for name in ("finger_left", "finger_right")]
        self._actuator = model.actuator("gripper").id
        self._step = SPEED_PER_S * servo_period_s
        self._target = self._command = 1.0

    @property
    def fault(self) -> str | None:
        """None: a simulated gripper does not fail."""
        return None

    def recover(self) -> None:
        """Nothing to make ready."""

    def read(self) -> float:
        """Return the measured opening, 0 closed to 1 open."""
        left, right = self._joints
        return float(self._data.qpos[left] + self._data.qpos[right]) / STROKE_M

    def move(self, opening: float) -> None:
        """Start moving to an opening."""
        self._target = min(max(opening, 0.0), 1.0)

    def close(self) -> None:
        """Nothing to release."""

    def reset(self) -> None:
        """Put the fingers at rest, open."""
        for joint in self._joints:
            self._data.qpos[joint] = STROKE_M / 2
        self._target = self._command = 1.0
        self._data.ctrl[self._actuator] = STROKE_M / 2

    def advance(self) -> None:
        """Set the finger servo for the coming servo period."""
        self._command += min(max(self._target - self._command, -self._step), self._step)
        self._data.ctrl[self._actuator] = self._command * STROKE_M / 2

    def memory(self) -> tuple[float, float]:
        """Return what the gripper remembers beside the physics: target and commanded opening."""
        return self._target, self._command

    def remember(self, memory: tuple[float, float]) -> None:
        """Take up a `memory` again."""
        self._target, self._command = memory
