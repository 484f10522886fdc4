"""The link to a SpaceMouse straight from the kernel's raw HID device, for machines without spacenavd.

Reports as 3Dconnexion's devices send them: 1 the translation, or all six axes on wireless models; 2 the rotation; 3 the
buttons as bits. The device's own axes are x right, y towards the operator, z down.
"""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from hardware.errors import DeviceError
from hardware.input_devices.puck import USB_IDS, Button, Model, Motion

RETRY_S = 1.0
TRANSLATION, ROTATION, BUTTONS = 1, 2, 3
Counts = tuple[int, int, int]


class ReportParser:
    """Turns HID reports into events; a report of another kind or a short one says nothing."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._translation: Counts = (0, 0, 0)
        self._rotation: Counts = (0, 0, 0)
        self._buttons = 0

    def events(self, report: bytes) -> list[Motion | Button]:
        """Return the motion or the changed buttons that one report tells."""
        kind, body = report[:1], report[1:]
        if kind == bytes([BUTTONS]):
            return self._changes(int.from_bytes(body, "little"))
        if kind == bytes([TRANSLATION]) and len(body) >= 6:
            self._translation = _turned(body[:6])
            if len(body) >= 12:
                self._rotation = _turned(body[6:12])
        elif kind == bytes([ROTATION]) and len(body) >= 6:
            self._rotation = _turned(body[:6])
        else:
            return []
        return [Motion((*self._translation, *self._rotation))]

    def _changes(self, buttons: int) -> list[Motion | Button]:
        changed, self._buttons = self._buttons ^ buttons, buttons
        bits = [bit for bit in range(changed.bit_length()) if changed >> bit & 1]
        return [Button(self._model.bit(bit), bool(buttons >> bit & 1)) for bit in bits]


def _turned(body: bytes) -> Counts:
    """Turn device axes (right, towards the operator, down) by half a turn about x, into (right, forward, up)."""
    x, y, z = struct.unpack("<3h", body)
    return x, -y, -z


def find_hidraw(sysfs: Path = Path("/sys/class/hidraw"), dev: Path = Path("/dev")) -> tuple[Path, Model] | None:
    """Return the device file and the model of the first SpaceMouse that the kernel lists."""
    for entry in sorted(sysfs.glob("hidraw*")):
        lines = (entry / "device" / "uevent").read_text().splitlines()
        for hid_id in (line.removeprefix("HID_ID=") for line in lines if line.startswith("HID_ID=")):
            _, vendor, product = (int(part, 16) for part in hid_id.split(":"))
            if (vendor, product) in USB_IDS:
                return dev / entry.name, USB_IDS[vendor, product]
    return None


class HidLink:
    """A PuckLink on a raw HID device; opens it again by itself when it is plugged in again."""

    def __init__(self, find: Callable[[], tuple[Path, Model] | None] = find_hidraw) -> None:
        """Open the SpaceMouse that `find` returns. Raises DeviceError if there is none or it may not be read."""
        self._find = find
        self._file: int | None = None
        self._retry_s = 0.0
        found = find()
        if found is None:
            raise DeviceError("No SpaceMouse is plugged in: plug one in, or choose the gamepad or the keyboard.")
        path, self._model = found
        self._parser = ReportParser(self._model)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise DeviceError(
                f"The SpaceMouse at {path} cannot be read ({error.strerror}): install spacenavd, "
                "or let your user read it by a udev rule for /dev/hidraw*."
            ) from error

    @property
    def model(self) -> Model:
        """The SpaceMouse, by its USB id."""
        return self._model

    @property
    def problem(self) -> str:
        """What is wrong with the link now, in one sentence, or nothing."""
        return "" if self._file is not None else "The SpaceMouse is unplugged: plug it in again; the arm waits."

    def events(self) -> list[Motion | Button]:
        """Return what came since the last call, in order; never waits."""
        if self._file is None and time.monotonic() >= self._retry_s:
            self._reopen()
        events: list[Motion | Button] = []
        while self._file is not None:
            try:
                report = os.read(self._file, 64)
            except BlockingIOError:
                break
            except OSError:
                report = b""
            if report:
                events += self._parser.events(report)
            else:
                self.close()
        return events

    def close(self) -> None:
        """Release the device."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._retry_s = time.monotonic() + RETRY_S

    def _reopen(self) -> None:
        self._retry_s = time.monotonic() + RETRY_S
        found = self._find()
        if found is not None and found[1] is self._model:
            try:
                self._file = os.open(found[0], os.O_RDONLY | os.O_NONBLOCK)
            except OSError:
                return
            self._parser = ReportParser(self._model)
