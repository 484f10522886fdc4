"""This computer: packages, cores, clock, real-time scheduling, shared memory, disk."""

import getpass
import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from drift_robot import __version__
from drift_robot.doctor.findings import Check, Finding, note, ok, problem, warning
from hardware.arms.ur_process import REALTIME_PRIORITY, schedule
from hardware.clock import NS_PER_S, MonotonicClock
from hardware.poses import Array
from hardware.rings import SHARED_MEMORY

PACKAGES = {
    "torch": "torch",
    "mujoco": "mujoco",
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "pygame-ce": "pygame-ce",
}
"""What a session always runs on: names for people, and for pip."""
FEW_CORES = 4
TICK_S = 0.002
CLOCK_S = 1.0
LATE_S = 0.001
COARSE_S = 1e-6
WRITTEN_BYTES = 64 << 20
BLOCK_BYTES = 4 << 20
WRITE_S = 2.0
SPARE_SPEED = 3.0
LITTLE_TIME_H, NO_TIME_H = 2.0, 0.25


def check_software(ur: bool, realsense: bool, robosuite: bool) -> Check:
    """Tell the versions of what a session runs on; `ur`, `realsense`, `robosuite` tell which extras are needed."""
    found = {name: installed(name) for name in ("ur_rtde", "pyrealsense2", "robosuite", "pygame")}
    versions = ", ".join(f"{name} {installed(distribution)}" for name, distribution in PACKAGES.items())
    yield ok("software", f"drift-robot {__version__}, Python {platform.python_version()}, {versions}")
    yield from judge_packages(found, {"ur_rtde": ur, "pyrealsense2": realsense, "robosuite": robosuite})


