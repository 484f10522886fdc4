"""What a kill -9 of the recorder costs: the process as it is, killed at random moments, several hundred times.

    python benchmarks/kill_recorder.py [--kills 400] [--seed 0]

Every recorder writes an episode at the rate of a session (10 steps a second with a picture, 100 samples of the arm a
second) and is killed within its first seconds; every second one at a moment at which it may be writing. Then: do plain
zarr and our own reader find every committed step, equal to the one that was handed over? Does verify name exactly the
episodes that are incomplete, and does repair keep their steps? Told is how much was lost. The exit code is 1 if not all
of that holds.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import zarr

from data.episode import FLUSH_PERIOD_S, Episode
from data.repair import repair
from data.schema import EpisodeLayout, Owner, Step
from data.session import Session, finished_episodes
from data.verify import State, verify
from drift_robot.realtime import records
from drift_robot.realtime.child import Life
from drift_robot.realtime.lines import Lines, open_lines
from drift_robot.realtime.recorder_process import RecorderSetup, run_recorder
from hardware.clock import NS_PER_S
from hardware.rings import RingReader, RingWriter

LAYOUT = EpisodeLayout(8, {"front": (48, 64)})
STEP_S, SAMPLE_S = 0.1, 0.01
LONGEST_S = 4.0
SCATTER_S = 0.06
"""About how long a flush takes: a kill is aimed at one by so much."""


def step(number: int) -> Step:
    """Return a step in which every number follows from its own."""

    def some(size: int) -> np.ndarray:
        return (number + np.arange(size) / 100).astype(np.float32)

    return Step(
        time_ns=(number + 1) * NS_PER_S // 10,
        tcp=some(9),
        commanded=some(9),
        gripper=some(1),
        joints=some(6),
        joint_velocities=some(6),
        wrench=some(6),
        objects=some(8),
        images={"front": np.full((48, 64, 3), number % 251, np.uint8)},
        image_capture_ns={"front": number},
        arm_capture_ns=number,
        receipt_ns=number,
        command_ns=number,
        action_executed=some(10),
        action_expert=some(10),
        owner=Owner.EXPERT,
        version=3,
        rank=4,
    )


@dataclass
class Victim:
    """A recorder, its rings and what it was handed: the times at which each step was; when it is to die, and did."""

    lines: Lines
    session: Path
    pid: int
    dies_s: float
    handed_s: list[float]
    killed_s: float = 0.0
    committed_before: int = 0


def recorder(lines: Lines, session: Path) -> int:
    """Start a recorder as a fork, which has nothing to import; return its number."""
    parent = os.getpid()
    if pid := os.fork():
        return pid
    try:
        run_recorder(RecorderSetup(session, LAYOUT, True), Life("recorder", lines, True, parent))
    finally:
        os._exit(1)


def kill_some(folder: Path, moments: list[float]) -> list[Victim]:
    """Let so many recorders write side by side, and kill each at its moment after its episode's begin."""
    with ExitStack() as stack:
        victims, writers = [], []
        for number, moment in enumerate(moments):
            session = Session.create(folder / f"{number:04d}", "lift").folder
            lines = stack.enter_context(open_lines(("recorder",), LAYOUT, 16))
            victims.append(Victim(lines, session, recorder(lines, session), moment, []))
            writers.append((RingWriter(lines.recording), RingWriter(lines.arm), RingReader(lines.beats["recorder"])))
        while not all(beats.latest() for _, _, beats in writers):
            time.sleep(STEP_S)
        began_s = time.monotonic()
        for orders, _, _ in writers:
            orders.write({"order": records.BEGIN, "attributes": b"{}"})
        samples = 0
        while alive := [k for k, victim in enumerate(victims) if not victim.killed_s]:
            now_s = time.monotonic() - began_s
            for k in alive:
                victim, (orders, arm, _) = victims[k], writers[k]
                if now_s >= victim.dies_s:
                    victim.committed_before = committed(victim.session)
                    os.kill(victim.pid, signal.SIGKILL)
                    victim.killed_s = time.monotonic() - began_s
                    os.waitpid(victim.pid, 0)
                    continue
                arm.write({"capture_ns": samples, "authority": 2})
                while len(victim.handed_s) * STEP_S <= now_s:
                    orders.write({"order": records.STEP, **step(len(victim.handed_s)).row()})
                    victim.handed_s.append(now_s)
            samples += 1
            time.sleep(SAMPLE_S)
    return victims


