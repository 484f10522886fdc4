"""What is true of the cell's cameras: lens and place. Calibrations are measured against it."""

from math import radians, tan

import mujoco
import numpy as np

from hardware.cameras.lens import Lens
from hardware.cell.model import TOOL0_FROM_TCP, build
from hardware.cell.task import Props
from hardware.poses import Array, Pose

GL_FROM_OPTICAL = np.diag([1.0, -1.0, -1.0])
"""OpenGL's camera looks along -z with y up; the optical frame's z is ahead and its y down."""


def true_lens(camera: str, height: int, width: int) -> Lens:
    """Return the lens of "front" or "wrist" for pictures of a size."""
    model = build(Props(), physics_step_s=0.005)
    focal = height / 2 / tan(radians(float(model.camera(camera).fovy[0])) / 2)
    return Lens(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


def true_pose(camera: str) -> Pose:
    """Return base_from_camera of "front" or tcp_from_camera of "wrist", in the optical frame."""
    model = build(Props(), physics_step_s=0.005)
    position: Array = model.camera(camera).pos.copy()
    nine = np.empty(9)
    mujoco.mju_quat2Mat(nine, model.camera(camera).quat)
    pose = Pose(position, nine.reshape(3, 3) @ GL_FROM_OPTICAL)
    return TOOL0_FROM_TCP.inverse() @ pose if camera == "wrist" else pose
