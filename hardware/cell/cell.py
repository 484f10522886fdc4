"""The simulated cell: one task's scene with arm, gripper, tracker and cameras behind the devices' interfaces.

`step` advances the physics by one servo period; who calls it, and how fast, decides whether the cell runs in lock-step
or in real time. Everything that happens follows from the seed and the commands.
"""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from hardware.arms.simulated import SimulatedArm
from hardware.cameras.simulated import SimulatedCamera
from hardware.cell.kinematics import inverse_step
from hardware.cell.model import TOOL0_FROM_TCP, build
from hardware.cell.rendering import Renderer, state_vector
from hardware.cell.task import Scene, Task, TaskObject, upright
from hardware.cell.tracker import Tracker
from hardware.clock import Clock
from hardware.errors import DeviceError
from hardware.grippers.simulated import SimulatedGripper
from hardware.poses import Array, Pose, rotation_matrix

HOME_JOINTS_RAD = np.array([2.8602, -1.62, 1.8447, -1.7955, -1.5708, -1.8522])
HOME = Pose(np.array([0.48, 0.0, 0.30]), np.diag([1.0, -1.0, -1.0]))
START_SPREAD_M = 0.03
START_SPREAD_RAD = 0.08
SUCCESS_S = 0.3
"""How long a task's goal has to be met without a break."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides how the cell goes on."""

    physics: Array
    arm: tuple[Pose | Array | None, Array]
    gripper: tuple[float, float]
    met_steps: int


