"""The control process: observes, infers and decides at the policy's rate, and leads the session from scene to scene.

Between two episodes it swaps the policy, sees to the next scene and answers the gate when all is ready. It waits for
neither trainer, disk nor screen.
"""

import json
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.latencies import Latencies
from data.schema import Outcome, Step
from drift_robot.actor import Actor, Successor
from drift_robot.alarm import RAISED, no_alarm, slow_alarm
from drift_robot.arm_loop import ArmMessage, ArmSnapshot
from drift_robot.comparison import SIDES, Comparison, Turns
from drift_robot.compute import DeviceChoice, chosen_device
from drift_robot.control import ControlConfig, ControlLoop
from drift_robot.gate import (
    DropLast,
    Effect,
    EpisodeBegun,
    EpisodeEnded,
    Fault,
    FaultCleared,
    HelpWanted,
    Phase,
    ResetBegun,
    ResetDone,
    Rollback,
    TrainNow,
)
from drift_robot.gating import Gating, HumanGating, NoGating, SimulatedExpertGating, SimulatedExpertGatingConfig
from drift_robot.observation import Reading, object_features, reading_at, together
from drift_robot.realtime import records
from drift_robot.realtime.arm_process import SESSION
from drift_robot.realtime.child import Life
from drift_robot.realtime.messages import Acting, EpisodeSaved, Said, StartWanted, Swapped, Wish
from drift_robot.realtime.pacing import Pace, SpareTime
from drift_robot.realtime.scenes import RealScenes, Scenes, SimulatedScenes
from drift_robot.run_folder import RunFolder
from drift_robot.seeds import scene_seed
from hardware.arms.controller import Authority, Chunk
from hardware.clock import NS_PER_S, MonotonicClock
from hardware.errors import DeviceError
from hardware.interfaces import Frame, Teleop, Verb
from hardware.rings import Record, RingReader, RingWriter
from policies.compiled import compile_no_more
from policies.errors import PolicyError, UnusableHereError

RECENT_FRAMES = 6
SPARE_READINGS = 3
"""How far back pictures are looked for that belong together, and readings of the arm beyond their time."""
OLD_ARM_NS = NS_PER_S // 4
"""An arm process that has said nothing for so long is not observed."""


@dataclass(frozen=True)
class ControlSetup:
    """What control needs to know.

    `simulated` tells whether the cell is; `emulator` is the address of an emulated one, None otherwise. `tracked` are
    the orders of symmetry of the tracked objects, None if none are tracked. `acts`: a policy drives, on the device
    `compute`, `compiled` or not; `adapts`: newer versions come in between episodes. `gating` is the simulated expert's
    configuration, or None where a person or nobody decides. `scripted` expert's intentions can be peeked at any time.
    Scenes are drawn from `phase`, counted from `first_scene`. `version` acts, the newest good one if it is None. In a
    `comparison` its two versions take turns instead, and nothing tells whose it is. `latencies` are taken off the
    stamps of pictures and arm.
    """

    run: Path
    loop: ControlConfig
    simulated: bool
    emulator: str | None
    tracked: tuple[int, ...] | None
    camera_timeout_s: float
    gating: SimulatedExpertGatingConfig | None
    compute: DeviceChoice
    acts: bool
    adapts: bool
    scripted: bool
    seed: int
    phase: str
    first_scene: int
    planned: int
    done: int
    comparison: Comparison | None = None
    latencies: Latencies = field(default_factory=Latencies)
    version: int | None = None
    compiled: bool = False


