"""The latencies of a configuration's cell: what its drivers take off stamps, and what is left by the calibrations."""

from pathlib import Path

from calibration.latencies import Latencies, read_latencies
from drift_robot.config import Config


def remaining_latencies(config: Config) -> Latencies:
    """Return by how much stamps come late, as far as that was measured. Raises CalibrationError."""
    camera_s, arm_s = configured_latencies(config)
    cameras = list(config.devices.cameras) if config.devices else list(config.cell.cameras)
    return read_latencies(Path(config.calibration.folder), cameras, camera_s, arm_s)


def configured_latencies(config: Config) -> tuple[dict[str, float], float]:
    """Return what the drivers of cameras, by name, and of the arm take off their stamps, in s."""
    if config.devices is None:
        return {}, 0.0
    return {name: camera.latency_s for name, camera in config.devices.cameras.items()}, config.devices.arm.latency_s