def committed(session: Path) -> int:
    partial = Session.open(session).partial_episodes()
    return Episode.open(partial[0]).steps if partial else 0


def wrongs(victim: Victim, found: Counter[str]) -> Iterator[str]:
    """Yield what is not as it should be after a kill; count what was found."""
    findings = verify(victim.session)
    for finding in findings:
        found[finding.state.value] += 1
        if finding.state not in (State.PARTIAL, State.LEFTOVER):
            yield finding.text
    kept = committed(victim.session)
    if kept < victim.committed_before:
        yield f"{victim.session} had committed {victim.committed_before} steps, and has {kept}."
    for path in Session.open(victim.session).partial_episodes():
        if not any(f.path == path and f"good steps: {kept}" in f.text for f in findings):
            yield f"verify does not say that {path} has {kept} good steps."
        group = zarr.open_group(path, mode="r")
        for name, values in step(0).row().items():
            expected = np.array([step(number).row()[name] for number in range(kept)]).reshape(-1, *np.shape(values))
            if not np.array_equal(np.asarray(group[name][:kept]), expected, equal_nan=True):
                yield f"{path}: plain zarr finds other numbers in {name}."
    repair(victim.session)
    whole = finished_episodes(victim.session)
    if [Episode.open(path).steps for path in whole] != [kept] * bool(kept):
        yield f"repair has not kept the {kept} steps of {victim.session}."
    yield from (finding.text for finding in verify(victim.session) if not finding.good)


def conclude(
    found: Counter[str], loss: str, lost_s: Sequence[float], of: str, wrong: Sequence[str], right: str
) -> NoReturn:
    """Print what verify found, how much was lost, and what is wrong or, if nothing is, what is right; exit."""
    print(f"found by verify: {', '.join(f'{count} {state}' for state, count in sorted(found.items()))}")
    print(
        f"{loss}: median {np.median(lost_s):.2f} s, 95 % {np.percentile(lost_s, 95):.2f} s, "
        f"most {np.max(lost_s):.2f} s, {of}"
    )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("\n".join(wrong) or right)
    sys.exit(bool(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=400, help="how many (default %(default)d)")
    parser.add_argument("--at-once", type=int, default=8, help="so many recorders side by side (default %(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default %(default)d)")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    moments = [
        dice.uniform(0.0, LONGEST_S)
        if number % 2
        else dice.randint(1, round(LONGEST_S / FLUSH_PERIOD_S)) * FLUSH_PERIOD_S + dice.uniform(0.0, SCATTER_S)
        for number in range(options.kills)
    ]
    lost_s, lost_steps, kept, wrong, found = [], [], 0, list[str](), Counter[str]()
    for start in range(0, options.kills, options.at_once):
        with tempfile.TemporaryDirectory() as folder:
            for victim in kill_some(Path(folder), moments[start : start + options.at_once]):
                steps = committed(victim.session)
                kept += steps
                lost_steps.append(len(victim.handed_s) - steps)
                lost_s.append(victim.killed_s - victim.handed_s[steps] if lost_steps[-1] else 0.0)
                wrong += wrongs(victim, found)
    print(f"{options.kills} kills; {kept} steps committed, {sum(lost_steps)} handed over and lost")
    right = "Every committed step is there and equal; verify and repair are right about all."
    conclude(found, "lost before the kill", lost_s, f"{max(lost_steps)} steps", wrong, right)


if __name__ == "__main__":
    main()