class Devices:
    """Arm, sensors, expert and recorder as the control loop sees them: the rings of the session."""

    def __init__(self, setup: ControlSetup, life: Life) -> None:
        lines = life.lines
        self._setup = setup
        self._life = life
        self._arm, self._cell, self._teleop = RingReader(lines.arm), RingReader(lines.cell), RingReader(lines.teleop)
        self._cameras = {name: RingReader(handle) for name, handle in lines.cameras.items()}
        self._chunks, self._recording = RingWriter(lines.chunks), RingWriter(lines.recording)
        (self._effects,) = life.listen("arm")
        self._expert_drives = False
        self._cameras_late_ns = {
            name: round(setup.latencies.cameras.get(name, 0.0) * NS_PER_S) for name in self._cameras
        }
        self._arm_late_ns = round(setup.latencies.arm_s * NS_PER_S)

    def arm_record(self) -> Record | None:
        """Return the arm's newest record."""
        return self._arm.latest()

    def cell_record(self) -> Any:
        """Return the cell's newest state."""
        newest = self._cell.latest()
        if newest is None:
            raise DeviceError("The cell has sent no state yet.")
        return newest.value

    def snapshot(self) -> ArmSnapshot:
        """Return the arm's state; see `control.ArmPort`."""
        newest = self._arm.latest()
        if newest is None:
            raise DeviceError("The arm process has sent nothing yet.")
        heard = self._effects.hear(up_to=int(newest.value["said"]))
        self._expert_drives = int(newest.value["authority"]) == Authority.EXPERT
        return records.arm_snapshot(newest.value, tuple(e for e in heard if isinstance(e, Effect)))

    def post(self, message: ArmMessage) -> None:
        """Hand over a chunk or a verb; see `control.ArmPort`."""
        if isinstance(message, Chunk):
            self._chunks.write(
                {
                    "observation_ns": message.observation_ns,
                    "times_ns": message.times_ns,
                    "actions": message.actions,
                    "version": message.version,
                }
            )
        elif isinstance(message, Verb):
            self._life.say(Wish(message))
        elif isinstance(message, HelpWanted):
            self._life.say(message)

    def objects(self, arm: ArmSnapshot) -> NDArray[np.float32]:
        """Return the tracked objects' features; see `control.Sensors`."""
        if self._setup.tracked is None:
            return np.zeros(0, np.float32)
        tracked = records.tracked_objects(self.cell_record())
        return object_features(arm.state.base_from_tcp, tracked, self._setup.tracked)

    def frames(self) -> dict[str, Frame]:
        """Return pictures that belong together, their stamps put back; see `control.Sensors`."""
        return together({name: self._recent(ring, self._cameras_late_ns[name]) for name, ring in self._cameras.items()})

    def _recent(self, ring: RingReader, late_ns: int) -> list[Frame]:
        newest = ring.latest()
        if newest is None:
            return []
        recent = ring.since(newest.sequence - RECENT_FRAMES) or [newest]
        return [Frame(int(record.value["capture_ns"]) - late_ns, record.value["image"]) for record in recent]

    def measured(self, arm: ArmSnapshot, time_ns: int) -> Reading:
        """Return what arm and gripper measured at a time, by stamps that are put back; see `control.Sensors`."""
        reading = self._stamped(arm, time_ns + self._arm_late_ns)
        state = replace(reading.state, capture_ns=reading.state.capture_ns - self._arm_late_ns)
        return replace(reading, state=state)

    def _stamped(self, arm: ArmSnapshot, time_ns: int) -> Reading:
        """Return what was measured at a time by its own stamps."""
        newest = self._arm.latest()
        if newest is None:
            return Reading(arm.state, arm.gripper)
        records_back = math.ceil(max(arm.state.capture_ns - time_ns, 0) / NS_PER_S * float(newest.value["target_hz"]))
        samples = self._arm.since(newest.sequence - records_back - SPARE_READINGS)
        readings = [
            Reading(records.arm_state(item.value), float(item.value["opening"]))
            for item in samples
            if item.value["capture_ns"] <= arm.state.capture_ns
        ]
        return reading_at(readings, time_ns) if readings else Reading(arm.state, arm.gripper)

    def await_pictures(self) -> bool:
        """Wait until every camera has sent a picture; return False if the session ends before."""
        return all(self._life.await_first(ring) for ring in self._cameras.values())

    def blind(self, since_ns: int) -> list[str]:
        """Return the cameras that have not captured a picture since a time."""
        late_ns = self._cameras_late_ns
        newest = {name: ring.latest() for name, ring in self._cameras.items()}
        return [
            name for name, record in newest.items() if record and record.value["capture_ns"] - late_ns[name] < since_ns
        ]

    def peek(self) -> Teleop | None:
        """Return what the expert does; see `control.Expert`."""
        newest = self._teleop.latest()
        if newest is None or not (self._setup.scripted or self._expert_drives):
            return None
        return records.teleop_of(newest.value)

    def step(self, step: Step) -> None:
        """Hand a finished step to the recorder; see `control.StepSink`."""
        self._recording.write({"order": records.STEP, **step.row()})

    def alarm(self) -> None:
        """Tell the recorder and the operator that the alarm was raised; see `control.StepSink`."""
        self.order(records.ALARM)
        self._life.say(Said(RAISED))

    def order(self, order: int, **fields: int | bytes) -> None:
        """Hand an order to the recorder."""
        self._recording.write({"order": order, "time_ns": time.monotonic_ns(), **fields})


