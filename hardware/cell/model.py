"""The MuJoCo model of the cell: UR5e on a table, two-finger gripper, a fixed and a wrist camera; primitives only.

Every arm body is a Denavit-Hartenberg frame of `hardware.cell.kinematics`, so that model and kinematics share their
numbers. Link masses and centres of mass are those that Universal Robots publish for the UR5e; moments of inertia
are those of its ROS description. World frame = robot base frame, table top at z = 0. Tasks add their own objects.
"""

from dataclasses import dataclass
from math import pi
from typing import Any

import mujoco
import numpy as np

from hardware.cell.kinematics import A2, A3, D1, D4, D5, D6
from hardware.cell.task import Props
from hardware.poses import Pose

# tool0 is the flange; the TCP lies between the finger pads, 12 mm above their tips.
TOOL0_FROM_TCP = Pose(np.array([0.0, 0.0, 0.15]), np.eye(3))
STROKE_M = 0.085
"""Distance between the pads of the open gripper."""
GRIPPER_BODIES = ("gripper", "finger_left", "finger_right")
FIXED_CAMERA = "front"
CAMERAS = (FIXED_CAMERA, "wrist")


@dataclass(frozen=True)
class _Servo:
    """A joint's position servo; damping over stiffness is its lag, 30 ms less what the inertia makes up."""

    stiffness_nm_rad: float
    damping_nms_rad: float
    torque_limit_nm: float


@dataclass(frozen=True)
class _Link:
    """An arm link in its joint's frame (z is the joint's axis): where the frame sits on its parent, inertia, shape."""

    position: tuple[float, float, float]
    tilt_rad: float
    mass_kg: float
    centre: tuple[float, float, float]
    inertia: tuple[float, float, float]
    geoms: str
    servo: _Servo


