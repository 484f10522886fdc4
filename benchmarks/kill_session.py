"""What a kill -9 of a whole session costs: supervisor, control, arm, recorder, trainer and all others at one moment.

    python benchmarks/kill_session.py [--kills 60] [--seed 0]

`adapt` runs in real time in the simulated cell, with a scripted operator, a camera and the trainer. At a random moment
of an episode every process of it is killed; the next session goes on in the same run. After each kill: does verify name
exactly the episodes that are incomplete, does plain zarr open them, does repair keep their steps, and are all episodes
that were said to be saved still whole? Told is how much was lost: from the last step kept to the kill, which also
counts the pauses in which no step is recorded. The exit code is 1 if not all of that holds.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import zarr
from kill_recorder import conclude
from soak import configuration, processes_of

from data.episode import EPISODES, PARTIAL, Episode
from data.events import read_events
from data.repair import repair
from data.session import Session, finished_episodes
from data.verify import State, verify
from hardware.clock import NS_PER_S

LATEST_S = 10.0
"""A session dies at a random moment of so many seconds after an episode has begun."""
PATIENCE_S = 180.0
MANY_EPISODES = 10_000
SCREENLESS = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
# Not as a file, which every process of the session would import.
SESSION = "import sys, pathlib, kill_session; kill_session.be_a_session(pathlib.Path(sys.argv[1]))"


def be_a_session(folder: Path) -> None:
    """Run `adapt`, until killed."""
    from drift_robot.realtime.supervisor import run_session
    from drift_robot.run_folder import RunFolder

    run_session(configuration(MANY_EPISODES), RunFolder(folder), "adapt", "scripted", True, print)


def begin_run(folder: Path) -> None:
    """Collect a few demonstrations and train a first version, in lock-step."""
    from drift_robot.bootstrap import bootstrap
    from drift_robot.collect import collect
    from drift_robot.run_folder import RunFolder

    config, run = configuration(MANY_EPISODES), RunFolder(folder)
    collect(config, run, lambda *_: None)
    bootstrap(config, run, lambda *_: None)


def killed_session(folder: Path, session: Path, after_s: float) -> int:
    """Start a session, kill all of it so long after its first episode has begun, and return when, in ns."""
    with (folder / "said.txt").open("a") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", SESSION, str(folder)],
            env={**os.environ, **SCREENLESS, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not any((session / EPISODES).glob(f"*{PARTIAL}")):
            if process.poll() is not None or time.monotonic() > deadline_s:
                sys.exit("A session did not begin an episode: " + (folder / "said.txt").read_text()[-2000:])
            time.sleep(0.02)
        time.sleep(after_s)
    finally:
        killed_ns = time.monotonic_ns()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    while processes_of(process.pid):
        time.sleep(0.01)
    return killed_ns


def wrongs(session: Path, whole_before: set[str], found: Counter[str]) -> Iterator[str]:
    """Yield what is not as it should be after a kill; count what was found. Repairs."""
    opened, findings = Session.open(session), verify(session)
    for finding in findings:
        if finding.state is State.WHOLE:
            continue
        found[finding.state.value] += 1
        if finding.state not in (State.PARTIAL, State.LEFTOVER):
            yield finding.text
    steps_of = {path: Episode.open(path).steps for path in opened.partial_episodes()}
    for path, steps in steps_of.items():
        if not any(finding.path == path and f"good steps: {steps}" in finding.text for finding in findings):
            yield f"verify does not say that {path} has {steps} good steps."
        columns = zarr.open_group(path, mode="r")
        if any(len(np.asarray(columns[column.name])) < steps for column in Episode.open(path).columns if steps):
            yield f"{path}: plain zarr finds fewer than {steps} steps."
    repair(session)
    whole = {path.name: Episode.open(path).steps for path in finished_episodes(session)}
    if lost := whole_before - set(whole):
        yield f"Whole episodes are gone: {', '.join(sorted(lost))}."
    for path, steps in steps_of.items():
        if steps and whole.get(f"{path.name[:6]}.zarr") != steps:
            yield f"repair has not kept the {steps} steps of {path}."
    yield from (finding.text for finding in verify(session) if not finding.good)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="how many (default %(default)d)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default %(default)d)")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    lost_s, wrong, found = list[float](), list[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin_run(folder)
        from drift_robot.run_folder import RunFolder

        session = RunFolder(folder).session
        for number in range(options.kills):
            whole = {path.name for path in finished_episodes(session)}
            killed_ns = killed_session(folder, session, dice.uniform(0.0, LATEST_S))
            for path in Session.open(session).partial_episodes():
                if Episode.open(path).steps:
                    lost_s.append((killed_ns - int(Episode.open(path).column("time.step")[-1])) / NS_PER_S)
            wrong += wrongs(session, whole, found)
            print(f"{number + 1} of {options.kills} killed", file=sys.stderr)
        kept = {int(path.name[:6]) for path in finished_episodes(session)}
        told = {event["index"] for event in read_events(session) if event["kind"] == "episode"} - {None}
        wrong += [f"Episode {index} was said to be saved, and is not." for index in sorted(told - kept)]
    print(f"{options.kills} sessions killed, {len(told)} episodes saved before")
    right = "Every committed step is there; verify and repair are right about all."
    loss = "from the last step kept to the kill"
    conclude(found, loss, lost_s, f"of {len(lost_s)} episodes with steps", wrong, right)


if __name__ == "__main__":
    main()
