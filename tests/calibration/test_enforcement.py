"""What a session demands: one sentence for the first thing that is wrong, and nothing if all is well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from calibration.config import CalibrationConfig
from calibration.enforcement import latency_shortcoming, shortcoming, workspace_shortcoming
from calibration.errors import CalibrationError
from calibration.files import Calibration, Kind, calibration_path, write_calibration
from calibration.workspace import CELL
from hardware.arms.limits import ArmLimits

LENS = Calibration(Kind.INTRINSICS, "front", {"lens": {"focal_px": [600.0, 600.0]}}, {"rms_px": 0.2})
PLACE = Calibration(Kind.HAND_EYE, "front", {"intrinsics": LENS.hash}, {"rms_px": 0.3})
TOOL_POINTS_M = [list(point) for point in ArmLimits().tool_points_m]
WORKSPACE = Calibration(Kind.WORKSPACE, CELL, {"tool_points_m": TOOL_POINTS_M}, {"rms_mm": 0.3})
OLD = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="seconds")


def config(folder: Path) -> CalibrationConfig:
    return CalibrationConfig(folder=str(folder))


def test_fresh_and_good_calibrations_suffice(tmp_path: Path) -> None:
    write_calibration(tmp_path, LENS)
    write_calibration(tmp_path, PLACE)
    assert shortcoming(config(tmp_path), ["front"]) is None
    assert shortcoming(config(tmp_path), []) is None


@pytest.mark.parametrize(
    ("lens", "place", "words"),
    [
        (None, PLACE, "There is no intrinsics calibration of camera front"),
        (LENS, None, "There is no hand-eye calibration of camera front"),
        (replace(LENS, created_utc=OLD), PLACE, "intrinsics calibration of camera front is 40 days old, more than 30"),
        (LENS, replace(PLACE, created_utc=OLD), "hand-eye calibration of camera front is 40 days old, more than 30"),
        (replace(LENS, residuals={"rms_px": 1.5}), PLACE, "has a residual of 1.50 px, more than 1"),
        (LENS, replace(PLACE, residuals={}), "has a residual of inf px, more than 1"),
        (LENS, replace(PLACE, values={"intrinsics": "sha256:0"}), "was made with another lens calibration"),
    ],
)
def test_what_is_missing_too_old_or_too_poor_is_said_with_what_to_do(
    tmp_path: Path, lens: Calibration | None, place: Calibration | None, words: str
) -> None:
    for calibration in filter(None, (lens, place)):
        write_calibration(tmp_path, calibration)
    said = shortcoming(config(tmp_path), ["front"])
    assert said is not None
    assert words in said
    assert "run 'drift-robot calibrate " in said


def test_limits_are_the_configurations(tmp_path: Path) -> None:
    write_calibration(tmp_path, replace(LENS, created_utc=OLD))
    write_calibration(tmp_path, PLACE)
    assert shortcoming(replace(config(tmp_path), max_age_days=60), ["front"]) is None
    assert "0.30 px" in str(shortcoming(replace(config(tmp_path), max_age_days=60, max_residual_px=0.25), ["front"]))


def test_a_file_that_was_changed_is_not_trusted(tmp_path: Path) -> None:
    write_calibration(tmp_path, LENS)
    path = calibration_path(tmp_path, Kind.INTRINSICS, "front")
    path.write_text(path.read_text().replace("- 600.0", "- 601.0"))
    with pytest.raises(CalibrationError, match="was changed"):
        shortcoming(config(tmp_path), ["front"])


TIMES = {name: Calibration(Kind.LATENCY, name, {}, {"expected_error_ms": 0.4}) for name in ("arm", "front")}


def test_measured_latencies_suffice(tmp_path: Path) -> None:
    for calibration in TIMES.values():
        write_calibration(tmp_path, calibration)
    assert latency_shortcoming(config(tmp_path), ["front"]) is None


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("arm", None, "There is no latency calibration of the arm"),
        ("front", None, "There is no latency calibration of camera front"),
        ("front", {"created_utc": OLD}, "latency calibration of camera front is 40 days old, more than 30"),
        ("arm", {"residuals": {"expected_error_ms": 7.0}}, "has an expected error of 7.0 ms, more than 5"),
        ("arm", {"residuals": {}}, "has an expected error of inf ms"),
    ],
)
def test_latencies_that_do_not_suffice_are_said_with_what_to_do(
    tmp_path: Path, name: str, changes: dict[str, object] | None, words: str
) -> None:
    for calibration in TIMES.values():
        if calibration.name != name:
            write_calibration(tmp_path, calibration)
        elif changes is not None:
            write_calibration(tmp_path, replace(calibration, **changes))  # type: ignore[arg-type]
    said = latency_shortcoming(config(tmp_path), ["front"])
    assert said is not None
    assert words in said
    assert f"run 'drift-robot calibrate latency' (part {name})" in said


def test_a_fresh_and_good_workspace_suffices(tmp_path: Path) -> None:
    write_calibration(tmp_path, WORKSPACE)
    assert workspace_shortcoming(config(tmp_path), ArmLimits()) is None


@pytest.mark.parametrize(
    ("workspace", "words"),
    [
        (None, "There is no calibration of the workspace in "),
        (replace(WORKSPACE, created_utc=OLD), "workspace is 40 days old, more than 30"),
        (replace(WORKSPACE, residuals={"rms_mm": 1.4}), "workspace has a residual of 1.40 mm, more than 1"),
        (replace(WORKSPACE, residuals={}), "has a residual of inf mm, more than 1"),
        (replace(WORKSPACE, values={"tool_points_m": [[0.0, 0.0, 0.1]]}), "with other limits.tool_points_m"),
    ],
)
def test_what_is_wrong_with_the_workspace_is_said_with_what_to_do(
    tmp_path: Path, workspace: Calibration | None, words: str
) -> None:
    if workspace is not None:
        write_calibration(tmp_path, workspace)
    said = str(workspace_shortcoming(config(tmp_path), ArmLimits()))
    assert words in said
    assert said.endswith("; run 'drift-robot calibrate workspace'.")