def run_control(setup: ControlSetup, life: Life) -> None:
    """Control until the session is over."""
    torch.set_num_threads(1)
    life.ask_for_precedence()
    Control(setup, life).run()


class Control:
    """The control loop and what surrounds it: the policy that acts, the episode being recorded, the next scene."""

    def __init__(self, setup: ControlSetup, life: Life) -> None:
        self._setup = setup
        self._life = life
        self._run = RunFolder(setup.run)
        self._versions = self._run.versions()
        self._devices = Devices(setup, life)
        gating: Gating = SimulatedExpertGating(setup.gating) if setup.gating else HumanGating()
        if not setup.acts:
            gating = NoGating()
        self._loop = ControlLoop(setup.loop, self._devices, self._devices, gating, self._devices, self._devices)
        self._clock = MonotonicClock()
        self._pace = Pace(setup.loop.period_ns / NS_PER_S, self._clock)
        self._spare = SpareTime()
        (self._recorder,) = life.listen("recorder")
        self._done = setup.done
        scenes = RealScenes(setup.emulator) if not setup.simulated else SimulatedScenes(life, self._devices.cell_record)
        self._scenes: Scenes = scenes
        self._scene = 0
        self._scene_step = 0
        self._stood_ns = 0
        self._blind: set[str] = set()
        self._recording = False
        self._swapped_ns: int | None = None
        self._start_wanted: StartWanted | None = None
        if setup.acts and setup.compiled:
            life.say(Said("The policy is being compiled, once for this session: up to a minute."))
        contest = setup.comparison
        self._turns = Turns(contest) if contest else None
        device = chosen_device(setup.compute)
        self._actors = {side: self._load(contest.checkpoint(side), device) for side in SIDES} if contest else {}
        for blind in self._actors.values():
            blind.alarm = None  # it would tell who acts
        self._actor: Actor | None = None
        self._loader = ThreadPoolExecutor(1)
        self._coming: tuple[int, Future[Successor]] | None = None
        if setup.acts and contest is None:
            self._actor = self._first_actor(device)
            self._tell_of_alarm(self._actor)
            self._rehearse(self._actor)
        if setup.compiled:
            compile_no_more()

    def _load(self, checkpoint: Path, device: torch.device) -> Actor:
        return Actor.load(checkpoint, self._setup.seed, device, self._setup.compiled)

    def _first_actor(self, device: torch.device) -> Actor:
        """Return the version that was chosen, or the newest good one. Raises PolicyError.

        A damaged one that nobody chose is barred, unless there is no other.
        """
        if self._setup.version is not None:
            return self._load(self._versions.path(self._setup.version), device)
        for version in reversed(self._versions.good()):
            try:
                return self._load(self._versions.path(version), device)
            except UnusableHereError:
                raise
            except PolicyError as error:
                if self._versions.good() == [version]:
                    raise
                self._bar(version, error)
        raise PolicyError(f"{self._versions.folder} holds no policy that may act; bootstrap one first.")

    def _bar(self, version: int, error: PolicyError) -> None:
        self._versions.quarantine(version)
        instead = self._versions.newest_good()
        goes_on = "" if instead is None else f" Version {instead} goes on."
        self._life.say(Said(f"Version {version} cannot act and is barred: {error}{goes_on}"))

    def _rehearse(self, actor: Actor) -> None:
        """Learn how long it takes to judge a window; the first time it takes longer than ever after."""
        for _ in range(2):
            began_ns = self._clock.now_ns()
            actor.rehearse()
            spent_ns = self._clock.now_ns() - began_ns
        self._spare.took(spent_ns)
        if not self._spare.suffices(self._setup.loop.period_ns):
            self._life.say(Said(slow_alarm(spent_ns / NS_PER_S)))

    def run(self) -> None:
        """Go on until the session is over."""
        if not self._life.await_first(RingReader(self._life.lines.arm)):
            return
        self._scene = self._scenes.standing()
        if not self._life.first:
            self._devices.order(records.BREAK_OFF)
        if not self._devices.await_pictures():
            return
        self._life.say(FaultCleared(SESSION))
        for name in () if self._life.first else self._life.lines.cameras:
            self._life.say(FaultCleared(f"pictures of {name}"))  # told by the one before; what holds is told again
        self._life.ready()
        while not self._life.over():
            now_ns = self._pace.wait()
            newest = self._devices.arm_record()
            if newest is None or now_ns - int(newest.value["time_ns"]) > OLD_ARM_NS:
                continue
            self._period(now_ns)

    def _period(self, now_ns: int) -> None:
        arm = self._loop.observe(now_ns)
        for event in self._loop.take_events():
            self._follow(event)
        for message in self._recorder.hear():
            if isinstance(message, EpisodeSaved):
                self._done = message.done
                if self._turns is not None:
                    self._turns.look()
                    if message.dropped is not None:
                        self._tell_start(self._turns)
        self._watch_cameras(now_ns)
        if self._coming is not None:
            self._swap()
        if arm.phase is Phase.RESETTING:
            self._prepare(arm)
        else:
            self._scene_step = 0
        self._loop.decide()
        if self._actor is not None and self._coming is None:  # one that was rolled back acts no more
            self._actor.serve([self._loop])
        self._tell()
        if self._actor is not None and self._actor.unjudged:
            self._judge(self._actor)

    def _judge(self, actor: Actor) -> None:
        """Judge the executed chunk in what is left of the period; without enough of it, a later one may do."""
        if self._spare.suffices(self._pace.left_ns()):
            began_ns = self._clock.now_ns()
            actor.judge()
            self._spare.took(self._clock.now_ns() - began_ns)

    def _tell(self) -> None:
        cadence, alarm = self._pace.cadence(), self._loop.alarm
        shown = self._actor if self._turns is None else None  # in a comparison nobody is to know whose turn it is
        version, rank = (shown.version, shown.rank) if shown else (-1, -1)
        self._life.say(
            Acting(
                version,
                rank,
                self._swapped_ns,
                cadence.measured_hz,
                cadence.worst_late_s,
                alarm.level,
                alarm.raised,
            )
        )

    def _watch_cameras(self, now_ns: int) -> None:
        """Stop the arm when a camera sends no pictures any more, until it does again."""
        silent = set(self._devices.blind(now_ns - round(self._setup.camera_timeout_s * NS_PER_S)))
        for name in silent - self._blind:
            sentence = f"Camera {name} has sent no picture for {self._setup.camera_timeout_s:g} s, so the arm holds."
            self._life.say(Fault(sentence, f"pictures of {name}"))
        for name in self._blind - silent:
            self._life.say(FaultCleared(f"pictures of {name}"))
        self._blind = silent

    def _follow(self, event: Effect) -> None:
        if isinstance(event, EpisodeBegun):
            self._recording = True
            self._devices.order(records.BEGIN, attributes=json.dumps(self._attributes()).encode())
        elif isinstance(event, EpisodeEnded):
            self._recording = False
            self._devices.order(records.END, outcome=Outcome(event.outcome).value.encode())
        elif isinstance(event, ResetBegun):
            self._scene_step = 0  # the phase alone would not tell of a reset that follows another within a period
        elif isinstance(event, DropLast):
            self._devices.order(records.DROP_LAST)
        elif isinstance(event, TrainNow):
            self._ask_for_training()
        elif isinstance(event, Rollback):
            self._roll_back()

    def _attributes(self) -> dict[str, int | str]:
        """Return what is recorded with an episode that begins: the seed of its scene, if any, and whose turn it is."""
        simulated = self._setup.simulated or self._setup.emulator is not None
        attributes: dict[str, int | str] = {"scene_seed": self._seed()} if self._scene > 0 and simulated else {}
        if self._turns is not None:
            turn = self._turns.begin()
            self._actor = self._actors[turn.side]
            attributes |= {"pair": turn.pair, "side": turn.side}
        return attributes

    def _seed(self) -> int:
        """Return the seed of the scene that stands or is being put up."""
        if self._turns is not None:
            return self._turns.scene_seed
        return scene_seed(self._setup.seed, self._setup.phase, self._setup.first_scene + self._scene - 1)

    def _prepare(self, arm: ArmSnapshot) -> None:
        """Between episodes: let go of a broken one, swap, put up the scene, and say when it stands."""
        if self._recording:
            self._recording = False
            self._devices.order(records.BREAK_OFF)
        if self._scene_step == 0:
            if self._done < self._setup.planned and not self._swap():
                return
            self._scene += 1
            if self._turns is not None:
                self._turns.put_up()
                self._tell_start(self._turns)
            self._scenes.ask(self._scene, self._seed())
            self._scene_step = 1
        elif self._scene_step == 1 and self._scenes.stands(arm):
            self._stood_ns = self._clock.now_ns()
            self._scene_step = 2
        elif self._scene_step == 2 and not self._devices.blind(self._stood_ns):
            self._life.say(ResetDone())
            self._scene_step = 3

    def _tell_start(self, turns: Turns) -> None:
        """Tell the operator which start the next episode of a comparison needs, when that has changed."""
        wanted = turns.wanted()
        start = StartWanted(*wanted) if wanted else None
        if start is not None and start != self._start_wanted:
            self._life.say(start)
        self._start_wanted = start

    def _swap(self) -> bool:
        """Let the newest good version act, if it is another one; return False while a thread still loads it.

        Raises PolicyError if none may act any more.
        """
        if self._actor is None or not self._setup.adapts:
            return True
        if self._coming is None:
            newest = self._versions.newest_good()
            if newest is None:
                raise PolicyError(
                    f"{self._versions.folder} holds no policy that may act any more; bootstrap a new one."
                )
            if newest == self._actor.version:
                return True
            path = self._versions.path(newest)
            self._coming = newest, self._loader.submit(Successor.load, path, self._actor.device, self._setup.compiled)
        newest, loading = self._coming
        if not loading.done():
            return False
        self._coming = None
        if newest != self._versions.newest_good():
            return self._swap()  # it was barred, or has a successor, since the thread began
        before, began_s = self._actor.version, time.perf_counter()
        try:
            self._actor.swap(loading.result())
        except UnusableHereError as error:
            if self._versions.is_quarantined(before):
                raise
            self._life.say(Said(f"Version {newest} does not act yet: {error} Version {before} goes on."))
            return True
        except PolicyError as error:
            self._bar(newest, error)
            return self._swap()
        self._swapped_ns = self._clock.now_ns()
        self._life.say(Swapped(newest, before, time.perf_counter() - began_s))
        self._life.say(Said(f"Version {newest} acts from here on, in place of version {before}."))
        self._tell_of_alarm(self._actor)
        return True

    def _tell_of_alarm(self, actor: Actor) -> None:
        if self._setup.loop.alarm.enabled and actor.alarm is None:
            self._life.say(Said(no_alarm(actor.version)))

    def _ask_for_training(self) -> None:
        try:
            self._run.train_now.touch()
        except OSError as error:
            self._life.say(Said(f"The trainer cannot be asked to train now: {error}."))

    def _roll_back(self) -> None:
        if self._actor is None or not self._setup.adapts:
            self._life.say(Said("There is nothing to roll back: versions are swapped only while adapting."))
            return
        if not [version for version in self._versions.good() if version < self._actor.version]:
            self._life.say(Said(f"Version {self._actor.version} stays: there is no earlier one to go back to."))
            return
        later = [version for version in self._versions.good() if version >= self._actor.version]
        try:
            for version in reversed(later):  # what has learned on from it does not act either
                self._versions.quarantine(version)
        except OSError as error:
            self._life.say(Said(f"Version {self._actor.version} goes on, as it cannot be barred: {error}."))
            return
        self._swap()
