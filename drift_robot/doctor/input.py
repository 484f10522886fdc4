"""The operator's device: whether it is there, rests at zero, and every axis and button that is mapped works."""

import time
from collections.abc import Collection, Mapping
from typing import Protocol

from drift_robot.doctor.findings import Check, Finding, note, ok, problem, warning
from hardware.clock import MonotonicClock
from hardware.errors import DeviceError
from hardware.input_devices.gestures import parts
from hardware.input_devices.mapping import MappingChange, MappingConfig
from hardware.interfaces import InputDevice, Verb

REST_S = 0.5
WIGGLE_S = 30.0
PERIOD_S = 0.004
MOVED = 0.5


class Controls(InputDevice, Protocol):
    """An input device that also shows its controls as they are, before dead zone and map."""

    @property
    def mapping(self) -> MappingConfig:
        """What its controls do."""
        ...

    def controls(self) -> dict[str, float]:
        """Return every control's value in [-1, 1] at the last reading, by name."""
        ...


def open_device(device: str, change: MappingChange) -> Controls:
    """Return the gamepad or SpaceMouse with the operator's own mapping. Raises DeviceError."""
    clock = MonotonicClock()
    if device == "gamepad":
        from hardware.input_devices.gamepad import Gamepad

        return Gamepad(clock, change=change)
    from hardware.input_devices.spacemouse import SpaceMouse, open_link

    return SpaceMouse(open_link(), clock, change=change)


def check_input(device: str, change: MappingChange, wiggle_s: float) -> Check:
    """Look at a gamepad or SpaceMouse and, if there is time to wiggle, ask the operator to try every control."""
    yield f"looking for the {device}"
    try:
        opened = open_device(device, change)
    except DeviceError as error:
        yield problem("input device", str(error))
        return
    except ImportError as error:
        yield problem("input device", f"The {device} needs a package that is not there ({error}).")
        return
    try:
        yield from try_controls(device, opened, wiggle_s)
    finally:
        opened.close()


def try_controls(name: str, device: Controls, wiggle_s: float) -> Check:
    """Watch a device at rest, then while the operator tries it; `wiggle_s` 0 leaves that out."""
    mapping = device.mapping
    yield f"leave the {name} alone for a moment"
    resting = _strongest(device, REST_S)
    yield judge_rest(name, mapping, resting)
    if not wiggle_s:
        yield note("axes and buttons", "not tried", "Leave out --no-wiggle to try them.")
        return
    mapped = set(mapping.controls)
    missing = mapped
    deadline_s = time.monotonic() + wiggle_s
    asked: set[str] = set()
    while missing and time.monotonic() < deadline_s and not device.problem:
        if asked != missing:
            asked = missing
            yield f"within {wiggle_s:.0f} s move or press: {_labels(mapping, missing)}"
        now = _controls(device)
        missing = {c for c in missing if abs(now.get(c, 0.0) - resting.get(c, 0.0)) <= MOVED}
        time.sleep(PERIOD_S)
    yield problem("axes and buttons", device.problem) if device.problem else judge_tried(mapping, mapped, missing)


def judge_rest(name: str, mapping: MappingConfig, resting: Mapping[str, float]) -> Finding:
    """Judge the largest values that controls had while nobody touched them."""
    drifting = {axis: resting.get(axis, 0.0) for axis in mapping.motions}
    drifting = {axis: value for axis, value in drifting.items() if abs(value) >= mapping.dead_zone}
    held = {c for c in mapping.controls - set(mapping.motions) if abs(resting.get(c, 0.0)) > MOVED}
    if drifting:
        worst = max(abs(value) for value in drifting.values())
        values = ", ".join(f"{mapping.label(axis)} at {value:+.2f}" for axis, value in drifting.items())
        return warning(
            "input device",
            f"{name}: not at rest within the dead zone of {mapping.dead_zone:g}: {values}.",
            f"Let go of it; if it drifts, set input.mapping.dead_zone to {min(worst + 0.05, 0.95):.2f}.",
        )
    if held:
        return warning("input device", f"{name}: pressed at rest: {_labels(mapping, held)}.", "Let go of it.")
    return ok("input device", f"{name}: there, and at rest")


def judge_tried(mapping: MappingConfig, mapped: Collection[str], missing: Collection[str]) -> Finding:
    """Judge which mapped controls were never seen to move; without one to take over with, no session is safe."""
    axes = len(mapping.motions)
    if not missing:
        return ok("axes and buttons", f"all {axes} axes and {len(mapped) - axes} buttons work")
    found = f"{len(mapped) - len(missing)} of {len(mapped)} seen; never seen: {_labels(mapping, missing)}."
    advice = "Try again; if one stays dead, replace the device or map its function to another in input.mapping."
    takeover = {control for control in mapping.buttons if Verb.TAKEOVER in mapping.functions(control)}
    takeover.add(mapping.deadman)
    if takeover & set(mapped) and not takeover & set(mapped) - set(missing):
        return problem("axes and buttons", f"{found} You could not take over.", advice)
    return warning("axes and buttons", found, advice)


def _controls(device: Controls) -> dict[str, float]:
    device.read()
    return device.controls()


def _strongest(device: Controls, seconds: float) -> dict[str, float]:
    """Return the value of largest magnitude that each control had in a time."""
    strongest: dict[str, float] = {}
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        for control, value in _controls(device).items():
            if abs(value) >= abs(strongest.get(control, 0.0)):
                strongest[control] = value
        time.sleep(PERIOD_S)
    return strongest


def _labels(mapping: MappingConfig, controls: Collection[str]) -> str:
    buttons = (part for control in mapping.buttons for part in parts(control))
    ordered = dict.fromkeys([*mapping.motions, *buttons, mapping.deadman])
    return ", ".join(mapping.label(control) for control in ordered if control in controls)
