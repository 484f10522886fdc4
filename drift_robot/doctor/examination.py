"""The whole examination: which checks a configuration needs, in which order, and what is shown of them."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.schema import ARM_COLUMNS, Column
from drift_robot.calibrate.enforcement import enforced_limits
from drift_robot.config import ROBOSUITE_TASK_NAMES, Config, Picture
from drift_robot.doctor import cameras, machine, policy, rendering, robot
from drift_robot.doctor import input as controls
from drift_robot.doctor.apart import Job, run_apart
from drift_robot.doctor.findings import Finding, Level, fit_for_a_session, note, problem
from drift_robot.doctor.pictures import save_contact_sheet
from drift_robot.errors import UserError
from drift_robot.lockstep import episode_layout
from drift_robot.realtime import lines, records
from hardware.cameras.config import RealSenseConfig
from hardware.devices import DevicesConfig

START_S = 30.0
"""What a process may take to start on a busy computer, on top of what its check needs."""
REAL_ARM_HZ = 500.0
SMALL_RINGS_BYTES = 4 << 20
"""All rings but those of recorder, cameras and arm, generously."""

MARKS = {
    Level.OK: ("✓", "green"),
    Level.NOTE: ("·", "blue"),
    Level.WARNING: ("!", "yellow"),
    Level.PROBLEM: ("✗", "red"),
}
SUBJECT_WIDTH = 20


def examine(config: Config, run: Path, wiggle_s: float) -> Iterator[Finding | str]:
    """Yield what is found, and words that say what is being done. Pictures go into the run's folder `doctor`.

    Raises UserError if that folder cannot be written.
    """
    folder = run / "doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); choose another folder with --out.") from error
    devices = config.devices
    robosuite = devices is None and config.cell.task in ROBOSUITE_TASK_NAMES
    yield from machine.check_software(devices is not None, devices is not None and bool(realsense(devices)), robosuite)
    yield from machine.check_cores()
    yield from run_apart(Job("clock", START_S, machine.check_clock))
    yield from machine.check_shared_memory(shared_memory_bytes(config))
    yield from run_apart(Job("disk", START_S, machine.check_disk, (run, recorded_bytes_s(config))))
    yield from run_apart(Job("policy speed", 4 * START_S, policy.check_policy, (config,)))
    if robosuite:
        yield note("rendering", "Robosuite's tasks are run without pictures.")
    elif devices is None:
        sizes = config.cell.cameras or {"front": Picture()}
        shown = {name: (size.height, size.width) for name, size in sizes.items()}
        yield from run_apart(
            Job("rendering", 2 * START_S, rendering.check_rendering, (config.cell.task, shown, folder))
        )
    else:
        yield from run_apart(Job("robot", START_S, robot.check_robot, (devices, enforced_limits(config))))
        yield from run_apart(Job("gripper", START_S, robot.check_gripper, (devices,)))
        yield from _check_cameras(devices, 1 / config.policy_period_s, folder)
    yield from _check_operator(config, wiggle_s)


def _check_cameras(devices: DevicesConfig, policy_hz: float, folder: Path) -> Iterator[Finding | str]:
    """Look for RealSense cameras first, then watch those that are there, all at the same time."""
    absent: set[str] = set()
    if (wanted := realsense(devices)) and devices.emulator is None:
        for said in run_apart(Job(cameras.BUS, START_S, cameras.check_bus, (wanted,))):
            if isinstance(said, Finding) and said.level is Level.PROBLEM:
                absent |= {said.subject} if said.subject != cameras.BUS else set(map(cameras.subject, wanted))
            yield said
    jobs = [
        Job(cameras.subject(name), START_S, cameras.check_camera, (name, devices, policy_hz, folder))
        for name in devices.cameras
    ]
    yield from run_apart(*(job for job in jobs if job.subject not in absent))


def realsense(devices: DevicesConfig) -> dict[str, RealSenseConfig]:
    """Return the configured RealSense cameras by name."""
    return {name: config for name, config in devices.cameras.items() if isinstance(config, RealSenseConfig)}


def _check_operator(config: Config, wiggle_s: float) -> Iterator[Finding | str]:
    device = config.input.device
    if device in ("gamepad", "spacemouse"):
        arguments = (device, config.input.mapping, wiggle_s)
        yield from run_apart(Job("input device", wiggle_s + START_S, controls.check_input, arguments))
    elif device != "keyboard" and config.devices is not None and config.devices.emulator is None:
        yield problem(
            "input device",
            "None is configured to drive a real arm.",
            "Set input.device: gamepad, spacemouse or keyboard.",
        )
    yield from machine.check_display(needed=device == "keyboard")


def recorded_bytes_s(config: Config) -> float:
    """Return the bytes a second that a session records, before compression: its steps, and the arm's log."""
    arm_hz = 1 / config.cell.servo_period_s if config.devices is None else REAL_ARM_HZ
    steps = sum(map(_row_bytes, episode_layout(config).columns())) / config.policy_period_s
    return steps + arm_hz * sum(map(_row_bytes, ARM_COLUMNS))


