"""The devices of a real cell: what a configuration says of them, and how each is opened.

A loopback address of the arm is an emulated cell's (`drift-robot emulate`): its cameras are then software RealSenses
that show that cell.
"""

import dataclasses
import ipaddress
from dataclasses import field
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hardware.arms.controller import Start
from hardware.arms.ur import UrArm
from hardware.arms.ur_config import UrConfig
from hardware.cameras.config import CameraConfig, RealSenseConfig
from hardware.grippers.none import NoGripper, NoGripperConfig
from hardware.grippers.robotiq import RobotiqConfig, RobotiqGripper
from hardware.grippers.ur_output import UrOutputConfig, UrOutputGripper
from hardware.interfaces import Camera, Gripper
from hardware.poses import Pose, rotation_matrix

STRICT = ConfigDict(extra="forbid")
Three: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, config=STRICT)
class StartPose:
    """The base_from_tcp at which episodes start, by default above the middle of the table, fingers down.

    There the gripper is taken to `opening`, or left as it is where that is null.
    """

    position_m: Three = (0.48, 0.0, 0.30)
    rotation_vector_rad: Three = (np.pi, 0.0, 0.0)
    opening: Annotated[float, Field(ge=0, le=1)] | None = 1.0

    def start(self) -> Start:
        """Return it as the arm controller takes it."""
        pose = Pose(np.array(self.position_m), rotation_matrix(np.array(self.rotation_vector_rad)))
        return Start(pose, self.opening)


@dataclass(frozen=True, config=STRICT)
class DevicesConfig:
    """The arm, its gripper, the cameras by name, and where episodes start."""

    arm: UrConfig
    gripper: Annotated[RobotiqConfig | UrOutputConfig | NoGripperConfig, Field(discriminator="driver")] = field(
        default_factory=NoGripperConfig
    )
    cameras: dict[str, Annotated[CameraConfig, Field(discriminator="driver")]] = field(default_factory=dict)
    start: StartPose = field(default_factory=StartPose)

    @property
    def emulator(self) -> str | None:
        """The address of the emulated cell, or None if the arm is real."""
        try:
            return self.arm.host if ipaddress.ip_address(self.arm.host).is_loopback else None
        except ValueError:
            return "127.0.0.1" if self.arm.host == "localhost" else None


def open_arm(config: DevicesConfig) -> UrArm:
    """Return the arm once it is ready to move. Raises DeviceError."""
    if isinstance(config.gripper, UrOutputConfig):
        return UrArm(dataclasses.replace(config.arm, digital_outputs=True))
    return UrArm(config.arm)


def open_gripper(config: DevicesConfig, arm: UrArm) -> Gripper:
    """Return the gripper on the arm. Raises DeviceError."""
    gripper = config.gripper
    if isinstance(gripper, RobotiqConfig):
        return RobotiqGripper(dataclasses.replace(gripper, host=gripper.host or config.arm.host))
    if isinstance(gripper, UrOutputConfig):
        return UrOutputGripper(gripper, arm)
    return NoGripper()


def open_camera(name: str, config: CameraConfig, emulator: str | None) -> Camera:
    """Return a camera that streams: a real one or, at the address of an emulator, that cell's. Raises DeviceError."""
    if emulator is not None:
        from hardware.emulation.cell_camera import open_emulated_camera

        return open_emulated_camera(name, config, emulator)
    if isinstance(config, RealSenseConfig):
        from hardware.cameras.realsense import RealSenseCamera

        return RealSenseCamera(config)
    from hardware.cameras.webcam import Webcam

    return Webcam(config)
