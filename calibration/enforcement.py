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
            if wrong := _wrong(config, kind, camera, found):
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
    for name in (ARM, *cameras):
        found = read_calibration(Path(config.folder), Kind.LATENCY, name)
        what = f"latency calibration of {'the arm' if name == ARM else f'camera {name}'}"
        if wrong := _wrong_latency(config, what, found):
            return f"{wrong}; run 'drift-robot calibrate latency' (part {name})."
    return None


def _wrong_latency(config: CalibrationConfig, what: str, found: Calibration | None) -> str | None:
    if found is None:
        return f"There is no {what} in {config.folder}"
    if found.age_days > config.max_age_days:
        return f"The {what} is {found.age_days:.0f} days old, more than {config.max_age_days:g}"
    error_ms = float(found.residuals.get("expected_error_ms", float("inf")))
    if error_ms > config.max_latency_error_ms:
        return f"The {what} has an expected error of {error_ms:.1f} ms, more than {config.max_latency_error_ms:g}"
    return None


def workspace_shortcoming(config: CalibrationConfig, limits: ArmLimits) -> str | None:
    """Return what is wrong with the calibration of the workspace, in one sentence, None if nothing is.

    Raises CalibrationError for a file that was changed.
    """
    found = read_calibration(Path(config.folder), Kind.WORKSPACE, CELL)
    if wrong := _wrong_workspace(config, found, limits):
        return f"{wrong}; run 'drift-robot calibrate workspace'."
    return None


def _wrong_workspace(config: CalibrationConfig, found: Calibration | None, limits: ArmLimits) -> str | None:
    if found is None:
        return f"There is no calibration of the workspace in {config.folder}"
    if found.age_days > config.max_age_days:
        return f"The calibration of the workspace is {found.age_days:.0f} days old, more than {config.max_age_days:g}"
    residual, allowed = float(found.residuals.get("rms_mm", float("inf"))), 1000 * config.max_table_residual_m
    if residual > allowed:
        return f"The calibration of the workspace has a residual of {residual:.2f} mm, more than {allowed:g}"
    if found.values.get("tool_points_m") != [list(point) for point in limits.tool_points_m]:
        return "The workspace was calibrated with other limits.tool_points_m than the present ones"
    return None


def _wrong(config: CalibrationConfig, kind: Kind, camera: str, found: Calibration | None) -> str | None:
    what = f"{kind.replace('_', '-')} calibration of camera {camera}"
    if found is None:
        return f"There is no {what} in {config.folder}"
    if found.age_days > config.max_age_days:
        return f"The {what} is {found.age_days:.0f} days old, more than {config.max_age_days:g}"
    residual = float(found.residuals.get("rms_px", float("inf")))
    if residual > config.max_residual_px:
        return f"The {what} has a residual of {residual:.2f} px, more than {config.max_residual_px:g}"
    return None
