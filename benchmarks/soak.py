"""A long adapt session in the simulated cell, in real time, with random faults: does anything leak, or get lost?

    SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy python benchmarks/soak.py --minutes 60 [--seed 0] [--json FILE]

A scripted operator runs episode after episode beside the trainer, a camera and the window, while processes are killed,
stopped and crashed, the recorder's disk is full for some seconds, and a fresh version is damaged before it can act. A
process may die three times in a session, so one session follows the other. Told at the end: orphans and shared memory
that a session left, memory and handles of every process over its life, cycles missed for no reason that is known, and
where every episode went. Where a process that only sleeps, before all others, comes late too, the whole machine stood
still. The exit code is 1 if anything is left over, corrupt or unaccounted for.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measuring import Row, conditions, report

from data.episode import Episode
from data.events import read_events
from data.session import Session, finished_episodes
from data.verify import State, verify
from hardware.clock import NS_PER_S

if TYPE_CHECKING:  # every process of a session imports this file: what is heavy is imported where it is used
    from drift_robot.config import Config
    from drift_robot.run_folder import RunFolder

EPISODES_A_SESSION = 25
DEATHS_BORNE = 3
"""How often a process of a session may die."""
SAMPLE_S = 2.0
PAUSE_S = (6.0, 16.0)
DISK_FULL_S = 3.0
WARM_S, LIVED_S = 60.0, 60.0
"""Growth is told of processes that lived for so long, after they have warmed up."""
EXPLAINED_S = 12.0
"""For how long a fault explains a cycle that was missed: a process that hangs is killed after five seconds."""
STOPPED = ("hold", "fault", "resetting", "idle", "saving")
VICTIMS = {
    "killed": ("teleop", "trainer", "recorder", "control", "arm", "window", "camera front"),
    "hung": ("teleop", "recorder", "control", "arm", "camera front"),
    "crashed": ("arm",),
    "disk full": ("recorder",),
    "damaged": ("version",),
}
STOOD_STILL_NS = NS_PER_S // 20
PULSE = f"""
import os, time
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
except PermissionError:
    os.setpriority(os.PRIO_PROCESS, 0, -20)
last = time.monotonic_ns()
while True:
    time.sleep(0.01)
    now = time.monotonic_ns()
    if now - last > {STOOD_STILL_NS}:
        print(last, now, flush=True)
    last = now
"""
"""A process that only sleeps, before all others, and tells when it came late."""
SIGNALS = {"killed": signal.SIGKILL, "hung": signal.SIGSTOP, "crashed": signal.SIGSEGV}


def configuration(episodes: int) -> "Config":
    from drift_robot.config import config_from_dict

    return config_from_dict(
        {
            "cell": {"task": "lift", "cameras": {"front": {"height": 24, "width": 32}}},
            "policy": {"unet_dims": [16, 32], "vision": "small_cnn", "prediction": "sample", "sample_steps": 2},
            "rank": {"r_max": 8, "r_min": 4},
            "limits": {"arm_timeout_s": 1.0, "device_timeout_s": 1.0},
            "camera_timeout_s": 3.0,
            "collect": {"episodes": 4},
            "bootstrap": {"epochs": 1, "batches_per_epoch": 20, "batch_size": 16, "threads": 1},
            "adapt": {
                **{"episodes": episodes, "pace": "free", "batches_per_round": 5, "batch_size": 16, "hold_out": 0},
                **{"candidate_labels": 1, "candidate_episodes": 1},
            },
        },
        "the soak",
    )


@dataclass
class Life:
    """What was seen of one process: times in seconds, private memory in MB, open handles."""

    name: str
    began_s: float
    seen: list[tuple[float, float, int]] = field(default_factory=list)


@dataclass
class Witness:
    """Looks at every process of the session now and then, and commits the faults; from a thread of its own."""

    run: "RunFolder"
    dice: random.Random
    lives: dict[int, Life] = field(default_factory=dict)
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)
    going: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Sample and harm until it is over."""
        next_fault_s = time.monotonic() + self.dice.uniform(*PAUSE_S)
        while not self.over.wait(SAMPLE_S):
            for name, pid in (("supervisor", os.getpid()), *processes().items()):
                with suppress(OSError):
                    life = self.lives.setdefault(pid, Life(name, time.monotonic()))
                    life.seen.append((time.monotonic(), private_mb(pid), len(os.listdir(f"/proc/{pid}/fd"))))
            if self.going.is_set() and time.monotonic() >= next_fault_s:
                self.harm()
                next_fault_s = time.monotonic() + self.dice.uniform(*PAUSE_S)

    def harm(self) -> None:
        """Commit one fault, unless the process has died as often as a session bears."""
        kind = self.dice.choice(list(VICTIMS))
        victim = self.dice.choice(VICTIMS[kind])
        if kind == "damaged":
            done = self.damage_newest()
        else:
            pid = processes().get(victim)
            done = pid is not None and self.deaths[victim] < DEATHS_BORNE
            if done and pid is not None:
                self.strike(kind, victim, pid)
        if done:
            self.faults.append((time.monotonic_ns(), kind, victim))

    def strike(self, kind: str, victim: str, pid: int) -> None:
        with suppress(ProcessLookupError):
            if kind == "disk full":
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                time.sleep(DISK_FULL_S)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            else:
                self.deaths[victim] += 1
                os.kill(pid, SIGNALS[kind])

    def damage_newest(self) -> bool:
        """Cut the newest version's weights short, but never the first one's."""
        newest = self.run.versions().newest_good()
        if not newest:
            return False
        weights = self.run.versions().path(newest) / "policy.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        return True


