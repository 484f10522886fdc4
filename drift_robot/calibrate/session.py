"""What the commands of `drift-robot calibrate` share: the rig of a configuration, guiding, and writing results."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.files import ARM, GRIPPER, INPUT, Calibration, Kind, read_calibration, write_calibration
from calibration.guide import Procedure, conduct, unattended
from calibration.procedures import Result
from calibration.rig import Rig, TimingRig
from calibration.teaching import feeling
from calibration.workspace import CELL
from drift_robot.calibrate.enforcement import enforced_limits
from drift_robot.config import Config
from drift_robot.errors import UserError
from hardware.grippers.robotiq import RobotiqConfig

T = TypeVar("T")
TURN_S, UNATTENDED_TURN_S = 0.05, 0.25
"""Where nobody looks, simulated time passes in larger pieces."""
NOT_BY_HAND = "Nobody can take the simulated arm by the hand: leave out --by-hand."
SIMULATED_CAMERAS = ("front", "wrist")


def cameras_of(config: Config, wanted: list[str] | None) -> list[str]:
    """Return the cameras to calibrate: those that are wanted, or all. Raises UserError for one that is not there."""
    known = list(config.devices.cameras) if config.devices else list(config.cell.cameras) or list(SIMULATED_CAMERAS)
    for name in wanted or ():
        if name not in known:
            raise UserError(f"The configuration has no camera '{name}'; choose one of {', '.join(known)}.")
    if not known:
        raise UserError("The configuration has no cameras; name them in 'devices.cameras' and 'cell.cameras'.")
    return wanted or known


def rigs(config: Config, wanted: list[str] | None, by_hand: bool, attended: bool) -> Iterator[tuple[str, Rig]]:
    """Yield each camera that is to be looked through with what it needs, open until the next one's turn."""
    for name in cameras_of(config, wanted):
        with closing(open_rig(config, name, by_hand, attended)) as rig:
            yield name, rig


def open_rig(config: Config, camera: str, by_hand: bool, attended: bool) -> Rig:
    """Open what a camera's calibration needs. Raises DeviceError, and UserError for what the cell cannot do."""
    on_arm, limits = camera in config.calibration.arm_cameras, enforced_limits(config)
    if config.devices is not None:
        from calibration.real_rig import RealRig

        return RealRig(config.devices, [camera], config.calibration.arm_cameras, limits, drives=not by_hand)
    if by_hand:
        raise UserError(NOT_BY_HAND)
    from calibration.simulated_rig import SimulatedRig

    turn_s = TURN_S if attended else UNATTENDED_TURN_S
    return SimulatedRig(camera, config.calibration.board, limits, on_arm, seed=config.seed, turn_s=turn_s)


def open_workspace_rig(config: Config, wanted: list[str] | None, by_hand: bool, attended: bool) -> Rig:
    """Open the arm to feel for the table, and cameras to look on. Raises DeviceError, and UserError as `open_rig`."""
    cameras, riding = cameras_of(config, wanted), config.calibration.arm_cameras
    limits = feeling(config.limits)
    if config.devices is not None:
        from calibration.real_rig import RealRig

        return RealRig(config.devices, cameras, riding, limits, drives=not by_hand)
    if by_hand:
        raise UserError(NOT_BY_HAND)
    from calibration.simulated_rig import SimulatedRig
    from hardware.cell.tasks.table import TableScene

    first, *others = cameras
    return SimulatedRig(
        first,
        config.calibration.board,
        limits,
        first in riding,
        seed=config.seed,
        turn_s=TURN_S if attended else UNATTENDED_TURN_S,
        table=TableScene(),
        others={name: name in riding for name in others},
    )


def earlier_workspace(config: Config, say: Callable[[str], None]) -> Calibration | None:
    """Return the workspace as it was taught before, from which what is not taught anew is kept; None without one.

    One that was changed by hand is not taken up, which is said.
    """
    try:
        return read_calibration(Path(config.calibration.folder), Kind.WORKSPACE, CELL)
    except CalibrationError as error:
        say(f"{error} Nothing of it is kept.")
        return None


def timed_parts(config: Config, wanted: list[str] | None, attended: bool) -> list[str]:
    """Return the parts whose latencies are to be measured, the gripper after the cameras, for it may hold the board.

    Without anybody a real gripper is left out, as it would drop that. Raises UserError for a part that is not there.
    """
    cameras = cameras_of(config, None)
    if clash := {ARM, GRIPPER, INPUT} & set(cameras):
        raise UserError(f"A camera is called '{min(clash)}', as a part of the cell is; call it otherwise.")
    devices = config.devices
    grips = devices is None or isinstance(devices.gripper, RobotiqConfig)  # others do not report their opening
    plays = config.input.device in ("gamepad", "spacemouse")
    known = [ARM, *cameras, *([GRIPPER] if grips else []), *([INPUT] if plays else [])]
    for name in wanted or ():
        if name not in known:
            raise UserError(f"The configuration has no part '{name}' to be timed; choose one of {', '.join(known)}.")
    if wanted:
        return [name for name in known if name in wanted]
    risky = devices is not None and devices.emulator is None and not attended
    return [name for name in known if not (risky and name == GRIPPER)]


def open_timing_rig(config: Config, part: str) -> TimingRig:
    """Open what the measurement of a part's latency needs. Raises DeviceError."""
    cameras = [] if part in (ARM, GRIPPER) else [part]
    riding, limits = config.calibration.arm_cameras, enforced_limits(config)
    if config.devices is not None:
        from calibration.real_rig import RealRig

        return RealRig(config.devices, cameras, riding, limits, drives=True, grips=part == GRIPPER)
    from calibration.late_rig import LateRig

    camera = cameras[0] if cameras else SIMULATED_CAMERAS[-1]
    return LateRig(camera, config.calibration.board, limits, camera in riding, seed=config.seed)


def guided(procedure: Procedure[T], attended: bool, say: Callable[[str], None]) -> T:
    """Run a procedure in the window, or without anybody. Raises UserError where there is no screen."""
    if not attended:
        return conduct(procedure, unattended(say))
    from drift_robot.calibrate.window import GuideWindow

    with GuideWindow() as window:
        return conduct(procedure, window.show)


def keep(config: Config, result: Result, say: Callable[[str], None]) -> Calibration:
    """Write a calibration with its pictures beside it, and say what it is. Raises CalibrationError."""
    path = write_calibration(Path(config.calibration.folder), result.calibration)
    pictures = []
    for name, image in result.pictures.items():
        pictures.append(path.with_suffix(f".{name}.png"))
        save_picture(image, pictures[-1])
    for sentence in result.sentences:
        say(sentence)
    say(f"Written: {path}; pictures: {', '.join(picture.name for picture in pictures)}.")
    return result.calibration


def save_picture(image: NDArray[np.uint8], path: Path) -> None:
    """Write a picture (height, width, 3) RGB as PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def demanded(config: Config, kind: Kind, wanted: list[str] | None) -> dict[str, Calibration]:
    """Return the calibrations that another step needs, by camera. Raises UserError if one has not been made."""
    found = {name: read_calibration(Path(config.calibration.folder), kind, name) for name in cameras_of(config, wanted)}
    step = kind.replace("_", "-")
    if missing := [name for name, calibration in found.items() if calibration is None]:
        raise UserError(
            f"Camera {missing[0]} has no {step} calibration in {config.calibration.folder}; run "
            f"'drift-robot calibrate {step}' first."
        )
    return {name: calibration for name, calibration in found.items() if calibration is not None}
