"""What an operator says about a camera, by its driver. No device library here."""

from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hardware.cameras.health import RecoveryConfig

STRICT = ConfigDict(extra="forbid")
Count = Annotated[int, Field(gt=0)]
Latency = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class RealSenseConfig:
    """One camera. `latency_s` is the smallest delay from exposure to receipt; calibrated, as stamps do not show it."""

    serial: str
    width: Count = 640
    height: Count = 480
    fps: Count = 30
    latency_s: Latency = 0.0
    recovery: RecoveryConfig = RecoveryConfig()
    driver: Literal["realsense"] = "realsense"


@dataclass(frozen=True, config=STRICT)
class WebcamConfig:
    """One camera: `source` is its number, for /dev/video0 and so on, or the address of a network stream."""

    source: int | str
    width: Count = 640
    height: Count = 480
    fps: Count = 30
    latency_s: Latency = 0.0
    recovery: RecoveryConfig = RecoveryConfig()
    driver: Literal["webcam"] = "webcam"


CameraConfig: TypeAlias = RealSenseConfig | WebcamConfig
