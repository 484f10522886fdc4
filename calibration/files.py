"""Calibrations on disk: one YAML file each, checked when it is read. What the values mean is the business of others.

A file is replaced whole; the one before goes to the folder `earlier`.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from calibration.errors import CalibrationError
from hardware.cameras.lens import Lens
from hardware.poses import Pose, rotation_matrix, rotation_vector

FORMAT, FORMAT_VERSION = "drift-robot calibration", 1
EARLIER = "earlier"
MAX_BYTES = 1 << 20


ARM, GRIPPER, INPUT = "arm", "gripper", "input"
"""What the latency calibrations of these are called; those of cameras have the camera's name."""


class Kind(StrEnum):
    """What is calibrated."""

    INTRINSICS = "intrinsics"
    HAND_EYE = "hand_eye"
    WORKSPACE = "workspace"
    LATENCY = "latency"


@dataclass(frozen=True)
class Calibration:
    """One calibration of what is called `name`, a camera or the cell.

    `values` are what it is for: poses by their frames' names (`pose_entry`), SI units; plain numbers, texts, lists and
    mappings. `residuals` tell how good it is, with units in their names; `views` how many there were and how spread;
    `devices` their serial numbers or addresses.
    """

    kind: Kind
    name: str
    values: Mapping[str, Any]
    residuals: Mapping[str, float]
    views: Mapping[str, Any] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    created_utc: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    software_version: str = ""

    @property
    def hash(self) -> str:
        """A digest of kind, name and values, which is recorded with data."""
        text = json.dumps([self.kind, self.name, _plain(self.values)], sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def age_days(self) -> float:
        """How old it is by the wall clock."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.created_utc)).total_seconds() / 86400.0


def calibration_path(folder: Path, kind: Kind, name: str) -> Path:
    """Return where a calibration lies."""
    return folder / f"{name}.{kind}.yaml"


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write a calibration, keep the one before in `earlier`, and return its path. Raises CalibrationError."""
    path = calibration_path(folder, calibration.kind, calibration.name)
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **{key: _plain(value) for key, value in asdict(calibration).items()},
        "hash": calibration.hash,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            (folder / EARLIER).mkdir(exist_ok=True)
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%S")
            os.link(path, _unused(folder / EARLIER / f"{path.stem}.{changed}.yaml"))
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise CalibrationError(
            f"{path} cannot be written ({error.strerror}); choose another calibration.folder."
        ) from error
    return path


def read_calibration(folder: Path, kind: Kind, name: str) -> Calibration | None:
    """Return a calibration, None where there is none. Raises CalibrationError for a file that was changed."""
    path = calibration_path(folder, kind, name)
    if not path.exists():
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CalibrationError(f"{path} is larger than any calibration; {_again(kind)}.")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path} cannot be read ({' '.join(str(error).split())}); {_again(kind)}.") from error
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        raise CalibrationError(f"{path} is not a calibration; {_again(kind)}.")
    if (version := document.pop("format_version", None)) != FORMAT_VERSION:
        raise CalibrationError(f"{path} has format version {version}, not {FORMAT_VERSION}; {_again(kind)}.")
    noted = document.pop("hash", None)
    try:
        calibration = Calibration(**{**document, "kind": Kind(document["kind"])})
        if datetime.fromisoformat(calibration.created_utc).tzinfo is None:
            raise ValueError("its date has no time zone")
        residuals = {key: float(value) for key, value in calibration.residuals.items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CalibrationError(f"{path} has damaged entries ({error}); {_again(kind)}.") from error
    if (calibration.kind, calibration.name) != (kind, name) or calibration.hash != noted:
        raise CalibrationError(f"{path} was changed after it was written (its hash differs); {_again(kind)}.")
    if not all(map(np.isfinite, residuals.values())):
        raise CalibrationError(f"{path} has residuals that are not finite; {_again(kind)}.")
    return calibration


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every calibration in a folder by "NAME KIND", to be recorded with data."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        if match := re.fullmatch(rf"(.+)\.({'|'.join(Kind)})", path.stem):
            name, kind = match[1], Kind(match[2])
            if (calibration := read_calibration(folder, kind, name)) is not None:
                found[f"{name} {kind}"] = calibration.hash
    return found


def pose_entry(pose: Pose) -> dict[str, list[float]]:
    """Return a pose as it is written: position in m, rotation vector in rad."""
    return {"position_m": pose.position.tolist(), "rotation_vector_rad": rotation_vector(pose.rotation).tolist()}


def pose_of(calibration: Calibration, frames: str) -> Pose:
    """Return the pose called `frames`, such as `tcp_from_camera`. Raises CalibrationError if it is not there."""
    try:
        entry = calibration.values[frames]
        position, vector = np.array(entry["position_m"], float), np.array(entry["rotation_vector_rad"], float)
        if position.shape != (3,) or vector.shape != (3,) or not np.isfinite([position, vector]).all():
            raise ValueError("not six finite numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"The {calibration.kind} calibration of {calibration.name} has no pose {frames} ({error}); "
            f"{_again(calibration.kind)}."
        ) from error
    return Pose(position, rotation_matrix(vector))


def lens_entry(lens: Lens) -> dict[str, Any]:
    """Return a lens as it is written: pixels, and OpenCV's distortion coefficients."""
    return {
        "picture_px": [lens.width, lens.height],
        "focal_px": [lens.fx, lens.fy],
        "centre_px": [lens.cx, lens.cy],
        "distortion": list(lens.distortion),
    }


def lens_of(calibration: Calibration) -> Lens:
    """Return the lens of an intrinsics calibration. Raises CalibrationError if it is not there."""
    try:
        entry = calibration.values["lens"]
        (width, height), (fx, fy), (cx, cy) = entry["picture_px"], entry["focal_px"], entry["centre_px"]
        k1, k2, p1, p2, k3 = map(float, entry["distortion"])
        return Lens(int(width), int(height), float(fx), float(fy), float(cx), float(cy), (k1, k2, p1, p2, k3))
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"The calibration of {calibration.name} has no lens ({error}); {_again(calibration.kind)}."
        ) from error


def lens_std_px_of(calibration: Calibration) -> tuple[float, ...]:
    """Return the standard deviations of fx, fy, cx, cy of an intrinsics calibration. Raises CalibrationError."""
    try:
        fx, fy, cx, cy = map(float, calibration.values["lens_std_px"])
        return fx, fy, cx, cy
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"The calibration of {calibration.name} does not tell how sure its lens is; {_again(calibration.kind)}."
        ) from error


def _again(kind: Kind) -> str:
    return f"calibrate anew with 'drift-robot calibrate {kind.replace('_', '-')}'"


def _plain(value: Any) -> Any:
    """Return a value as YAML and JSON have it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, StrEnum):
        return value.value
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _unused(path: Path) -> Path:
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{path.stem.rsplit('-', 1)[0]}-{number}.yaml")
    return path
