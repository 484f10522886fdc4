"""The simulated cell's UR5e as an `Arm`; like the real one it solves its inverse kinematics itself."""

from typing import Any

import numpy as np

from hardware.cell.kinematics import JOINT_LIMIT_RAD, JOINT_SPEED_LIMIT_RAD_S, forward, inverse_step
from hardware.cell.model import GRIPPER_BODIES, TOOL0_FROM_TCP
from hardware.cell.wrench import contact_wrench
from hardware.interfaces import ArmState
from hardware.poses import Array, Pose

JOINTS = 6


class SimulatedArm:
    """Joint servos of the cell's model. `advance` and `capture` belong to the cell, the rest is the `Arm` interface."""

    def __init__(self, model: Any, data: Any, servo_period_s: float) -> None:
        self._model, self._data = model, data
        self._servo_period_s = servo_period_s
        self._bodies = [model.body(name).id for name in GRIPPER_BODIES]
        self._target: Pose | Array | None = None
        self._goal = np.zeros(JOINTS)
        self.capture(0)

    @property
    def servo_period_s(self) -> float:
        """The time between two servo commands."""
        return self._servo_period_s

    @property
    def fault(self) -> str | None:
        """None: a simulated arm does not fail."""
        return None

    def recover(self) -> None:
        """Nothing to make ready."""

    def read(self) -> ArmState:
        """Return the state after the cell's last step."""
        return ArmState(
            self._capture_ns,
            self._data.qpos[:JOINTS].copy(),
            self._data.qvel[:JOINTS].copy(),
            self._base_from_tcp,
            contact_wrench(self._model, self._data, self._bodies, self._base_from_tcp.position),
        )

    def pose(self) -> Pose:
        """Return the measured base_from_tcp alone."""
        return self._base_from_tcp

    def servo(self, base_from_tcp: Pose) -> None:
        """Move to a target and hold it, at most at the joints' top speed."""
        self._target = base_from_tcp

    def servo_joints(self, joints: Array) -> None:
        """Move to joint positions (6,) in rad and hold them, at most at the joints' top speed."""
        self._target = np.clip(joints, -JOINT_LIMIT_RAD, JOINT_LIMIT_RAD)

    def stop(self) -> None:
        """Hold the joint positions commanded last."""
        self._target = None

    def close(self) -> None:
        """Stop."""
        self.stop()

    def reset(self, joints: Array) -> None:
        """Put the arm at rest at `joints` (6,) in rad."""
        self._data.qpos[:JOINTS] = joints
        self._data.qvel[:JOINTS] = 0.0
        self._data.ctrl[:JOINTS] = joints
        self._goal, self._target = joints.copy(), None

    def advance(self) -> None:
        """Set the joint servos for the coming servo period."""
        limit = JOINT_SPEED_LIMIT_RAD_S * self._servo_period_s
        if isinstance(self._target, Pose):
            self._goal = inverse_step(self._goal, self._target, TOOL0_FROM_TCP, max_step_rad=limit)
        elif self._target is not None:
            self._goal = self._goal + np.clip(self._target - self._goal, -limit, limit)
        self._data.ctrl[:JOINTS] = self._goal

    def capture(self, now_ns: int) -> None:
        """Take in and stamp the present state."""
        self._base_from_tcp = forward(self._data.qpos[:JOINTS], TOOL0_FROM_TCP)
        self._capture_ns = now_ns

    def memory(self) -> tuple[Pose | Array | None, Array]:
        """Return what the arm remembers beside the physics: target pose and commanded joints."""
        return self._target, self._goal.copy()

    def remember(self, memory: tuple[Pose | Array | None, Array]) -> None:
        """Take up a `memory` again."""
        self._target, self._goal = memory[0], memory[1].copy()
