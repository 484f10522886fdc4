"""Calibrations before a session: refused if they do not suffice, checked if that is wanted, recorded with the data."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from calibration.enforcement import latency_shortcoming, shortcoming, workspace_shortcoming
from calibration.errors import NotGoodEnoughError
from calibration.files import Kind, hashes, read_calibration
from calibration.workspace import CELL, taught_limits
from drift_robot.calibrate.latencies import remaining_latencies
from drift_robot.config import Config
from drift_robot.errors import UserError
from hardware.arms.limits import ArmLimits
from hardware.devices import DevicesConfig


def calibration_record(
    config: Config, mode: Literal["collect", "adapt", "evaluate"], say: Callable[[str], None] = lambda sentence: None
) -> dict[str, Any]:
    """Return what every episode of a session notes about its calibrations: the attribute `calibration`, or nothing.

    Raises UserError if they do not suffice, where the configuration enforces that, gives no reason to go on, and
    something is recorded to be learned from. Cameras of a real cell are checked first, if so configured.
    """
    demands, folder = config.calibration, Path(config.calibration.folder)
    wrong = None
    if demands.enforce:
        wrong = (
            shortcoming(demands, list(config.cell.cameras))
            or latency_shortcoming(demands, list(config.cell.cameras))
            or workspace_shortcoming(demands, config.limits)
        )
    checked: dict[str, float] = {}
    if wrong is None and demands.check_at_start and config.devices is not None:
        checked = _checked(config.devices, config, say)
        moved = [name for name, off_px in checked.items() if off_px > demands.max_moved_px]
        if moved:
            wrong = (
                f"Camera {moved[0]}, or the board, has been moved since its calibration ({checked[moved[0]]:.1f} px); "
                "put it back, or run 'drift-robot calibrate hand-eye'."
            )
    if wrong and demands.enforce and mode != "evaluate" and not demands.override:
        raise UserError(f"{wrong} To record all the same, give the reason with --uncalibrated.")
    if wrong:
        say(f"{wrong} The session goes on all the same{f' ({demands.override})' if demands.override else ''}.")
    known = hashes(folder)
    noted = {
        "hashes": known,
        "latency_s": remaining_latencies(config).record(),
        "moved_px": checked,
        "shortcoming": wrong or "",
        "override": demands.override,
    }
    return {"calibration": noted} if any(noted.values()) else {}


def enforced_limits(config: Config) -> ArmLimits:
    """Return what bounds the arm: the configured limits and, where it has been taught, the workspace.

    Raises CalibrationError for a workspace that was changed by hand, or that leaves no room within the limits.
    """
    workspace = read_calibration(Path(config.calibration.folder), Kind.WORKSPACE, CELL)
    if workspace is None:
        return config.limits
    return taught_limits(config.limits, workspace, config.calibration.workspace_margin_m)


def _checked(devices: DevicesConfig, config: Config, say: Callable[[str], None]) -> dict[str, float]:
    """Return how many pixels from where it was each calibrated camera sees the board, as far as it sees it."""
    from calibration.board import Board
    from calibration.guide import conduct, unattended
    from calibration.procedures import check_camera
    from calibration.real_rig import RealRig

    demands = config.calibration
    off_px: dict[str, float] = {}
    for name in devices.cameras:
        hand_eye = read_calibration(Path(demands.folder), Kind.HAND_EYE, name)
        if hand_eye is None:
            continue
        with closing(RealRig(devices, [name], demands.arm_cameras, config.limits, drives=False)) as rig:
            try:
                procedure = check_camera(rig, name, Board(demands.board), hand_eye)
                checked = conduct(procedure, unattended(lambda sentence: None))
            except NotGoodEnoughError as error:
                say(f"{error} So it is not known whether it has moved.")
                continue
        off_px[name] = checked.moved_px
        say(checked.sentence(hand_eye, demands.max_moved_px))
    return off_px
