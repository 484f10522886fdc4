"""What follows from the latency calibrations in a folder: by how much stamps are to be put back, and what is noted.

Camera and arm are compared with each other; only a number on a screen compares them with the host's clock. Without
one the arm's stamps are taken for true, which aligns pictures with poses all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calibration.errors import CalibrationError
from calibration.files import ARM, GRIPPER, INPUT, Calibration, Kind, read_calibration

NOTED = {ARM: "command_to_state_s", GRIPPER: "command_to_report_s", INPUT: "host_s"}
"""What else is measured: it is stored with the data, and shifts nothing."""


@dataclass(frozen=True)
class Latencies:
    """By how much stamps come after the truth, in s: pictures' by camera, and the arm's states'.

    `noted` are the other latencies by name.
    """

    cameras: Mapping[str, float] = field(default_factory=dict)
    arm_s: float = 0.0
    noted: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, float]:
        """Return all by name, as every episode holds them; nothing if nothing was measured."""
        shifts = {f"camera {name}": late_s for name, late_s in self.cameras.items()}
        return {**shifts, "arm state": self.arm_s, **self.noted} if shifts or self.noted else {}


def read_latencies(
    folder: Path, cameras: Sequence[str], camera_configured_s: Mapping[str, float], arm_configured_s: float
) -> Latencies:
    """Return what is left after the drivers have taken off what is configured now. Raises CalibrationError."""
    known = {name: found for name in cameras if (found := read_calibration(folder, Kind.LATENCY, name)) is not None}
    arm_s = _arm_s(list(known.values()), arm_configured_s)
    late = {
        name: _value(found, "against_arm_s")
        + _value(found, "camera_configured_s")
        - camera_configured_s.get(name, 0.0)
        + arm_s
        - _value(found, "arm_configured_s")
        for name, found in known.items()
    }
    noted = {
        f"{name} {key.removesuffix('_s').replace('_', ' ')}": _value(found, key)
        for name, key in NOTED.items()
        if (found := read_calibration(folder, Kind.LATENCY, name)) is not None
    }
    return Latencies(late, arm_s - arm_configured_s if known else 0.0, noted)


def _arm_s(known: Sequence[Calibration], configured_s: float) -> float:
    """Return by how much the arm's raw stamps are late: as the screen tells, or as it was configured when measured."""
    told = [
        _value(found, "shown_s") - _value(found, "against_arm_s") + _value(found, "arm_configured_s")
        for found in known
        if "shown_s" in found.values
    ]
    if told:
        return sum(told) / len(told)
    return _value(known[0], "arm_configured_s") if known else configured_s


def _value(calibration: Calibration, key: str) -> float:
    try:
        return float(calibration.values[key])
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"The latency calibration of {calibration.name} does not tell {key}; calibrate anew with 'drift-robot "
            "calibrate latency'."
        ) from error
