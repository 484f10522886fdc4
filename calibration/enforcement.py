"""What a session demands of its calibrations: that there are any, and that they are neither too old nor too poor."""

from collections.abc import Sequence
from pathlib import Path

from calibration.config import CalibrationConfig
from calibration.files import ARM, Calibration, Kind, read_calibration
from calibration.workspace import CELL
from hardware.arms.limits import ArmLimits

DEMANDED = (Kind.INTRINSICS, Kind.HAND_EYE)
"""What every camera needs, in the order in which it is calibrated."""


def shortcoming(config: CalibrationConfig, cameras: Sequence[str]) -> str | None:
    """Return the first thing that is wrong with the calibrations of some cameras, in one sentence, None if nothing is.

    Raises CalibrationError for a file that was changed.
    """
    folder = Path(config.folder)
    for camera in cameras:
        intrinsics, hand_eye = (read_calibration(folder, kind, camera) for kind in DEMANDED)
        for kind, found in zip(DEMANDED, (intrinsics, hand_eye), strict=True):
            what = f"{kind.replace('_', '-')} calibration of camera {camera}"
            if wrong := _wrong(config, what, found, "rms_px", config.max_residual_px, "a residual of {:.2f} px"):
                return f"{wrong}; run 'drift-robot calibrate {kind.replace('_', '-')}' (camera {camera})."
        if intrinsics is not None and hand_eye is not None and hand_eye.values.get("intrinsics") != intrinsics.hash:
            return (
                f"The hand-eye calibration of camera {camera} was made with another lens calibration than the present "
                f"one; run 'drift-robot calibrate hand-eye' (camera {camera})."
            )
    return None


def latency_shortcoming(config: CalibrationConfig, cameras: Sequence[str]) -> str | None:
    """Return the first thing that is wrong with the latencies of arm and cameras, in one sentence, None if nothing is.

    Raises CalibrationError for a file that was changed.
    """
    allowed = config.max_latency_error_ms
    for name in (ARM, *cameras):
        found = read_calibration(Path(config.folder), Kind.LATENCY, name)
        what = f"latency calibration of {'the arm' if name == ARM else f'camera {name}'}"
        if wrong := _wrong(config, what, found, "expected_error_ms", allowed, "an expected error of {:.1f} ms"):
            return f"{wrong}; run 'drift-robot calibrate latency' (part {name})."
    return None


def workspace_shortcoming(config: CalibrationConfig, limits: ArmLimits) -> str | None:
    """Return what is wrong with the calibration of the workspace, in one sentence, None if nothing is.

    Raises CalibrationError for a file that was changed.
    """
    found = read_calibration(Path(config.folder), Kind.WORKSPACE, CELL)
    what, allowed = "calibration of the workspace", 1000 * config.max_table_residual_m
    wrong = _wrong(config, what, found, "rms_mm", allowed, "a residual of {:.2f} mm")
    if found is not None and found.values.get("tool_points_m") != [list(point) for point in limits.tool_points_m]:
        wrong = wrong or "The workspace was calibrated with other limits.tool_points_m than the present ones"
    return f"{wrong}; run 'drift-robot calibrate workspace'." if wrong else None


def _wrong(
    config: CalibrationConfig, what: str, found: Calibration | None, key: str, allowed: float, said: str
) -> str | None:
    """Return what is wrong with a calibration: missing, too old, or the residual `key`, as it is `said`, too large."""
    if found is None:
        return f"There is no {what} in {config.folder}"
    if found.age_days > config.max_age_days:
        return f"The {what} is {found.age_days:.0f} days old, more than {config.max_age_days:g}"
    residual = float(found.residuals.get(key, float("inf")))
    if residual > allowed:
        return f"The {what} has {said.format(residual)}, more than {allowed:g}"
    return None
