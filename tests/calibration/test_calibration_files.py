"""Calibrations on disk: what is written comes back, and what was changed by anybody is refused in one sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from calibration.errors import CalibrationError
from calibration.files import (
    EARLIER,
    Calibration,
    Kind,
    calibration_path,
    hashes,
    pose_entry,
    pose_of,
    read_calibration,
    write_calibration,
)
from hardware.poses import Pose, rotation_matrix

NUMBERS = st.floats(-3.0, 3.0, allow_nan=False)


def example(name: str = "wrist", x: float = 0.1) -> Calibration:
    pose = Pose(np.array([x, 0.2, 0.3]), rotation_matrix(np.array([0.1, -0.2, 3.0])))
    return Calibration(
        Kind.HAND_EYE, name, {"tcp_from_camera": pose_entry(pose)}, {"rms_px": 0.2}, {"used": 20}, {"camera": "17"}
    )


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    written = example()
    path = write_calibration(tmp_path / "new", written)
    assert path == calibration_path(tmp_path / "new", Kind.HAND_EYE, "wrist")
    read = read_calibration(tmp_path / "new", Kind.HAND_EYE, "wrist")
    assert read == written
    assert read is not None
    assert read.hash == written.hash
    assert -0.01 < read.age_days < 0.01


@given(position=st.tuples(NUMBERS, NUMBERS, NUMBERS), vector=st.tuples(*[st.floats(-1.8, 1.8)] * 3))
def test_any_pose_survives(position: tuple[float, float, float], vector: tuple[float, float, float]) -> None:
    pose = Pose(np.array(position), rotation_matrix(np.array(vector)))
    back = pose_of(replace(example(), values={"a_from_b": pose_entry(pose)}), "a_from_b")
    np.testing.assert_allclose(back.position, pose.position, atol=1e-12)
    np.testing.assert_allclose(back.rotation, pose.rotation, atol=1e-9)


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, Kind.INTRINSICS, "front") is None
    assert hashes(tmp_path / "nowhere") == {}


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    for x in (0.1, 0.2, 0.3):
        write_calibration(tmp_path, example(x=x))
    kept = [yaml.safe_load(path.read_text()) for path in (tmp_path / EARLIER).iterdir()]
    assert sorted(document["values"]["tcp_from_camera"]["position_m"][0] for document in kept) == [0.1, 0.2]
    assert hashes(tmp_path) == {"wrist hand_eye": example(x=0.3).hash}


def test_the_hash_is_over_what_is_used(tmp_path: Path) -> None:
    assert example().hash == replace(example(), created_utc="2020-01-01T00:00:00+00:00", views={}).hash
    assert len({example().hash, example("front").hash, example(x=0.2).hash}) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("- 0.1\n", "- 0.11\n", 1), "changed after it was written"),
        (lambda text: text.replace("drift-robot calibration", "something"), "is not a calibration"),
        (lambda text: text.replace("format_version: 1", "format_version: 2"), "has format version 2, not 1"),
        (lambda text: text.replace("rms_px: 0.2", "rms_px: .nan"), "residuals that are not finite"),
        (lambda text: text.replace("rms_px: 0.2", "rms_px: well"), "damaged entries"),
        (lambda text: text.replace("created_utc: '", "created_utc: 'x"), "damaged entries"),
        (lambda text: text.replace("views:", "view:"), "damaged entries"),
        (lambda text: text + "\n: [", "cannot be read"),
        (lambda text: "", "is not a calibration"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_one_sentence(tmp_path: Path, change: object, words: str) -> None:
    path = write_calibration(tmp_path, example())
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(CalibrationError, match=words) as said:
        read_calibration(tmp_path, Kind.HAND_EYE, "wrist")
    assert str(path) in str(said.value)
    assert "drift-robot calibrate hand-eye" in str(said.value)


def test_a_pose_that_is_not_there_is_named() -> None:
    with pytest.raises(CalibrationError, match="has no pose base_from_camera"):
        pose_of(example(), "base_from_camera")
    with pytest.raises(CalibrationError, match="not six finite numbers"):
        pose_of(replace(example(), values={"p": {"position_m": [0, 0], "rotation_vector_rad": [0, 0, 0]}}), "p")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CalibrationError, match=r"choose another calibration\.folder"):
        write_calibration(tmp_path / "file", example())