def _tube(name: str, radius: float, start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    ends = " ".join(f"{value:g}" for value in (*start, *end))
    return f'<geom class="{name}" size="{radius:g}" fromto="{ends}"/>'


_OFFSET, _INSET = 0.138, 0.007  # lateral offsets of upper arm and forearm from the plane of the shoulder

_BIG_JOINT, _ELBOW = _Servo(14000, 420, 150), _Servo(6000, 180, 150)
_WRIST, _FLANGE = _Servo(1200, 36, 28), _Servo(600, 18, 28)

_LINKS = (
    _Link(
        position=(0, 0, 0),
        tilt_rad=0.0,
        mass_kg=3.761,
        centre=(0, -0.00193, D1 - 0.02561),
        inertia=(0.01027, 0.01027, 0.00666),
        geoms=_tube("tube", 0.058, (0, 0, 0.09), (0, 0, D1))
        + _tube("cap", 0.06, (0, 0.05, D1), (0, 0.068, D1))
        + _tube("joint", 0.06, (0, 0.05, D1), (0, -0.07, D1)),
        servo=_BIG_JOINT,
    ),
    _Link(
        position=(0, 0, D1),
        tilt_rad=pi / 2,
        mass_kg=8.058,
        centre=(A2 / 2, 0, 0.11336),
        inertia=(0.0151, 0.1339, 0.1339),
        geoms=_tube("joint", 0.06, (0, 0, 0.072), (0, 0, _OFFSET + 0.05))
        + _tube("cap", 0.061, (0, 0, _OFFSET + 0.05), (0, 0, _OFFSET + 0.065))
        + _tube("tube", 0.05, (0, 0, _OFFSET), (A2, 0, _OFFSET))
        + _tube("joint", 0.055, (A2, 0, 0.066), (A2, 0, _OFFSET + 0.045))
        + _tube("cap", 0.056, (A2, 0, _OFFSET + 0.045), (A2, 0, _OFFSET + 0.06)),
        servo=_BIG_JOINT,
    ),
    _Link(
        position=(A2, 0, 0),
        tilt_rad=0.0,
        mass_kg=2.846,
        centre=(A3 + 0.15, 0, 0.0265),
        inertia=(0.0041, 0.0312, 0.0312),
        geoms=_tube("joint", 0.052, (0, 0, -0.045), (0, 0, 0.062))
        + _tube("cap", 0.053, (0, 0, -0.06), (0, 0, -0.045))
        + _tube("tube", 0.04, (0, 0, _INSET), (A3, 0, _INSET))
        + _tube("joint", 0.042, (A3, 0, -0.035), (A3, 0, 0.05))
        + _tube("cap", 0.043, (A3, 0, -0.048), (A3, 0, -0.035)),
        servo=_ELBOW,
    ),
    _Link(
        position=(A3, 0, 0),
        tilt_rad=0.0,
        mass_kg=1.37,
        centre=(0, -0.01634, D4 - 0.0018),
        inertia=(0.00256, 0.00256, 0.00219),
        geoms=_tube("tube", 0.04, (0, 0, 0.052), (0, 0, D4))
        + _tube("joint", 0.041, (0, 0.035, D4), (0, -0.04, D4))
        + _tube("cap", 0.042, (0, 0.035, D4), (0, 0.048, D4)),
        servo=_WRIST,
    ),
    _Link(
        position=(0, 0, D4),
        tilt_rad=pi / 2,
        mass_kg=1.3,
        centre=(0, 0.01634, D5 - 0.0018),
        inertia=(0.00256, 0.00256, 0.00219),
        geoms=_tube("tube", 0.04, (0, 0, 0.042), (0, 0, D5))
        + _tube("joint", 0.041, (0, -0.035, D5), (0, 0.04, D5))
        + _tube("cap", 0.042, (0, -0.048, D5), (0, -0.035, D5)),
        servo=_WRIST,
    ),
    _Link(
        position=(0, 0, D5),
        tilt_rad=-pi / 2,
        mass_kg=0.365,
        centre=(0, 0, D6 - 0.00116),
        inertia=(0.0001, 0.0001, 0.00013),
        geoms=_tube("joint", 0.038, (0, 0, 0.04), (0, 0, D6)),
        servo=_FLANGE,
    ),
)

_GRIPPER = f"""
<body name="gripper" pos="0 0 {D6:g}" gravcomp="1">
  PROPS
  <inertial mass="0.75" pos="0 0 0.05" diaginertia="0.0011 0.0011 0.0006"/>
  <geom class="visual" type="cylinder" size="0.036 0.008" pos="0 0 0.008" material="rubber"/>
  <geom class="touch" type="box" size="0.026 0.05 0.036" pos="0 0 0.052" material="rubber"/>
  <geom class="visual" type="box" size="0.027 0.02 0.02" pos="0 0 0.045" material="blue"/>
  <geom class="visual" type="box" size="0.03 0.008 0.006" pos="0.05 0 0.022" material="steel"/>
  <geom class="visual" type="box" size="0.012 0.045 0.01" pos="0.085 0 0.036" material="aluminium"/>
  <camera name="wrist" pos="0.085 0 0.05" xyaxes="0 1 0 0.94 0 0.34" fovy="70"/>
  <site name="tcp" pos="0 0 {TOOL0_FROM_TCP.position[2]:g}" size="0.004" rgba="0 0 0 0"/>
  <body name="finger_left" pos="0 0 {TOOL0_FROM_TCP.position[2]:g}" gravcomp="1">
    <inertial mass="0.06" pos="0 0.008 -0.02" diaginertia="0.0001 0.0001 0.0001"/>
    <joint name="finger_left" class="finger" axis="0 1 0"/>
    <geom class="touch" type="box" size="0.011 0.005 0.034" pos="0 0.0125 -0.03" material="dark"/>
    <geom class="pad" pos="0 0.004 -0.006"/>
  </body>
  <body name="finger_right" pos="0 0 {TOOL0_FROM_TCP.position[2]:g}" gravcomp="1">
    <inertial mass="0.06" pos="0 -0.008 -0.02" diaginertia="0.0001 0.0001 0.0001"/>
    <joint name="finger_right" class="finger" axis="0 -1 0"/>
    <geom class="touch" type="box" size="0.011 0.005 0.034" pos="0 -0.0125 -0.03" material="dark"/>
    <geom class="pad" pos="0 -0.004 -0.006"/>
  </body>
</body>
"""

_FRAME = """
<mujoco model="drift-robot cell">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{step_s:g}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <quality offsamples="0"/>
    <headlight ambient="0.4 0.4 0.4" diffuse="0.26 0.26 0.26" specular="0 0 0"/>
    <map znear="0.01" zfar="20"/>
  </visual>
  <asset>
    <texture type="skybox" builtin="flat" rgb1="0.80 0.85 0.89" rgb2="0.80 0.85 0.89" width="16" height="96"/>
    <material name="table" rgba="0.87 0.82 0.73 1" specular="0.1"/>
    <material name="floor" rgba="0.47 0.52 0.57 1" specular="0"/>
    <material name="aluminium" rgba="0.80 0.82 0.84 1" specular="0.4"/>
    <material name="steel" rgba="0.66 0.69 0.72 1" specular="0.4"/>
    <material name="blue" rgba="0.40 0.62 0.80 1"/>
    <material name="dark" rgba="0.16 0.17 0.19 1"/>
    <material name="rubber" rgba="0.26 0.28 0.31 1"/>
    <material name="red" rgba="0.86 0.19 0.16 1"/>
    <material name="green" rgba="0.22 0.66 0.36 1"/>
    <material name="area" rgba="0.20 0.52 0.86 1"/>
    {assets}
  </asset>
  <default>
    <default class="visual"><geom contype="0" conaffinity="0" mass="0"/></default>
    <default class="tube"><geom type="capsule" contype="0" conaffinity="0" mass="0" material="aluminium"/></default>
    <default class="joint"><geom type="cylinder" contype="0" conaffinity="0" mass="0" material="steel"/></default>
    <default class="cap"><geom type="cylinder" contype="0" conaffinity="0" mass="0" material="blue"/></default>
    <default class="touch"><geom mass="0" friction="0.6 0.01 0.001"/></default>
    <default class="pad">
      <geom type="box" size="0.011 0.004 0.018" mass="0" condim="4" friction="1.5 0.02 0.002"
            solref="0.01 1" solimp="0.95 0.99 0.001" material="rubber"/>
    </default>
    <default class="finger"><joint type="slide" range="0 {half_stroke:g}" damping="4" armature="0.1"/></default>
    <default class="cube">
      <geom type="box" size="0.02 0.02 0.02" mass="0.08" friction="1.2 0.01 0.001"
            solref="0.01 1" solimp="0.95 0.99 0.001"/>
    </default>
  </default>
  <worldbody>
    <light directional="true" pos="0.9 -0.6 1.8" dir="-0.35 0.45 -1" ambient="0 0 0" diffuse="0.46 0.46 0.44"
           specular="0.15 0.15 0.15" castshadow="false"/>
    <geom name="floor" type="plane" size="6 6 0.1" pos="0 0 -0.75" material="floor"/>
    <geom name="table" type="box" size="0.5 0.6 0.02" pos="0.35 0 -0.02" material="table" friction="1 0.01 0.001"/>
    <geom class="visual" type="box" size="0.03 0.03 0.355" pos="0.8 0.55 -0.395" material="steel"/>
    <geom class="visual" type="box" size="0.03 0.03 0.355" pos="0.8 -0.55 -0.395" material="steel"/>
    <geom class="visual" type="box" size="0.03 0.03 0.355" pos="-0.1 0.55 -0.395" material="steel"/>
    <geom class="visual" type="box" size="0.03 0.03 0.355" pos="-0.1 -0.55 -0.395" material="steel"/>
    <geom class="joint" size="0.075 0.03" pos="0 0 0.03" material="dark"/>
    <geom class="joint" size="0.062 0.02" pos="0 0 0.075"/>
    <camera name="front" pos="1.15 0 0.62" xyaxes="0 1 0 -0.54 0 0.84" fovy="43"/>
    {arm}
    {objects}
  </worldbody>
  <contact><exclude body1="finger_left" body2="finger_right"/></contact>
  <equality><joint joint1="finger_right" joint2="finger_left" polycoef="0 1 0 0 0" solref="0.01 1"/></equality>
  <actuator>
    {servos}
    <position name="gripper" joint="finger_left" kp="900" kv="60" ctrlrange="0 {half_stroke:g}" forcerange="-40 40"/>
  </actuator>
</mujoco>
"""


def _arm(tool: str, index: int = 0) -> str:
    if index == len(_LINKS):
        return _GRIPPER.replace("PROPS", tool)
    link = _LINKS[index]
    quaternion = (np.cos(link.tilt_rad / 2), np.sin(link.tilt_rad / 2), 0.0, 0.0)
    return f"""
    <body name="link{index + 1}" pos="{_text(link.position)}" quat="{_text(quaternion)}" gravcomp="1">
      <inertial mass="{link.mass_kg:g}" pos="{_text(link.centre)}" diaginertia="{_text(link.inertia)}"/>
      <joint name="joint{index + 1}" axis="0 0 1" armature="0.1"/>
      {link.geoms}
      {_arm(tool, index + 1)}
    </body>"""


def _text(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def build(props: Props, physics_step_s: float) -> Any:
    """Return the compiled `mujoco.MjModel` of the cell with what a task adds to it."""
    servos = "".join(
        f'<position joint="joint{i}" kp="{link.servo.stiffness_nm_rad:g}" kv="{link.servo.damping_nms_rad:g}"'
        f' forcerange="-{link.servo.torque_limit_nm:g} {link.servo.torque_limit_nm:g}"/>'
        for i, link in enumerate(_LINKS, start=1)
    )
    mjcf = _FRAME.format(
        step_s=physics_step_s,
        half_stroke=STROKE_M / 2,
        assets=props.assets,
        arm=_arm(props.tool),
        objects=props.world,
        servos=servos,
    )
    return mujoco.MjModel.from_xml_string(mjcf, dict(props.files))
