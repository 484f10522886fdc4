"""HID reports byte for byte, and the link on a device file, for which a named pipe stands in."""

import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.errors import DeviceError
from hardware.input_devices import spacemouse_hid
from hardware.input_devices.puck import COMPACT, PRO, Button, Motion
from hardware.input_devices.spacemouse_hid import HidLink, ReportParser, find_hidraw


def report(kind: int, *values: int) -> bytes:
    return struct.pack(f"<B{len(values)}h", kind, *values)


def test_translation_and_rotation_come_in_two_reports() -> None:
    parser = ReportParser(COMPACT)
    assert parser.events(report(1, 10, 20, 30)) == [Motion((10, -20, -30, 0, 0, 0))]
    assert parser.events(report(2, 40, 50, 60)) == [Motion((10, -20, -30, 40, -50, -60))]


def test_a_wireless_model_sends_all_six_axes_in_one_report() -> None:
    assert ReportParser(PRO).events(report(1, 1, 2, 3, -4, -5, -350)) == [Motion((1, -2, -3, -4, 5, 350))]


def test_only_changed_buttons_are_told() -> None:
    parser = ReportParser(COMPACT)
    assert parser.events(b"\x03\x01\x00") == [Button("left", True)]
    assert parser.events(b"\x03\x03\x00") == [Button("right", True)]
    assert parser.events(b"\x03\x03\x00") == []
    assert parser.events(b"\x03\x00\x00") == [Button("left", False), Button("right", False)]


def test_a_pros_buttons_are_named_by_their_bits() -> None:
    parser = ReportParser(PRO)
    assert parser.events(b"\x03" + (1 << 24 | 1 << 12 | 1).to_bytes(4, "little")) == [
        Button("menu", True),
        Button("1", True),
        Button("shift", True),
    ]
    assert ReportParser(COMPACT).events(b"\x03\x80") == [Button("button 7", True)]


@given(st.binary(max_size=64))
def test_no_report_upsets_the_parser(body: bytes) -> None:
    for event in ReportParser(PRO).events(body):
        assert isinstance(event, Button) or all(abs(count) <= 2**15 for count in event.counts)


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x01\x01\x02\x03", b"\x17\x40", b"\x02\x00"])
def test_other_and_short_reports_say_nothing(body: bytes) -> None:
    assert ReportParser(COMPACT).events(body) == []


def test_the_kernels_list_is_searched_for_known_models(tmp_path: Path) -> None:
    for number, hid_id in enumerate(["0003:0000046D:0000C52B", "0003:0000256F:0000C635"]):
        device = tmp_path / f"hidraw{number}" / "device"
        device.mkdir(parents=True)
        (device / "uevent").write_text(f"DRIVER=hid-generic\nHID_ID={hid_id}\nHID_NAME=3Dconnexion\n")
    assert find_hidraw(tmp_path, Path("/dev")) == (Path("/dev/hidraw1"), COMPACT)
    assert find_hidraw(tmp_path / "nothing") is None


def test_a_link_reads_reports_and_sees_an_unplugged_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacemouse_hid, "RETRY_S", 0.05)
    path = tmp_path / "hidraw0"
    os.mkfifo(path)
    device = os.open(path, os.O_RDWR)
    link = HidLink(lambda: (path, COMPACT))
    assert link.events() == []
    os.write(device, report(1, 350, 0, 0))
    assert link.events() == [Motion((350, 0, 0, 0, 0, 0))]
    os.close(device)
    assert link.events() == []
    assert "unplugged" in link.problem
    device = os.open(path, os.O_RDWR)
    deadline_s = time.monotonic() + 5.0
    while link.problem:
        assert time.monotonic() < deadline_s
        link.events()
    os.write(device, report(2, 0, 0, 350))
    assert link.events() == [Motion((0, 0, 0, 0, 0, -350))]
    link.close()
    os.close(device)


def test_no_spacemouse_is_said() -> None:
    with pytest.raises(DeviceError, match="No SpaceMouse is plugged in"):
        HidLink(lambda: None)


def test_a_device_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="install spacenavd, or let your user read it by a udev rule"):
        HidLink(lambda: (tmp_path / "hidraw9", PRO))
