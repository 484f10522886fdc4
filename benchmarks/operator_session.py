"""What an adapt session on the emulated robot is like, second by second: docs/operator_session.txt.

    SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy python benchmarks/operator_session.py [--host 127.0.0.9] > log.txt

Demonstrations, a bootstrap of a minute and an adapt session, all with the real drivers: ur-rtde, RealSense, and a
scripted operator who holds a virtual gamepad. In the adapt session she goes through every verb, and tries two where
they are refused. Printed is the session's own log, events.jsonl, in words. With --simulated it is in the simulated cell
in place of the emulated robot, as a robot in real time is too much for two cores that have other work to do.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from emulated_session import CONFIG, emulated_config

from data.events import read_events
from drift_robot.bootstrap import bootstrap
from drift_robot.config import Config, Picture, load_config
from drift_robot.gate import EXPERT_PHASES, Phase
from drift_robot.realtime import child, supervisor, teleop_process
from drift_robot.realtime.child import Life
from drift_robot.realtime.operator import REPEAT_NS, ScriptedOperator
from drift_robot.realtime.supervisor import run_session
from drift_robot.realtime.teleop_process import TeleopSetup, run_teleop
from drift_robot.run_folder import RunFolder
from drift_robot.versions import Versions
from hardware.clock import NS_PER_S, Clock
from hardware.emulation.gamepad import ScriptedPad
from hardware.emulation.process import EmulatedController
from hardware.input_devices.mapping import XBOX
from hardware.interfaces import Verb
from hardware.poses import Array

VERBS_TO = {"expert": "the expert takes over", "learner": "the policy has the arm", "hold": "the arm holds"}
SIMULATED = CONFIG.parent / "lift.yaml"
PATIENT_S = 600.0
"""After so much silence a process counts as hung: where robot and session share two cores, pauses are long."""


@dataclass(frozen=True)
class Press:
    """A verb, pressed so long after what was pressed before, and the phases that follow from it, if any does."""

    verb: Verb
    after_s: float
    then: tuple[Phase, ...] = ()


def whole_job(versions: Versions) -> Iterator[Press | str]:
    """Yield what she presses in turn; a word instead is what she waits for."""
    # A hand-back too soon, which is refused, one so soon that the correction is too short, a pause, and a correction.
    yield Press(Verb.TAKEOVER, 1.0)
    yield Press(Verb.RESUME, 1.0, (Phase.LEARNER,))
    yield Press(Verb.TAKEOVER, 0.8, EXPERT_PHASES)
    yield Press(Verb.HANDBACK, 0.05)
    yield Press(Verb.HANDBACK, 0.28, (Phase.LEARNER,))
    yield Press(Verb.HOLD, 0.8, (Phase.HOLD,))
    yield Press(Verb.RESUME, 1.0, (Phase.LEARNER,))
    yield Press(Verb.TAKEOVER, 0.8, EXPERT_PHASES)
    yield Press(Verb.RECOVERED, 1.5)
    yield "success"
    yield Press(Verb.SUCCEED, 0.0, (Phase.SAVING, Phase.RESETTING))
    # The return to the start is cancelled, and asked for again.
    yield Press(Verb.HOLD, 0.3, (Phase.IDLE,))
    yield Press(Verb.RESET, 1.0, (Phase.RESETTING,))
    # One that is thrown away at once, and one that is thrown away afterwards.
    yield Press(Verb.RESUME, 1.0, (Phase.LEARNER,))
    yield Press(Verb.TAKEOVER, 0.8, EXPERT_PHASES)
    yield Press(Verb.DISCARD, 1.5, (Phase.SAVING, Phase.RESETTING))
    yield Press(Verb.RESUME, 1.0, (Phase.LEARNER,))
    yield Press(Verb.FAIL, 1.0, (Phase.SAVING, Phase.RESETTING))
    yield Press(Verb.DROP_LAST, 0.5)
    # A version is wanted now, acts, and is rolled back.
    yield Press(Verb.TRAIN_NOW, 1.0)
    while (versions.newest_good() or 0) < 1:
        yield "version"
    yield Press(Verb.RESET, 1.0, (Phase.RESETTING,))
    yield Press(Verb.RESUME, 1.0, (Phase.LEARNER,))
    yield Press(Verb.TAKEOVER, 0.8, EXPERT_PHASES)
    yield Press(Verb.FAIL, 2.0, (Phase.SAVING, Phase.RESETTING))
    yield Press(Verb.ROLLBACK, 2.0)


class ThoroughOperator(ScriptedOperator):
    """A scripted operator who first goes through a job; faults she confirms as ever."""

    job: Iterator[Press | str]
    """Given before the first is made."""

    def __init__(self, planned: int, time_limit_s: float, prepared: bool) -> None:
        super().__init__(planned, time_limit_s, prepared)
        self._next: Press | str | None = None
        self._since_ns = self._tried_ns = 0
        self._began = False

    def decide(
        self, now_ns: int, phase: Phase, offered: tuple[Verb, ...], succeeded: bool, done: int
    ) -> tuple[Verb, ...]:
        """Return the verbs to press now."""
        self._began = self._began or phase is Phase.IDLE
        if not self._began or phase is Phase.FAULT:
            return super().decide(now_ns, phase, offered, succeeded, done)
        wish = self._next = self._next or next(self.job, None)
        if wish is None:
            return super().decide(now_ns, phase, offered, succeeded, done)
        if isinstance(wish, str):
            if wish != "success" or succeeded:
                self._done(now_ns)
            return ()
        if self._tried_ns and (not wish.then or phase in wish.then):
            self._done(now_ns)
            return ()
        waited = now_ns - self._since_ns >= wish.after_s * NS_PER_S and now_ns - self._tried_ns >= REPEAT_NS
        refused_on_purpose = not wish.then and wish.verb in (Verb.TAKEOVER, Verb.HANDBACK)
        if not waited or not (wish.verb in offered or refused_on_purpose):
            return ()
        self._tried_ns = now_ns
        return (wish.verb,)

    def _done(self, now_ns: int) -> None:
        self._next, self._since_ns, self._tried_ns = None, now_ns, 0


def with_a_pad(setup: TeleopSetup, drive: Callable[[], tuple[Array, float]], clock: Clock) -> ScriptedPad:
    """Return a virtual gamepad, in the simulated cell too."""
    return ScriptedPad(drive, clock, setup.mapping.applied_to(XBOX))


def run_thorough_teleop(run: Path, setup: TeleopSetup, life: Life) -> None:
    """Be the teleop process of a scripted operator who goes through the whole job."""
    ThoroughOperator.job = whole_job(RunFolder(run).versions())
    teleop_process.ScriptedOperator = ThoroughOperator  # type: ignore[misc]
    teleop_process._scripted_device = with_a_pad
    run_teleop(setup, life)


def simulated_configuration(demonstrations: int, episodes: int) -> Config:
    """Return configs/lift.yaml in real time, with patience, and a policy that two cores train in a minute."""
    config = load_config(SIMULATED)
    return replace(
        small(config, demonstrations, episodes),
        policy=replace(config.policy, condition_width=64, sample_steps=2),
        limits=replace(config.limits, arm_timeout_s=1.0, device_timeout_s=1.0, command_timeout_s=0.5),
    )


def emulated_configuration(host: str, demonstrations: int, episodes: int) -> Config:
    """Return configs/ur5e.yaml with small pictures and a small policy, which two cores train in a minute."""
    config = emulated_config(host, real_time=False)
    assert config.devices is not None
    camera = replace(config.devices.cameras["front"], width=320, height=240, fps=15)
    policy = replace(config.policy, unet_dims=(32, 64), condition_width=64, vision="small_cnn", prediction="sample")
    return replace(
        small(config, demonstrations, episodes),
        cell=replace(config.cell, cameras={"front": Picture(48, 64)}),
        devices=replace(config.devices, cameras={"front": camera}),
        policy=replace(policy, sample_steps=4),
        rank=replace(config.rank, r_max=32, r_min=8),
        camera_timeout_s=5.0,
    )


def small(config: Config, demonstrations: int, episodes: int) -> Config:
    """Return a configuration with little training, and nobody but the operator who gates."""
    return replace(
        config,
        gating="none",
        collect=replace(config.collect, episodes=demonstrations),
        bootstrap=replace(config.bootstrap, epochs=4, batches_per_epoch=50, batch_size=32, threads=1),
        adapt=replace(
            config.adapt,
            pace="free",
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
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--simulated", action="store_true", help="in the simulated cell")
    options = parser.parse_args()
    child.SILENT_S = child.START_S = PATIENT_S
    sizes = options.demonstrations, options.episodes
    config = simulated_configuration(*sizes) if options.simulated else emulated_configuration(options.host, *sizes)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        robot = ("--controller-version", "3.15.0.0", "--task", "lift")
        with nullcontext() if options.simulated else EmulatedController(options.host, *robot):
            run_session(config, run, "collect", "scripted", False, lambda said: print(said, file=sys.stderr))
            bootstrap(config, run, lambda *_: None)
            supervisor.run_teleop = partial(run_thorough_teleop, run.path)  # type: ignore[assignment]
            run_session(config, run, "adapt", "scripted", True, lambda said: print(said, file=sys.stderr))
        events = list(read_events(run.session))
    for event in events:
        if words := in_words(event):
            print(f"{(event['time_ns'] - events[0]['time_ns']) / NS_PER_S:6.1f} s  {words}")


if __name__ == "__main__":
    main()