def processes() -> dict[str, int]:
    return {child.name: child.pid for child in multiprocessing.active_children() if child.pid is not None}


def private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    for line in lines:
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"Process {pid} has ended.")


def processes_of(group: int) -> set[int]:
    """Return the processes of a group that live, but for those that multiprocessing keeps for good."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            command = (stat.parent / "cmdline").read_bytes()
            if int(its_group) == group and state != "Z" and b"resource_tracker" not in command:
                found.add(int(stat.parent.name))
    return found


def unused_segments(before: set[str]) -> set[str]:
    """Return what is new in shared memory and in use by nobody: other sessions on the machine have theirs."""
    used = ""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            used += maps.read_text()
    return {name for name in set(os.listdir("/dev/shm")) - before if f"/dev/shm/{name}" not in used}


@contextmanager
def pulse(folder: Path) -> Iterator[tuple[int, Path]]:
    """Watch whether the whole machine stands still; gives the watching process and the file of the times it did."""
    file = folder / "stood_still"
    with file.open("w") as stood_still:
        watching = subprocess.Popen([sys.executable, "-c", PULSE], stdout=stood_still)
    try:
        yield watching.pid, file
    finally:
        watching.kill()
        watching.wait()


def missed(
    run: "RunFolder", period_s: float, faults: list[tuple[int, str, str]], stood_still: Path
) -> dict[str, float]:
    """Return how many policy periods were left out within episodes, and how many of them for no known reason."""
    still = np.array(stood_still.read_text().split(), dtype=np.int64).reshape(-1, 2)
    pauses = [event["time_ns"] for event in read_events(run.session) if event.get("phase") in STOPPED]
    struck = np.array([at_ns for at_ns, _, _ in faults])
    gaps, machine, unexplained, longest_s, steps = 0, 0, 0, 0.0, 0
    for path in finished_episodes(run.session):
        times = Episode.open(path).column("time.step")
        steps += len(times)
        for start, end in pairwise(times):
            left_out = round((end - start) / NS_PER_S / period_s) - 1
            if left_out < 1:
                continue
            gaps += left_out
            paused = any(start - NS_PER_S // 10 <= at <= end for at in pauses)
            if paused or ((struck > start - EXPLAINED_S * NS_PER_S) & (struck < end)).any():
                continue
            if ((still[:, 0] < end) & (still[:, 1] > start)).any():
                machine += left_out
            else:
                unexplained += left_out
                longest_s = max(longest_s, float(end - start) / NS_PER_S)
    return {
        "steps recorded": steps,
        "periods left out": gaps,
        "while the machine stood still": machine,
        "of them unexplained": unexplained,
        "longest unexplained, s": longest_s,
    }


def growth(lives: dict[int, Life]) -> list[Row]:
    """Return for each kind of process how its private memory and its handles grew after it had warmed up."""
    rows: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for life in lives.values():
        seen = [sample for sample in life.seen if sample[0] - life.began_s > WARM_S]
        if len(seen) > 10 and seen[-1][0] - seen[0][0] > LIVED_S:
            times, memory, handles = np.array(seen).T
            fifth = len(seen) // 5
            rows[life.name].append(
                (
                    times[-1] - times[0],
                    float(np.median(memory[:fifth])),
                    float(np.median(memory[-fifth:])),
                    float(np.median(handles[-fifth:]) - np.median(handles[:fifth])),
                )
            )
    return [
        {
            "process": name,
            "lives": len(kept),
            "minutes": sum(minutes for minutes, *_ in kept) / 60,
            "MB at first": float(np.mean([first for _, first, _, _ in kept])),
            "MB at last": float(np.mean([last for _, _, last, _ in kept])),
            "MB a minute": sum(last - first for _, first, last, _ in kept) / (sum(s for s, *_ in kept) / 60),
            "handles gained": max(handles for *_, handles in kept),
        }
        for name, kept in sorted(rows.items())
    ]


def accounted(run: "RunFolder") -> tuple[dict[str, float], list[str]]:
    """Return where the episodes went, by number, and what is wrong with that."""
    session = Session.open(run.session)
    findings = verify(run.session)
    states = Counter(finding.state for finding in findings)
    binned = {int(path.name[:6]) for path in session.binned_episodes()}
    whole = {int(path.name[:6]) for path in session.episodes()}
    partial = {int(path.name[:6]) for path in session.partial_episodes()}
    wrong = [finding.text for finding in findings if finding.state not in (State.WHOLE, State.PARTIAL)]
    missing = set(range(session.next_index())) - binned - whole - partial
    wrong += [f"Episode {number} is nowhere." for number in sorted(missing)]
    told = {event["index"] for event in read_events(run.session) if event["kind"] == "episode"} - {None}
    wrong += [f"Episode {number} was said to be saved, and is not." for number in sorted(told - whole - binned)]
    counts = {
        "begun": session.next_index(),
        "whole": len(whole),
        "interrupted": len(partial),
        "in the bin": len(binned),
    }
    return {**counts, "verified whole": states[State.WHOLE]}, wrong


def main() -> None:
    from drift_robot.bootstrap import bootstrap
    from drift_robot.collect import collect
    from drift_robot.realtime.supervisor import run_session
    from drift_robot.run_folder import RunFolder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default %(default)g)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (default %(default)d)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    options = parser.parse_args()
    with suppress(PermissionError):  # a session's leader leads its group already
        os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the end may come between two sessions
    wrong: list[str] = []
    sessions: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        conditions(load=False) as told,
        pulse(Path(folder)) as (watching, stood_still),
    ):
        run = RunFolder(Path(folder) / "run")
        config = configuration(EPISODES_A_SESSION)
        collect(config, run, lambda *_: None)
        bootstrap(config, run, lambda *_: None)
        witness = Witness(run, random.Random(options.seed))
        witnessing = threading.Thread(target=witness.watch)
        witnessing.start()

        def hear(sentence: str) -> None:
            print(sentence, file=sys.stderr)
            if sentence.startswith("Episode"):
                witness.going.set()  # all have come up: before that a death ends the session

        end_s = time.monotonic() + 60 * options.minutes
        timer = threading.Timer(60 * options.minutes, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        done = 0
        while time.monotonic() < end_s:
            done += EPISODES_A_SESSION
            witness.deaths.clear()
            witness.going.clear()
            before = set(os.listdir("/dev/shm"))
            figures = run_session(
                replace(config, adapt=replace(config.adapt, episodes=done)),
                run,
                "adapt",
                "scripted",
                True,
                hear,
            )
            witness.going.clear()
            orphans, left = processes_of(os.getpgrp()) - {os.getpid(), watching}, unused_segments(before)
            wrong += [f"Process {pid} outlived its session." for pid in orphans]
            wrong += [f"/dev/shm/{name} was left behind." for name in left]
            if figures.failed:
                wrong.append(figures.ending)
            sessions.append(
                {
                    "session": len(sessions) + 1,
                    "episodes": len(figures.episodes),
                    "versions swapped in": figures.swaps,
                    "started again": sum(figures.restarts.values()),
                    "orphans": len(orphans),
                    "segments left": len(left),
                    "ending": figures.ending,
                }
            )
        timer.cancel()
        witness.over.set()
        witnessing.join()
        episodes, lost = accounted(run)
        wrong += lost
        cycles = missed(run, config.policy_period_s, witness.faults, stood_still)
        told["machine stood still, times"] = len(stood_still.read_text().splitlines())
        kinds = Counter(f"{victim} {kind}" for _, kind, victim in witness.faults)
    report(
        told,
        {
            "Faults": [dict(sorted(kinds.items()))],
            "Sessions": sessions,
            "Memory and handles": growth(witness.lives),
            "Episodes": [episodes],
            "Cycles": [cycles],
        },
        options.json,
    )
    print("\n" + ("\n".join(wrong) or "Nothing is left over, and every episode is accounted for."))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