def installed(distribution: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def judge_packages(found: Mapping[str, str | None], needed: Mapping[str, bool]) -> list[Finding]:
    """Judge what is installed of the extras, and what must not be installed together."""
    extras = {"ur_rtde": "ur", "pyrealsense2": "realsense", "robosuite": "robosuite"}
    findings = []
    for name, extra in extras.items():
        if found[name]:
            findings.append(ok(name, str(found[name])))
        elif needed[name]:
            findings.append(problem(name, "not installed", f"Run  pip install 'drift-robot[{extra}]'"))
    if found["pygame"]:
        findings.append(
            warning(
                "pygame",
                "pygame and pygame-ce are both installed and overwrite each other.",
                "Run  pip uninstall pygame pygame-ce && pip install pygame-ce",
            )
        )
    return findings


def check_clock() -> Check:
    """Measure how late a 500 Hz loop wakes, under real-time scheduling if that is allowed."""
    yield f"running a 500 Hz loop for {CLOCK_S:g} s"
    real_time = schedule(realtime=True)
    late_s = lateness_s(TICK_S, CLOCK_S)
    schedule(realtime=False)
    yield judge_real_time(real_time, getpass.getuser())
    yield judge_clock(time.get_clock_info("monotonic").resolution, late_s, real_time)


def lateness_s(period_s: float, seconds: float) -> Array:
    """Return by how much each tick of a loop came late."""
    clock, period_ns = MonotonicClock(), round(period_s * NS_PER_S)
    deadline_ns = clock.now_ns()
    late_ns = []
    for _ in range(round(seconds / period_s)):
        deadline_ns += period_ns
        clock.sleep_until_ns(deadline_ns)
        late_ns.append(clock.now_ns() - deadline_ns)
    return np.array(late_ns) / NS_PER_S


def judge_real_time(allowed: bool, user: str) -> Finding:
    """Judge whether processes may ask for SCHED_FIFO."""
    if allowed:
        return ok("real-time scheduling", "allowed (SCHED_FIFO)")
    return warning(
        "real-time scheduling",
        "not allowed, so the arm's loop may pause when this computer is busy.",
        f"Add the lines '{user} soft rtprio {REALTIME_PRIORITY}' and '{user} hard rtprio {REALTIME_PRIORITY}' to"
        " /etc/security/limits.conf, then log out and in again.",
    )


def judge_clock(resolution_s: float, late_s: Array, real_time: bool) -> Finding:
    """Judge the clock's resolution and the lateness (n,) of a loop's ticks in seconds."""
    middle, late = (float(np.percentile(late_s, share)) for share in (50, 99))
    found = (
        f"resolution {1e9 * resolution_s:.0f} ns; a 500 Hz loop {'with' if real_time else 'without'} SCHED_FIFO is late"
        f" by {1e6 * middle:.0f} µs (p50), {1e6 * late:.0f} µs (p99)"
    )
    if late > TICK_S or middle > LATE_S or resolution_s > COARSE_S:
        return warning("clock", f"{found}.", "End other programs, switch power saving off, allow real-time scheduling.")
    return ok("clock", found)


def check_cores() -> Check:
    """Look how much this computer can do at once and how busy it is."""
    yield judge_cores(len(os.sched_getaffinity(0)), os.getloadavg()[0])


def judge_cores(cores: int, load: float) -> Finding:
    """Judge the number of cores, and the load of the last minute."""
    found = f"{cores} cores, load {load:.1f}"
    if load > cores / 2:
        return warning("cores", f"{found}: other programs keep it busy.", "End them before a session.")
    if cores < FEW_CORES:
        return warning("cores", f"{found}: few for arm, cameras, policy and trainer at once.", "Use 4 or more.")
    return ok("cores", found)


def check_shared_memory(needed_bytes: int) -> Check:
    """Look whether the session's rings fit into shared memory."""
    yield judge_shared_memory(shutil.disk_usage(SHARED_MEMORY).free, needed_bytes)


def judge_shared_memory(free_bytes: int, needed_bytes: int) -> Finding:
    """Judge the free shared memory against what a session's rings need."""
    found = f"{free_bytes / 1e6:.0f} MB free, a session needs {needed_bytes / 1e6:.0f} MB"
    if free_bytes < needed_bytes:
        size = -(-2 * needed_bytes // 2**20)
        return problem(
            "shared memory",
            f"{found}.",
            f"Enlarge it: sudo mount -o remount,size={size}M {SHARED_MEMORY}, in a container --shm-size={size}m.",
        )
    return ok("shared memory", found)


@dataclass(frozen=True)
class Disk:
    """Free bytes, and the speed of writing in bytes a second."""

    free_bytes: int
    bytes_per_s: float


def check_disk(folder: Path, recorded_bytes_s: float) -> Check:
    """Measure the disk where a run would be recorded, against what a session records."""
    yield f"writing to {folder}"
    try:
        yield judge_disk(measure_disk(folder), folder, recorded_bytes_s)
    except OSError as error:
        yield problem("disk", f"{folder} cannot be written ({error.strerror}).", "Choose another folder with --out.")


def measure_disk(folder: Path) -> Disk:
    """Write up to 64 MB into a folder, all the way to the disk, and take it away again. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".doctor-{os.getpid()}"
    block = np.random.default_rng(0).bytes(BLOCK_BYTES)
    written, began_s = 0, time.monotonic()
    try:
        with scratch.open("wb") as file:
            while written < WRITTEN_BYTES and time.monotonic() - began_s < WRITE_S:
                written += file.write(block)
                os.fsync(file.fileno())
        took_s = time.monotonic() - began_s
    finally:
        scratch.unlink(missing_ok=True)
    return Disk(shutil.disk_usage(folder).free, written / took_s)


def judge_disk(disk: Disk, folder: Path, recorded_bytes_s: float) -> Finding:
    """Judge a disk against the bytes a second that a session records, before compression."""
    hours = disk.free_bytes / recorded_bytes_s / 3600
    found = (
        f"{disk.free_bytes / 1e9:.0f} GB free in {folder}, {disk.bytes_per_s / 1e6:.0f} MB/s; a session records at most"
        f" {60 * recorded_bytes_s / 1e6:.0f} MB a minute, so there is room for {_duration(hours)}"
    )
    advice = "Free some space, or choose a folder on another disk with --out."
    if disk.bytes_per_s < recorded_bytes_s:
        return problem("disk", f"{found}: too slow.", "Choose a folder on a faster, local disk with --out.")
    if hours < NO_TIME_H:
        return problem("disk", f"{found}.", advice)
    if hours < LITTLE_TIME_H:
        return warning("disk", f"{found}.", advice)
    if disk.bytes_per_s < SPARE_SPEED * recorded_bytes_s:
        return warning("disk", f"{found}: slow.", "Choose a folder on a faster, local disk with --out.")
    return ok("disk", found)


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 1000 else "more than 1000 hours"


def check_display(needed: bool) -> Check:
    """Look whether the operator window has a screen; `needed` where its keyboard drives."""
    yield judge_display(bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")), needed)


def judge_display(there: bool, needed: bool) -> Finding:
    """Judge whether there is a screen."""
    if there:
        return ok("screen", "there for the operator window")
    advice = "Log in at the screen of this computer, or use ssh -X"
    if needed:
        return problem("screen", "There is none, and the keyboard is read by the operator window.", f"{advice}.")
    return note("screen", "There is none for the operator window.", f"{advice}; or run sessions with --no-window.")
