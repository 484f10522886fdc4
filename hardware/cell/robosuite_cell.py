"""Robosuite's own environments with a UR5e as cells in lock-step; the only module that imports robosuite.

Scene, reset distribution, controller, gripper and success test are robosuite's. Ours are the devices' interfaces on
them: absolute poses in the base frame, a gripper that goes to an opening, readings that are stamped. `step` advances
by one servo period; everything that happens follows from the seed and the commands.
"""

import logging
from typing import Any

import mujoco
import numpy as np

from hardware.cell.task import RobosuiteTask, Scene, upright
from hardware.cell.tasks.robosuite import opening
from hardware.cell.tracker import Tracker
from hardware.cell.wrench import contact_wrench
from hardware.clock import Clock
from hardware.errors import DeviceError
from hardware.grippers.simulated import SPEED_PER_S
from hardware.interfaces import ArmState, Camera
from hardware.poses import Array, Pose, rotation_vector

INSTALL = (
    "Robosuite's tasks need robosuite in an environment of its own: there, pip install torch==2.13.0, then"
    " pip install 'drift-robot[robosuite]'"
)
TOO_NEW = (3, 8)
"""From this MuJoCo on, the gripper of robosuite 1.5 holds nothing any more."""
STIFFNESS = 2500.0
"""Of robosuite's operational-space controller, 1/s^2: it follows 36 ms behind, where its default takes 0.19 s."""
GRIP_SITE = "gripper0_right_grip_site"
GRIP_FROM_TCP = Pose(np.zeros(3), np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
"""Robosuite's gripper closes along x of its frame, ours along y."""


class RobosuiteArm:
    """The UR5e of an environment. `goal` and `capture` belong to the cell, the rest is the `Arm` interface."""

    def __init__(self, environment: Any, servo_period_s: float) -> None:
        self._environment = environment
        self._servo_period_s = servo_period_s
        model, data = _model(environment), _data(environment)
        joints = [model.joint(name) for name in environment.robots[0].robot_joints]
        self._positions = [int(joint.qposadr[0]) for joint in joints]
        self._velocities = [int(joint.dofadr[0]) for joint in joints]
        self._gripper = [body for body in range(model.nbody) if model.body(body).name.startswith("gripper0_")]
        self._grip = model.site(GRIP_SITE).id
        base = data.site("robot0_right_center")
        self.base_from_world = Pose(base.xpos.copy(), base.xmat.reshape(3, 3).copy()).inverse()
        self.reset()

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
        """Return the state after the cell's last step; joint zeros and signs are those of robosuite's model."""
        model, data = _model(self._environment), _data(self._environment)
        wrench = contact_wrench(model, data, self._gripper, data.site_xpos[self._grip])
        turn = self.base_from_world.rotation
        return ArmState(
            self._capture_ns,
            data.qpos[self._positions],
            data.qvel[self._velocities],
            self._base_from_tcp,
            np.concatenate([turn @ wrench[:3], turn @ wrench[3:]]),
        )

    def pose(self) -> Pose:
        """Return the measured base_from_tcp alone."""
        return self._base_from_tcp

    def servo(self, base_from_tcp: Pose) -> None:
        """Move to a target and hold it."""
        self._target = base_from_tcp

    def stop(self) -> None:
        """Hold the target commanded last."""

    def close(self) -> None:
        """Nothing to release."""

    def reset(self) -> None:
        """Hold the pose in which the environment has put the arm."""
        self.capture(0)
        self._target = self._base_from_tcp

    def goal(self) -> Array:
        """Return the controller's goal (6,): position and rotation vector of robosuite's gripper frame in base."""
        base_from_grip = self._target @ GRIP_FROM_TCP.inverse()
        return np.concatenate([base_from_grip.position, rotation_vector(base_from_grip.rotation)])

    def capture(self, now_ns: int) -> None:
        """Take in and stamp the present state."""
        data = _data(self._environment)
        world_from_grip = Pose(data.site_xpos[self._grip].copy(), data.site_xmat[self._grip].reshape(3, 3).copy())
        self._base_from_tcp = self.base_from_world @ world_from_grip @ GRIP_FROM_TCP
        self._capture_ns = now_ns


class RobosuiteGripper:
    """The Robotiq 85 of an environment. `reset` and `advance` belong to the cell, the rest is `Gripper`."""

    def __init__(self, environment: Any, servo_period_s: float) -> None:
        self._environment = environment
        self._step = SPEED_PER_S * servo_period_s
        pads = ("gripper0_right_left_fingerpad_collision", "gripper0_right_right_fingerpad_collision")
        self._pads = [_model(environment).geom(pad).id for pad in pads]
        self._grip = _model(environment).site(GRIP_SITE).id
        self.reset()

    @property
    def fault(self) -> str | None:
        """None: a simulated gripper does not fail."""
        return None

    def recover(self) -> None:
        """Nothing to make ready."""

    def read(self) -> float:
        """Return the measured opening, about 0 closed to 1 open."""
        data = _data(self._environment)
        left, right = data.geom_xpos[self._pads]
        closing = data.site_xmat[self._grip].reshape(3, 3)[:, 0]  # closed on nothing, the pads slide past each other
        return opening(abs(float(closing @ (left - right))))

    def move(self, opening: float) -> None:
        """Start moving to an opening."""
        self._target = min(max(opening, 0.0), 1.0)

    def close(self) -> None:
        """Nothing to release."""

    def reset(self) -> None:
        """Hold the fingers open, as the environment has put them."""
        self._target = self._command = 1.0

    def advance(self) -> None:
        """Set the fingers' servos for the coming servo period."""
        self._command += min(max(self._target - self._command, -self._step), self._step)
        # Robosuite's own command only knows open and close: it moves this by a fixed step. We send none, and set it.
        self._environment.robots[0].gripper["right"].current_action = np.array([1.0 - 2.0 * self._command])


class RobosuiteCell:
    """One of robosuite's tasks. Lengths of time in seconds; `perception_offset_m` displaces what is tracked."""

    def __init__(
        self,
        task: RobosuiteTask,
        *,
        physics_step_s: float,
        servo_period_s: float,
        clock: Clock,
        perception_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        self._environment = _environment(task, physics_step_s, servo_period_s)
        self._substeps = round(servo_period_s / physics_step_s)
        self.task = task
        self.servo_period_s = servo_period_s
        self.capture_ns = 0
        self._clock = clock
        self.arm = RobosuiteArm(self._environment, servo_period_s)
        self.gripper = RobosuiteGripper(self._environment, servo_period_s)
        self._bodies = [_model(self._environment).body(item.name).id for item in task.objects]
        self.tracker = Tracker(self.object_poses, lambda: self.capture_ns, np.array(perception_offset_m))
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start an episode: objects and arm from robosuite's own distribution, as a seed decides it."""
        # The samplers keep the generator that they were made with, so that it is set back and not replaced.
        self._environment.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        self._environment.reset()
        self.arm.reset()
        self.gripper.reset()
        self._capture()

    def step(self) -> None:
        """Advance by one servo period. The readings are stamped with what the clock says then: advance it first."""
        simulation, robot = self._environment.sim, self._environment.robots[0]
        self.gripper.advance()
        action = np.append(self.arm.goal(), 0.0)
        for substep in range(self._substeps):
            simulation.step1()
            robot.control(action, policy_step=substep == 0)
            simulation.step2()
        # Poses lag behind the joints by a physics step else.
        mujoco.mj_kinematics(_model(self._environment), _data(self._environment))
        self._capture()

    def scene(self) -> Scene:
        """Return the true state, which only scripted experts see."""
        return Scene(self.arm.pose(), self.gripper.read(), self.object_poses())

    def object_poses(self) -> tuple[Pose, ...]:
        """Return the true base_from_object of every object."""
        data = _data(self._environment)
        poses = []
        for body, item in zip(self._bodies, self.task.objects, strict=True):
            pose = self.arm.base_from_world @ Pose(data.xpos[body], data.xmat[body].reshape(3, 3))
            poses.append(Pose(pose.position, upright(pose.rotation)) if item.symmetry == 4 else pose)
        return tuple(poses)

    def succeeded(self) -> bool:
        """Tell whether robosuite's own test holds in this instant."""
        return bool(self._environment._check_success())

    def camera(self, name: str, height: int = 240, width: int = 320) -> Camera:
        """Raise DeviceError: nothing is drawn here."""
        raise DeviceError(f"The task {self.task.name} is run without cameras; remove '{name}' from 'cell.cameras'.")

    def state_vector(self) -> Array:
        """Return the positions of all joints."""
        joints: Array = _data(self._environment).qpos.copy()
        return joints

    def _capture(self) -> None:
        self.capture_ns = self._clock.now_ns()
        self.arm.capture(self.capture_ns)


def _environment(task: RobosuiteTask, physics_step_s: float, servo_period_s: float) -> Any:
    """Return the task's environment. Raises DeviceError if it cannot be had."""
    # What robosuite says of itself when it is loaded is not for the operator.
    logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)
    try:
        import robosuite
    except ImportError as error:
        raise DeviceError(f"{INSTALL} ({error}).") from error
    if tuple(map(int, mujoco.__version__.split(".")[:2])) >= TOO_NEW:
        raise DeviceError(
            f"Robosuite's gripper holds nothing with MuJoCo {mujoco.__version__}: pip install 'mujoco<3.8'"
        )
    step_s = robosuite.macros.SIMULATION_TIMESTEP
    if physics_step_s != step_s:
        raise DeviceError(
            f"Robosuite's physics steps by {step_s} s, 'cell.physics_step_s' says {physics_step_s}; begin with"
            " configs/robosuite.yaml."
        )
    controller = robosuite.load_composite_controller_config(robot="UR5e")
    controller["body_parts"]["right"] |= {"kp": STIFFNESS, "input_type": "absolute", "input_ref_frame": "base"}
    return robosuite.make(
        task.environment,
        robots="UR5e",
        controller_configs=controller,
        control_freq=1.0 / servo_period_s,
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        use_object_obs=False,
    )


def _model(environment: Any) -> Any:
    """Return the `mujoco.MjModel`, which every reset replaces by another of the same bodies."""
    return environment.sim.model._model


def _data(environment: Any) -> Any:
    """Return the `mujoco.MjData`, which every reset replaces."""
    return environment.sim.data._data
