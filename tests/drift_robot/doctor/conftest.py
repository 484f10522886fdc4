"""Cells for the doctor to examine."""

import pytest

from hardware.devices import DevicesConfig


@pytest.fixture
def devices(host: str) -> DevicesConfig:
    """A cell with nothing but the emulated arm and its gripper, whose link may pause as on a busy machine."""
    return devices_at(host)


def devices_at(host: str) -> DevicesConfig:
    """Return a cell with the arm and its Robotiq gripper at an address."""
    from pydantic import TypeAdapter

    return TypeAdapter(DevicesConfig).validate_python(
        {
            "arm": {"host": host, "max_age_s": 1.0, "flange_from_tcp": (0, 0, 0.15, 0, 0, 0), "payload_kg": 0.9},
            "gripper": {"driver": "robotiq"},
        }
    )