def _row_bytes(column: Column) -> int:
    return np.dtype(column.dtype).itemsize * math.prod(column.shape)


def shared_memory_bytes(config: Config) -> int:
    """Return about the shared memory that the rings of a real-time session take."""
    layout = episode_layout(config)
    frames = sum(records.frame_dtype(*size).itemsize for size in layout.cameras.values())
    recording = records.recording_dtype(layout).itemsize
    arm = lines.ARM_SLOTS * records.ARM.itemsize
    return lines.RECORDING_SLOTS * recording + lines.NEWEST_ONLY * frames + arm + SMALL_RINGS_BYTES


def run_doctor(config: Config, source: Path, run: Path, wiggle_s: float, console: Console, as_json: bool) -> bool:
    """Examine, show every finding as it comes (or all as JSON at the end), and return whether a session can begin."""
    progress = Console(stderr=True) if as_json else console
    findings: list[Finding] = []
    doing = ""
    with progress.status("beginning") as status:
        for said in examine(config, run, wiggle_s):
            if isinstance(said, str):
                status.update(Text(said))
                if said != doing and not progress.is_terminal:
                    progress.print(f"  {said} ...", style="dim", markup=False, highlight=False)
                doing = said
                continue
            findings.append(said)
            if not as_json:
                console.print(_line(said))
    sheet = _contact_sheet(findings, run / "doctor")
    fit = fit_for_a_session(findings)
    if as_json:
        shown = {
            "configuration": str(source),
            "fit": fit,
            "findings": [asdict(finding) for finding in findings],
            "pictures": sorted(str(path) for path in (run / "doctor").glob("*.png")),
        }
        console.print_json(json.dumps(shown))
    else:
        if sheet is not None:
            console.print(f"Pictures: {sheet}", highlight=False, soft_wrap=True)
        console.print(_summary(findings))
    return fit


def _line(finding: Finding) -> Table:
    mark, style = MARKS[finding.level]
    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=SUBJECT_WIDTH, overflow="fold")
    line.add_column(overflow="fold")
    said = Text(finding.found)
    if finding.advice:
        said.append("" if finding.found.endswith(".") else ".").append(f" {finding.advice}", "bold")
    line.add_row(Text(mark, style), Text(finding.subject, "" if finding.level is Level.OK else style), said)
    return line


def _summary(findings: Sequence[Finding]) -> Text:
    problems, warnings = (sum(f.level is level for f in findings) for level in (Level.PROBLEM, Level.WARNING))
    if problems:
        return Text(f"A session cannot begin: {_count(problems, 'problem')}, {_count(warnings, 'warning')}.", "red")
    if warnings:
        return Text(f"A session can begin: no problem, {_count(warnings, 'warning')}.", "yellow")
    return Text("A session can begin: all is well.", "green")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _contact_sheet(findings: Sequence[Finding], folder: Path) -> Path | None:
    """Save one sheet of all cameras and return its path; None if there are no cameras."""
    order = list(Level)
    worst: defaultdict[str, Level] = defaultdict(lambda: Level.OK)
    for finding in findings:
        if (name := finding.subject.removeprefix(cameras.subject(""))) != finding.subject:
            worst[name] = max(worst[name], finding.level, key=order.index)
    if not worst:
        return None
    path = folder / "cameras.png"
    save_contact_sheet(dict(sorted(worst.items())), folder, path)
    return path
