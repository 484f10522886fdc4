"""The simulated cell: UR5e, gripper, cameras and tasks in MuJoCo."""

import os
import sys

# MuJoCo loads a GL library when it is imported if this variable says so, and fails to import if that library is
# missing. `hardware.cell.rendering` opens its own context later, after trying it in another process.
if "mujoco" not in sys.modules:
    os.environ["MUJOCO_GL"] = "disable"