class Cell:
    """A task in a simulated cell. Lengths of time in seconds; `physics_step_s` has to divide `servo_period_s`."""

    def __init__(
        self,
        task: Task,
        *,
        physics_step_s: float,
        servo_period_s: float,
        clock: Clock,
        perception_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        self._substeps = round(servo_period_s / physics_step_s)
        if abs(self._substeps * physics_step_s - servo_period_s) > 1e-9:
            raise DeviceError(
                f"Simulated cell: physics_step_s {physics_step_s} does not divide servo_period_s {servo_period_s};"
                " choose a whole fraction of it."
            )
        self.task = task
        self.servo_period_s = servo_period_s
        self.capture_ns = 0
        self._clock = clock
        self._model: Any = build(task.mjcf, physics_step_s)
        self._data: Any = mujoco.MjData(self._model)
        self._objects = [_body(self._model, self._data, item) for item in task.objects]
        self._kinematics = any(item.jointed for item in task.objects)
        self._met_steps = 0
        self.arm = SimulatedArm(self._model, self._data, servo_period_s)
        self.gripper = SimulatedGripper(self._model, self._data, servo_period_s)
        self._perception_offset_m = perception_offset_m
        self.tracker = Tracker(self.object_poses, lambda: self.capture_ns, np.array(perception_offset_m))
        self._renderer: Renderer | None = None
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start an episode: objects from the task's distribution, the open gripper within 3 cm and 0.08 rad of home."""
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(self._model, self._data)
        self._place_objects(rng)
        start = Pose(
            HOME.position + rng.uniform(-START_SPREAD_M, START_SPREAD_M, 3),
            rotation_matrix(rng.uniform(-START_SPREAD_RAD, START_SPREAD_RAD, 3)) @ HOME.rotation,
        )
        self._put_arm(start)
        self.gripper.reset()
        self._begin()

    def place_arm(self, base_from_tcp: Pose) -> None:
        """Put the arm at rest at a pose within its reach, at once; everything else stays as it is."""
        self._put_arm(base_from_tcp)
        self._begin()

    def put_up(self, seed: int) -> None:
        """Put up the objects of `reset(seed)` and leave the arm as it is, like a person who rebuilds the scene by hand.

        The arm has to be clear of the table: an object that is put where the gripper is gets thrown out by it.
        """
        self._place_objects(np.random.default_rng(seed))
        self._begin()

    def step(self) -> None:
        """Advance by one servo period. The readings are stamped with what the clock says then: advance it first."""
        self.arm.advance()
        self.gripper.advance()
        mujoco.mj_step(self._model, self._data, self._substeps)
        if self._kinematics:
            mujoco.mj_kinematics(self._model, self._data)  # which lag behind the joints else
        self._capture()
        self._met_steps = self._met_steps + 1 if self.task.succeeded(self.scene()) else 0

    def scene(self) -> Scene:
        """Return the true state, which only scripted experts and success tests see."""
        return Scene(self.arm.pose(), self.gripper.read(), self.object_poses())

    def object_poses(self) -> tuple[Pose, ...]:
        """Return the true base_from_object of every object."""
        return tuple(body.pose() for body in self._objects)

    def succeeded(self) -> bool:
        """Tell whether the task's goal has been met for the last 0.3 s."""
        return self._met_steps * self.servo_period_s >= SUCCESS_S

    def camera(self, name: str, height: int = 240, width: int = 320) -> SimulatedCamera:
        """Return the camera "front" or "wrist"; all of them share one renderer, opened here."""
        renderer = self._renderer = self._renderer or Renderer(self.task, perception_offset_m=self._perception_offset_m)
        return SimulatedCamera(
            lambda: renderer.render(self.state_vector(), name, height, width), lambda: self.capture_ns
        )

    def state_vector(self) -> Array:
        """Return what a picture of the present state depends on, for a `Renderer` in this or another process."""
        return state_vector(self._data)

    def snapshot(self) -> Snapshot:
        """Return the full state."""
        physics = np.empty(mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self._model, self._data, physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        return Snapshot(physics, self.arm.memory(), self.gripper.memory(), self._met_steps)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this task's cell; what follows is the same to the last bit."""
        mujoco.mj_setState(self._model, self._data, snapshot.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(self._model, self._data)  # contacts, for the wrench; it spoils the solver's warm start
        mujoco.mj_setState(self._model, self._data, snapshot.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        self.arm.remember(snapshot.arm)
        self.gripper.remember(snapshot.gripper)
        self._met_steps = snapshot.met_steps
        self._capture()

    def _put_arm(self, base_from_tcp: Pose) -> None:
        joints = HOME_JOINTS_RAD
        for _ in range(20):
            joints = inverse_step(joints, base_from_tcp, TOOL0_FROM_TCP, max_step_rad=0.3)
        self.arm.reset(joints)

    def _place_objects(self, rng: np.random.Generator) -> None:
        for body, pose in zip(self._objects, self.task.sample(rng), strict=True):
            body.place(pose)

    def _begin(self) -> None:
        mujoco.mj_forward(self._model, self._data)
        self._met_steps = 0
        self._capture()

    def _capture(self) -> None:
        self.capture_ns = self._clock.now_ns()
        self.arm.capture(self.capture_ns)


def _body(model: Any, data: Any, item: TaskObject) -> "_Body | _Jointed":
    return _Jointed(model, data, item) if item.jointed else _Body(model, data, item)


class _Jointed:
    """An object of the task on a hinge or slide."""

    def __init__(self, model: Any, data: Any, item: TaskObject) -> None:
        body, joint = model.body(item.name), model.joint(item.name)
        self._position, self._rotation = data.xpos[body.id], data.xmat[body.id]
        self._joint, self._velocity = data.qpos[joint.qposadr[0] :][:1], data.qvel[joint.dofadr[0] :][:1]

    def place(self, base_from_object: Pose) -> None:
        self._joint[:] = self._velocity[:] = 0.0

    def pose(self) -> Pose:
        return Pose(self._position.copy(), self._rotation.reshape(3, 3).copy())


class _Body:
    """An object of the task that is fixed or free."""

    def __init__(self, model: Any, data: Any, item: TaskObject) -> None:
        name = item.name
        body = model.body(name)
        self._cube = item.symmetry == 4
        if item.fixed:
            index = int(body.mocapid[0])
            self._position, self._quaternion = data.mocap_pos[index], data.mocap_quat[index]
            self._velocity = np.empty(0)
        else:
            start, first = int(model.joint(name).qposadr[0]), int(model.joint(name).dofadr[0])
            self._velocity = data.qvel[first : first + 6]
            self._position, self._quaternion = data.qpos[start : start + 3], data.qpos[start + 3 : start + 7]

    def place(self, base_from_object: Pose) -> None:
        self._position[:] = base_from_object.position
        mujoco.mju_mat2Quat(self._quaternion, base_from_object.rotation.ravel())
        self._velocity[:] = 0.0

    def pose(self) -> Pose:
        nine = np.empty(9)
        mujoco.mju_quat2Mat(nine, self._quaternion)
        rotation = nine.reshape(3, 3)
        return Pose(self._position.copy(), upright(rotation) if self._cube else rotation)
