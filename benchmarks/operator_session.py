"""What an adapt session on the emulated robot is like, second by second: docs/operator_session.txt.

    SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy python benchmarks/operator_session.py [--host 127.0.0.9] > log.txt

Demonstrations, a bootstrap of a minute and an adapt session, all with the real drivers: ur-rtde, RealSense, and a
scripted operator who holds a virtual gamepad. Printed is the session's own log, events.jsonl, in words.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from emulated_session import emulated_config

from data.events import read_events
from drift_robot.bootstrap import bootstrap
from drift_robot.config import Config, Picture
from drift_robot.realtime.supervisor import run_session
from drift_robot.run_folder import RunFolder
from hardware.clock import NS_PER_S
from hardware.emulation.process import EmulatedController

VERBS_TO = {"expert": "the expert takes over", "learner": "the policy has the arm", "hold": "the arm holds"}


def configuration(host: str, demonstrations: int, episodes: int) -> Config:
    """Return configs/ur5e.yaml with small pictures and a small policy, which two cores train in a minute."""
    config = emulated_config(host, real_time=False)
    policy = replace(config.policy, unet_dims=(32, 64), condition_width=64, vision="small_cnn", prediction="sample")
    return replace(
        config,
        cell=replace(config.cell, cameras=dict.fromkeys(config.cell.cameras, Picture(48, 64))),
        policy=replace(policy, sample_steps=4),
        rank=replace(config.rank, r_max=32, r_min=8),
        camera_timeout_s=5.0,
        collect=replace(config.collect, episodes=demonstrations),
        bootstrap=replace(config.bootstrap, epochs=4, batches_per_epoch=50, batch_size=64, threads=1),
        adapt=replace(
            config.adapt,
            episodes=episodes,
            batches_per_round=20,
            batch_size=32,
            hold_out=0,
            candidate_labels=10,
            candidate_episodes=1,
        ),
    )


def in_words(event: Mapping[str, Any]) -> str:
    """Return a line of the session's log as a sentence, or nothing for what another line says already."""
    kind = event["kind"]
    if kind == "said":
        return str(event["sentence"])
    if kind == "phase":
        return f"[{event['phase']}]"
    if kind == "handover":
        after_s = event["after_s"]
        after = "" if after_s is None else f", {1e3 * after_s:.0f} ms after the button"
        return f"{VERBS_TO.get(event['to'], event['to'])}{after}"
    if kind == "refused":
        return f"Not done ({event['verb']}): {event['sentence']}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.9")
    parser.add_argument("--demonstrations", type=int, default=4)
    parser.add_argument("--episodes", type=int, default=4)
    options = parser.parse_args()
    config = configuration(options.host, options.demonstrations, options.episodes)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        with EmulatedController(options.host, "--controller-version", "3.15.0.0", "--task", "lift"):
            run_session(config, run, "collect", "scripted", False, lambda said: print(said, file=sys.stderr))
            bootstrap(config, run, lambda *_: None)
            run_session(config, run, "adapt", "scripted", True, lambda said: print(said, file=sys.stderr))
        events = list(read_events(run.session))
    for event in events:
        if words := in_words(event):
            print(f"{(event['time_ns'] - events[0]['time_ns']) / NS_PER_S:6.1f} s  {words}")


if __name__ == "__main__":
    main()
