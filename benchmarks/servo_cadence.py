"""How evenly the arm process commands a UR arm, whether every command arrives, and what a turn of its loop costs.

    python benchmarks/servo_cadence.py [--load] [--profile]

The real arm process (gate, controller, limits, UR driver) on an emulated robot at 500 and 125 Hz, with SCHED_FIFO and
without, while a learner drives along a smooth path. `--profile` tells where the time of a turn goes.
"""

import cProfile
import pstats
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from counting_ur_process import COUNTS
from emulated_session import arm_setup, emulated_config, emulated_session
from measuring import Row, conditions, figures, options, report

from drift_robot.realtime import records
from drift_robot.realtime.arm_process import ArmSetup, run_arm
from drift_robot.realtime.child import Life
from drift_robot.realtime.pacing import Pace
from hardware.arms.ur_pose import six
from hardware.child_process import start_module
from hardware.clock import Clock
from hardware.emulation.program import SERVO_LINE
from hardware.errors import DeviceError

PROFILED = 25


@dataclass(frozen=True)
class MeasuredArm:
    """The arm process' setup, and where what is measured goes."""

    arm: ArmSetup
    folder: Path
    real_time: bool
    profiled: bool


class MeasuredPace(Pace):
    """A pace that notes of every turn when it began, how late it was and how long it took, in ns."""

    turns: list[tuple[int, int, int]] = []  # noqa: RUF012 - there is one, in a process of its own

    def __init__(self, period_s: float, clock: Clock) -> None:
        super().__init__(period_s, clock)
        self._began_ns = 0

    def wait(self) -> int:
        """Sleep until the next deadline; return the time."""
        took_ns = self._clock.now_ns() - self._began_ns
        if self.turns:
            self.turns[-1] = (*self.turns[-1][:2], took_ns)
        self._began_ns = super().wait()
        self.turns.append((self._began_ns, self._kept[-1][1], 0))
        return self._began_ns


def run_measured_arm(setup: MeasuredArm, life: Life) -> None:
    """Be the arm process, with a pace that takes notes and a UR process that counts."""

    def start_counting(_module: str, *arguments: str, **more: Any) -> Any:
        return start_module("counting_ur_process", *arguments, str(setup.folder / "counts"), **more)

    profiler = cProfile.Profile() if setup.profiled else None
    with ExitStack() as stack:
        stack.enter_context(patch("drift_robot.realtime.arm_process.Pace", MeasuredPace))
        stack.enter_context(patch("hardware.arms.ur.start_module", start_counting))
        if not setup.real_time:
            stack.enter_context(patch.object(life, "ask_for_real_time", lambda _: None))
        with profiler or nullcontext():
            run_arm(setup.arm, life)
    np.save(setup.folder / "turns.npy", np.array(MeasuredPace.turns))
    if profiler is not None:
        profiler.dump_stats(setup.folder / "profile")


def measure(host: str, rate_hz: int, seconds: float, real_time: bool, profiled: bool = False) -> tuple[Row, Row]:
    """Drive for some time; return how even the turns were and what became of the commands, and print the profile."""
    config = emulated_config(host, real_time)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arm = MeasuredArm(arm_setup(config), folder, real_time, profiled)
        with emulated_session(config, rate_hz, {"arm": (run_measured_arm, arm)}) as session:
            session.begin()
            session.drive(seconds)
            granted = session.has_real_time()["arm"]
            driven = session.arm_records
            session.stop()
            _, numbers, targets = session.logged("packages")
            _, obeyed_numbers, obeyed = session.logged("commands")
        taken, refused = COUNTS.unpack((folder / "counts").read_bytes())
        turns = np.load(folder / "turns.npy")
        if profiled:
            print_profile(folder / "profile", len(turns), f"{rate_hz} Hz")
    first_ns, last_ns = int(driven[0]["time_ns"]), int(driven[-1]["time_ns"])
    began, late, took = turns[(turns[:, 0] >= first_ns) & (turns[:, 0] < last_ns)].T
    packages = [target for target, number in zip(targets, numbers, strict=True) if number == SERVO_LINE]
    executed = {target for target, number in zip(obeyed, obeyed_numbers, strict=True) if number == SERVO_LINE}
    wanted = {tuple(six(records.arm_snapshot(record, ()).commanded).tolist()) for record in driven}
    age_ms = np.array([int(record["time_ns"]) - int(record["capture_ns"]) for record in driven]) / 1e6
    which: Row = {
        "rate": f"{rate_hz} Hz",
        "SCHED_FIFO": "granted" if granted else "refused" if real_time else "not asked for",
    }
    cadence = {
        **which,
        **figures("late, us", late / 1e3, 50, 99, 99.9),
        "skipped": round((began[-1] - began[0]) / 1e9 * rate_hz) - (len(began) - 1),
        **figures("turn takes, us", took / 1e3, 50, 99),
        "state older than 20 ms": int((age_ms > 20).sum()),
    }
    commands = {
        **which,
        "commanded": len(wanted),
        "replaced before sent": len(wanted - set(packages)),
        "sent": taken,
        "refused by library": refused,
        "decoded": len(packages),
        "lost": taken - len(packages),
        "replaced within a cycle": sum(target not in executed for target in packages),
    }
    return cadence, commands


def print_profile(path: Path, turns: int, title: str) -> None:
    """Print what each turn of the arm's loop spends where: functions by their own time and by that with all below."""
    entries = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    print(f"\nProfile at {title}, us a turn (the profiler itself makes everything slower)\n")
    print("| function | calls | own | with all below |\n|---|---|---|---|")
    rows = sorted(_of_the_loop(entries), key=lambda row: -row[3])
    for name, calls, own, total in rows[:PROFILED]:
        print(f"| {name} | {calls / turns:.2f} | {own / turns * 1e6:.1f} | {total / turns * 1e6:.1f} |")


def _of_the_loop(entries: dict[tuple[str, int, str], Any]) -> Iterator[tuple[str, int, float, float]]:
    """Yield name, calls and times of what is called at least every second turn and is no waiting."""
    turns = next(calls for (_, _, name), (_, calls, *_) in entries.items() if name == "tick")
    for (file, line, name), (_, calls, own, total, _) in entries.items():
        if calls >= turns / 2 and name not in ("wait", "sleep_until_ns") and "time.sleep" not in name:
            yield f"{'/'.join(Path(file).parts[-2:])}:{line} {name}".removeprefix("~:0 "), calls, own, total


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, "127.0.5.1", 10.0)
    parser.add_argument("--profile", action="store_true", help="tell where the time of a turn goes, at 500 Hz")
    chosen = parser.parse_args()
    with conditions(chosen.load) as told:
        if chosen.profile:
            rows = [measure(chosen.host, 500, chosen.seconds, True, profiled=True)]
        else:
            rows = [
                measure(chosen.host, rate_hz, chosen.seconds, real_time)
                for rate_hz in (500, 125)
                for real_time in (True, False)
            ]
    cadence, commands = zip(*rows, strict=True)
    report(told, {"Turns of the arm process": cadence, "Servo commands": commands}, chosen.json)


if __name__ == "__main__":
    try:
        main()
    except DeviceError as problem:
        raise SystemExit(str(problem)) from None
