"""The supervisor of a real-time session: starts its processes, watches them, tells the operator, and ends it cleanly.

| what dies | what follows |
|---|---|
| any, before it was ever ready | the session ends with its sentence |
| cell | the session ends |
| arm | the arm holds; it is started again, the episode is interrupted; a real arm then waits for the operator's word |
| control, recorder | the arm holds, the episode is interrupted; started again |
| teleop, a camera | the arm holds; started again; the operator resumes |
| trainer | started again; the session goes on with the acting policy |
| exchange with a trainer elsewhere | the same |
| window | started again; closed or dead too often, the session goes on without it, or ends with its keyboard |
| supervisor | every process sees that its parent is gone, and ends; an open episode stays as interrupted |

One that hangs, showing no sign of life for `child.SILENT_S`, is killed, and the same follows.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data.episode import Episode
from data.events import EventLog
from data.schema import Outcome
from data.session import Session
from drift_robot import __version__
from drift_robot.calibrate.enforcement import calibration_record, enforced_limits
from drift_robot.calibrate.latencies import remaining_latencies
from drift_robot.comparison import Comparison
from drift_robot.comparison_report import is_established
from drift_robot.config import ROBOSUITE_TASK_NAMES, Config
from drift_robot.errors import UserError
from drift_robot.evaluate import ACTED, open_rollouts
from drift_robot.fitting import fitting_manifest
from drift_robot.gate import (
    EPISODE_PHASES,
    AuthorityChanged,
    CorrectionDropped,
    EndWanted,
    EpisodeBegun,
    Fault,
    FaultCleared,
    Notice,
    Phase,
    PlanDone,
    Recovered,
    Refused,
    TrainNow,
)
from drift_robot.lockstep import control_config, episode_layout
from drift_robot.realtime import records
from drift_robot.realtime.arm_process import ArmSetup, run_arm
from drift_robot.realtime.camera_process import (
    CameraSetup,
    SimulatedCameraSetup,
    run_camera,
    run_simulated_camera,
)
from drift_robot.realtime.cell_process import CellSetup, run_cell
from drift_robot.realtime.child import Child, fit_for_children
from drift_robot.realtime.control_process import ControlSetup, run_control
from drift_robot.realtime.lines import Lines, open_lines
from drift_robot.realtime.messages import (
    Acting,
    Closed,
    DeviceInUse,
    EpisodeSaved,
    Failed,
    Listener,
    Message,
    Pressed,
    Ready,
    Said,
    Speaker,
    StartWanted,
    Swapped,
)
from drift_robot.realtime.pacing import WorstCadence
from drift_robot.realtime.recorder_process import RecorderSetup, run_recorder
from drift_robot.realtime.teleop_process import TeleopSetup, run_teleop
from drift_robot.realtime.window_process import WindowSetup, run_operator_window
from drift_robot.remote.courier import GOES_ON, TrainerHandle, start_trainer
from drift_robot.remote.store import open_files
from drift_robot.report import EpisodeFigures, recorded_figures
from drift_robot.run_folder import RunFolder, occupied, open_session
from drift_robot.status import (
    RECENT_EPISODES,
    Cadence,
    SessionStatus,
    TrainerState,
    TrainerStatus,
    status_to_json,
)
from drift_robot.trainer import TrainerProcess, forecast, online_phase
from hardware.arms.limits import Limit
from hardware.cell.tasks import TASKS
from hardware.clock import NS_PER_S
from hardware.input_devices import DeviceName
from hardware.interfaces import Verb
from hardware.rings import RingReader, RingWriter
from policies.checkpoint import POLICY_FILE
from policies.errors import PolicyError

Mode = Literal["collect", "adapt", "evaluate"]
Say = Callable[[str], None]

POLL_S = 0.05
MAX_RESTARTS = 3
CAMERA_PERIOD_S = 1 / 30
TRAINER_NICENESS = 5
REFUSAL_SHOWN_S = 4.0
NOTICE_SHOWN_S = 6.0
LIMIT_SHOWN_S = 1.0
UNDO_S = 30.0
"""For so long after the last planned episode a person can still drop it, unless she ends the session before."""
SHOWN_LIMITS = (Limit.WORKSPACE, Limit.TABLE, Limit.LEASH, Limit.STALE_DEVICE, Limit.STARVED)
"""What the operator is told beyond faults: why the arm does not follow. Others are brief, or told otherwise."""
MOVING_RAD_S = 0.03
"""A joint faster than this moves: beyond the noise of a joint at rest."""
TAKEN: dict[type, str] = {
    Recovered: "The recovery is marked: what follows of this intervention is the correction.",
    TrainNow: "The trainer is told not to wait for more labels.",
}
"""What the operator is told of verbs of which she would see nothing otherwise."""
INTERRUPTING = ("control", "recorder")
"""Without these an episode cannot go on: it is given up when one of them dies."""
HOLDING = (*INTERRUPTING, "teleop")
"""While one of these is down the arm holds; so does a camera."""


@dataclass(frozen=True)
class SessionFigures:
    """What a session gave: its finished episodes, and how it ended in one sentence.

    `complete`: all planned episodes are done. `failed`: a process could not be started or not be done without.
    `restarts` counts by process how often one had to be started again.
    """

    episodes: list[EpisodeFigures]
    swaps: int
    final_version: int
    restarts: dict[str, int]
    complete: bool
    failed: bool
    interrupted: bool
    ending: str


def run_session(
    config: Config,
    run: RunFolder,
    mode: Mode,
    device: DeviceName,
    show_window: bool,
    say: Say,
    comparison: Comparison | None = None,
    version: int | None = None,
) -> SessionFigures:
    """Run a real-time session until its episodes are done, its operator ends it or it cannot go on.

    In mode evaluate the newest good version acts, or `version`; or the two of a `comparison`, in turns.
    Goes on where an earlier session of the run stopped. Call it from the main thread: it takes SIGINT, SIGTERM and
    SIGHUP as the order to end. Raises UserError if there is no policy to start from that fits the configuration, no
    window for the keyboard, a method that does not learn online, no calibration that the configuration demands, another
    session in this run, or a task that does not run in real time, DataError if there is no episode to lay over the live
    pictures.
    """
    if config.devices is None and config.cell.task in ROBOSUITE_TASK_NAMES:
        raise UserError(f"The task {config.cell.task} runs in lock-step alone: leave out --device and 'input.device'.")
    if device == "keyboard" and not show_window:
        raise UserError("The keyboard is read by the operator window: show the window, or choose another device.")
    acting = run.versions().newest_good() if version is None else version
    if mode != "collect" and comparison is None and acting is None:
        raise UserError(f"{run.path} holds no policy; run 'drift-robot bootstrap' first.")
    if device == "scripted" and config.devices is not None and config.devices.emulator is None:
        raise UserError(
            f"The scripted expert is blind before the real arm at {config.devices.arm.host}; choose another device."
        )
    if mode == "adapt":
        online_phase(config)
        if config.adapt.store is not None:
            open_files(config.adapt.store)
    if show_window and config.window.overlay is not None and not Episode.open(config.window.overlay).layout.cameras:
        raise UserError(f"{config.window.overlay} holds no pictures to lay over the live ones; choose another episode.")
    calibration = calibration_record(config, mode, say)
    config = replace(config, limits=enforced_limits(config))
    session, rollout = _opened(config, run, mode, acting, comparison)
    layout = episode_layout(config)
    processes = ("cell", "arm", "control", "recorder", "teleop", "window", "supervisor", *map(camera, layout.cameras))
    cell, sizes = None, (0, 0)
    if config.devices is None:
        cell = CellSetup(
            task=config.cell.task,
            physics_step_s=config.cell.physics_step_s,
            servo_period_s=config.cell.servo_period_s,
            perception_offset_m=config.cell.perception_offset_m(mode),
        )
        sizes = len(TASKS[config.cell.task].objects), len(cell.build().state_vector())
    horizon = config.policy.pred_horizon
    evaluated = acting if mode == "evaluate" else None
    with (
        occupied(run),
        open_lines(processes, layout, horizon, *sizes) as lines,
        EventLog(session.folder) as events,
    ):
        watch = Supervisor(
            *(config, run, mode, device, show_window, say, session, cell, lines, events, comparison),
            {**calibration, **rollout},
            evaluated,
        )
        return watch.run()


def session_folder(run: RunFolder, mode: Mode, version: int | None) -> Path:
    """Return where a session's episodes go; `version` is the one that is evaluated."""
    if mode == "evaluate" and version is not None:
        return run.evaluation(version)
    return run.session if mode == "adapt" else run.demonstrations


def _opened(
    config: Config, run: RunFolder, mode: Mode, acting: int | None, comparison: Comparison | None
) -> tuple[Session, dict[str, str]]:
    """Open the session that episodes go to, and return what each notes of whose rollout it is.

    Raises UserError if the acting version does not fit the configuration, or what is recorded is of another one.
    """
    if comparison is not None:
        return open_rollouts(config, comparison.folder), {}
    folder = session_folder(run, mode, acting)
    if mode == "collect" or acting is None:
        return open_session(folder, config), {}
    if mode == "adapt":
        with suppress(PolicyError):  # the control process bars a damaged one, and an earlier one acts
            fitting_manifest(config, run.versions(), acting)
        return open_session(folder, config), {}
    sha256 = fitting_manifest(config, run.versions(), acting).files[POLICY_FILE]
    return open_rollouts(config, folder, sha256), {ACTED: sha256}


def camera(name: str) -> str:
    """Return the name of a camera's process."""
    return f"camera {name}"


class Supervisor:
    """One session: its processes, and what it knows of them."""

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        mode: Mode,
        device: DeviceName,
        show_window: bool,
        say: Say,
        session: Session,
        cell: CellSetup | None,
        lines: Lines,
        events: EventLog,
        comparison: Comparison | None,
        attributes: Mapping[str, Any],
        version: int | None,
    ) -> None:
        self._config = config
        self._version = version
        self._attributes = attributes
        self._run = run
        self._mode = mode
        self._device = device
        self._show_window = show_window
        self._print = say
        self._events = events
        self._comparison = comparison
        self._cell = cell
        self._lines = lines
        self._session = session
        self._planned = getattr(config, mode).episodes if comparison is None else 2 * comparison.pairs
        self._done = self._count(len(session.episodes()))
        self._first_scene = session.next_index()
        self._speaker = Speaker(lines.words["supervisor"])
        self._listeners = {name: Listener(handle, True) for name, handle in lines.words.items() if name != "supervisor"}
        self._arm = RingReader(lines.arm)
        self._status = RingWriter(lines.status)
        self._children: dict[str, Child[Any]] = {}
        self._trainer: TrainerHandle | None = None
        self._faults: dict[str, str] = {}
        self._others_faults: dict[str, str] = {}
        self._trainer_fault = ""
        self._ending = ""
        self._failed = False
        self._signal = 0
        self._episodes: list[EpisodeFigures] = []
        self._acting = Acting(-1, -1, None, 0.0, 0.0)
        self._swaps = 0
        self._began_ns: int | None = None
        self._refusal = self._notice = self._limit = ("", 0)
        self._before = recorded_figures(session)
        self._using = DeviceInUse("script")
        self._dropped_corrections = 0
        self._trainers_message = ""
        self._phase: Phase | None = None
        self._plan_done, self._plan_done_ns = "", 0
        self._start_wanted: StartWanted | None = None
        self._control_worst, self._arm_worst = WorstCadence(), WorstCadence()

    def run(self) -> SessionFigures:
        """Run the session."""
        if ending := self._all_done():
            self._ending = ending
            return self._figures()
        self._events.note("begun", mode=self._mode, device=self._device, planned=self._planned, software=__version__)
        with self._signals():
            try:
                self._start()
                while not self._ending:
                    time.sleep(POLL_S)
                    self._hear()
                    if self._signal:
                        self._ending = f"The session was ended by {signal.Signals(self._signal).name}."
                    elif self._plan_done and self._undo_left_s() <= 0:
                        self._ending = self._plan_done
                    else:
                        self._watch()
                    self._note_pace()
                    self._status.write({"json": status_to_json(self._session_status())})
            finally:
                self._stop()
        self._say(self._ending)
        self._events.note("ended", sentence=self._ending, complete=self._done >= self._planned)
        for path in self._session.partial_episodes():
            self._say(
                f"Episode {path.name.split('.')[0]} was interrupted and is not used; 'drift-robot data verify' tells "
                "what it holds, 'repair' makes it whole."
            )
        figures = self._figures()
        self._children.clear()  # they know us by their setups: in a circle, their handles would stay open
        return figures

    def _figures(self) -> SessionFigures:
        newest = self._run.versions().newest_good()
        restarts = {name: child.restarts for name, child in self._children.items()}
        if self._trainer is not None:
            restarts["trainer"] = self._trainer.restarts
        return SessionFigures(
            episodes=self._episodes,
            swaps=self._swaps,
            final_version=-1 if newest is None else newest,
            restarts={name: count for name, count in restarts.items() if count},
            complete=self._done >= self._planned,
            failed=self._failed,
            interrupted=self._signal != 0,
            ending=self._ending,
        )

    def _start(self) -> None:
        """Start all processes but the trainer; those that take longest first."""
        self._say("The session starts: its processes come up.")
        bodies: dict[str, tuple[Callable[..., None], Callable[[], object]]] = {
            "control": (run_control, self._control_setup),
            "recorder": (run_recorder, self._recorder_setup),
            "teleop": (run_teleop, self._teleop_setup),
            "arm": (run_arm, self._arm_setup),
        }
        if self._cell is not None:
            bodies["cell"] = (run_cell, lambda: self._cell)
        for name in self._config.cell.cameras:
            body = run_simulated_camera if self._config.devices is None else run_camera
            bodies[camera(name)] = (body, partial(self._camera_setup, name))
        if self._show_window:
            bodies["window"] = (run_operator_window, self._window_setup)
        for process, (body, setup_of) in bodies.items():
            self._children[process] = Child(process, body, setup_of, self._lines)

    def _start_trainer(self) -> None:
        """Start the trainer, which has nothing to learn from before the first episode."""
        with fit_for_children():
            self._trainer = start_trainer(self._config, self._run)
        self._make_modest()

    def _camera_setup(self, name: str) -> CameraSetup | SimulatedCameraSetup:
        cell, devices = self._config.cell, self._config.devices
        height, width = cell.cameras[name].height, cell.cameras[name].width
        if devices is None:
            return SimulatedCameraSetup(
                cell.task, name, height, width, CAMERA_PERIOD_S, cell.perception_offset_m(self._mode)
            )
        return CameraSetup(name, devices.cameras[name], devices.emulator, height, width)

    @property
    def _emulator(self) -> str | None:
        return self._config.devices.emulator if self._config.devices else None

    def _control_setup(self) -> ControlSetup:
        config = self._config
        tracks = config.cell.track_objects
        return ControlSetup(
            run=self._run.path,
            loop=control_config(config, self._mode),
            simulated=config.devices is None,
            emulator=self._emulator,
            tracked=tuple(item.symmetry for item in TASKS[config.cell.task].objects) if tracks else None,
            camera_timeout_s=config.camera_timeout_s,
            gating=config.simulated_expert.of_task(config.cell.task) if self._gated_by_script() else None,
            compute=config.compute,
            compiled=config.compile_policy,
            acts=self._mode != "collect",
            adapts=self._mode == "adapt",
            scripted=self._device == "scripted",
            seed=config.seed,
            phase={"collect": "demonstrations", "adapt": "session", "evaluate": "evaluation"}[self._mode],
            first_scene=self._first_scene,
            planned=self._planned,
            done=self._done,
            comparison=self._comparison,
            latencies=remaining_latencies(config),
            version=self._version,
        )

    def _gated_by_script(self) -> bool:
        return self._mode == "adapt" and self._device == "scripted" and self._config.gating == "simulated_expert"

    def _recorder_setup(self) -> RecorderSetup:
        layout = episode_layout(self._config)
        return RecorderSetup(self._session.folder, layout, self._mode != "collect", self._attributes)

    def _teleop_setup(self) -> TeleopSetup:
        config = self._config
        return TeleopSetup(
            device=self._device,
            mapping=config.input.mapping,
            style=config.gate.style,
            task=config.cell.task,
            planned=self._planned,
            done=self._done,
            emulator=self._emulator,
        )

    def _arm_setup(self) -> ArmSetup:
        gate = replace(self._config.gate, mode=self._mode)
        return ArmSetup(gate, self._config.limits, self._config.devices, self._config.cell.servo_period_s)

    def _window_setup(self) -> WindowSetup:
        config = self._config
        return WindowSetup(
            sound=config.window.sound,
            change=config.input.mapping,
            style=config.gate.style,
            session=self._session.folder,
            overlay=config.window.overlay,
        )

    def _make_modest(self) -> None:
        """The trainer gets what the others leave."""
        if self._trainer is not None and self._trainer.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, self._trainer.pid, own + TRAINER_NICENESS)

    # Watching.

    def _note_pace(self) -> None:
        """Note when the phase has changed, and how badly loops have kept their rate while an episode runs."""
        newest = self._arm.latest()
        if newest is None:
            return
        phase = records.phase_of(newest.value)
        if phase is not self._phase:
            self._phase = phase
            self._events.note("phase", phase=phase.value)
        if phase in EPISODE_PHASES:
            self._control_worst.see(self._control_cadence())
            self._arm_worst.see(records.cadence_of(newest.value))

    def _control_cadence(self) -> Cadence:
        return Cadence(1 / self._config.policy_period_s, self._acting.measured_hz, self._acting.worst_late_s)

    def _watch(self) -> None:
        """Look at every process; what follows from a death is in the module's table."""
        for name, child in list(self._children.items()):
            if child.exit_code is None:
                self._complain(f"The {name} process", child.killed_for_silence())
                continue
            self._hear()
            if self._ending:
                return
            if name not in self._children:
                continue
            if not child.proven:
                self._fail(f"The {name} process has died before it was ready, so the session ends.")
            elif name == "cell":
                self._fail("The simulated cell has died, so the session ends.")
            elif name == "window" and child.restarts >= MAX_RESTARTS and self._device != "keyboard":
                del self._children[name]
                self._say("The operator window has died too often; the session goes on without it.")
            elif child.restarts >= MAX_RESTARTS:
                self._fail(f"The {name} process has died {child.restarts + 1} times, so the session ends.")
            else:
                self._restart(child)
        if self._trainer is not None and self._trainer.alive():
            self._complain(self._trainer.title, self._trainer.killed_for_silence())
            self._note_absence(self._trainer.absence())
        elif self._trainer is not None:
            title = self._trainer.title
            if why := self._trainer.last_words():
                self._say(why)
            if self._trainer.restarts >= MAX_RESTARTS:
                fault = f"{title} has died too often; the session goes on with the acting policy."
                if self._trainer_fault != fault:
                    self._trainer_fault = fault
                    self._say(fault)
            else:
                self._say(f"{title} has died; it is started again, and the session goes on.")
                self._events.note("restarted", process="trainer")
                with fit_for_children():
                    self._trainer.start()
                self._make_modest()

    def _note_absence(self, absence: str) -> None:
        """Tell that the trainer is not heard of, or is again; the session goes on either way."""
        if absence != self._trainer_fault:
            self._trainer_fault = absence
            self._say(f"{absence} {GOES_ON}" if absence else "The exchange with the trainer elsewhere works again.")

    def _say(self, sentence: str) -> None:
        """Tell the operator: on the terminal, and for some seconds in the window."""
        self._print(sentence)
        self._notice = (sentence, time.monotonic_ns())
        self._events.note("said", sentence=sentence)

    def _complain(self, name: str, silent_s: float | None) -> None:
        """Tell that a process was killed for its silence; what follows, follows from its death."""
        if silent_s is not None:
            self._say(f"{name} has shown no sign of life for {silent_s:.0f} s: it hangs, and is killed.")

    def _fail(self, sentence: str) -> None:
        """End the session for a reason that nobody wished."""
        if self._ending:
            self._say(sentence)
        else:
            self._ending, self._failed = sentence, True

    def _closed(self) -> None:
        if self._device == "keyboard":
            self._ending = "The operator window, whose keyboard is the device, was closed, so the session ends."
        else:
            self._say("The operator window was closed; the session goes on without it.")

    def _restart(self, child: Child[Any]) -> None:
        name = child.name
        if name in HOLDING or name.startswith("camera "):
            lost = " and the running episode is interrupted" if name in INTERRUPTING else ""
            reason = f"The {name} process has died: the arm holds{lost}; it is started again."
            self._faults[name] = reason
            self._say(reason)
            self._speaker.say(Fault(reason, name))
            if name in INTERRUPTING and Verb.DISCARD in self._offered():
                self._speaker.say(Pressed(Verb.DISCARD))
        elif name == "arm":
            self._say("The arm process has died: the arm holds, the episode is interrupted; it is started again.")
        else:
            self._say(f"The {name} process has died; it is started again, and the session goes on.")
        child.start()
        self._events.note("restarted", process=name)

    def _tell_what_holds(self) -> None:
        """Tell a new arm process what was said to the one before and still holds."""
        self._speaker.say(PlanDone(bool(self._plan_done)))
        for source, reason in {**self._others_faults, **self._faults}.items():
            self._speaker.say(Fault(reason, source))

    def _offered(self) -> tuple[Verb, ...]:
        newest = self._arm.latest()
        return records.offered_of(newest.value) if newest else ()

    def _hear(self) -> None:
        arm_is_new = False
        for name, listener in self._listeners.items():
            for message in listener.hear():
                self._take(name, message)
                arm_is_new |= name == "arm" and isinstance(message, Ready) and self._children[name].restarts > 0
        if arm_is_new:
            self._tell_what_holds()  # only now: a new process listens to nothing that was said before

    def _take(self, name: str, message: Message) -> None:
        if isinstance(message, Fault):
            self._others_faults[message.source] = message.reason
        elif isinstance(message, FaultCleared):
            self._others_faults.pop(message.source, None)
        if isinstance(message, Notice) and message.fault:
            self._events.note("fault", sentence=message.sentence)
        if isinstance(message, Said | Notice):
            if message.sentence not in self._faults.values():
                self._say(message.sentence)
        elif isinstance(message, Refused):
            self._refusal = (message.sentence, time.monotonic_ns())
            self._events.note("refused", verb=message.verb.value, sentence=message.sentence)
        elif type(message) in TAKEN:
            self._say(TAKEN[type(message)])
        elif isinstance(message, CorrectionDropped):
            self._dropped_corrections += 1
        elif isinstance(message, DeviceInUse):
            if message.problem != self._using.problem:
                self._say(message.problem or f"The {self._device} is back.")
            self._using = message
        elif isinstance(message, AuthorityChanged):
            self._events.note("handover", to=message.authority.name.lower(), after_s=message.after_s)
        elif isinstance(message, Swapped):
            self._swaps += 1
            self._events.note("swap", version=message.version, before=message.before, seconds=message.seconds)
        elif isinstance(message, Acting):
            self._acting = message
        elif isinstance(message, StartWanted):
            self._start_wanted = message
            self._say(message.sentence)
        elif isinstance(message, EpisodeBegun):
            self._began_ns = time.monotonic_ns()
        elif isinstance(message, EndWanted):
            self._ending = self._plan_done
        elif isinstance(message, EpisodeSaved):
            self._saved(message)
        elif isinstance(message, Failed):
            (self._say if self._children[name].proven else self._fail)(message.sentence)
        elif isinstance(message, Closed):
            del self._children[name]
            self._closed()
        elif isinstance(message, Ready):
            self._children[name].ready = True
            if name == "control" and self._mode == "adapt" and self._trainer is None:
                self._start_trainer()  # only now: so the loop, as heavy to load, comes up sooner
            if self._faults.pop(name, None) is not None:
                self._speaker.say(FaultCleared(name))

    def _saved(self, saved: EpisodeSaved) -> None:
        self._done = self._count(saved.done)
        self._began_ns = None
        self._events.note(
            "episode",
            index=saved.index,
            outcome=saved.outcome.value,
            save_s=saved.save_s,
            control=self._control_worst.take(),
            arm=self._arm_worst.take(),
        )
        if saved.dropped is not None:
            self._episodes = [episode for episode in self._episodes if episode.index != saved.dropped]
            self._before = [episode for episode in self._before if episode.index != saved.dropped]
        self._look_at_plan()
        if saved.index is None:
            return
        success = saved.outcome is Outcome.SUCCESS
        self._episodes.append(
            EpisodeFigures(saved.index, saved.version, success, saved.alone, saved.steps, saved.expert_labels)
        )
        version = f", version {saved.version}" if saved.version >= 0 and self._comparison is None else ""
        self._say(
            f"Episode {self._done} of {self._planned}: {saved.outcome.value}, {saved.steps} steps, "
            f"{saved.expert_labels} of them the expert's{version}."
        )

    def _look_at_plan(self) -> None:
        """See whether any further episode is planned; if not, the last one can be dropped for a while."""
        before, self._plan_done = self._plan_done, self._all_done()
        if bool(self._plan_done) != bool(before):
            self._plan_done_ns = time.monotonic_ns()
            self._speaker.say(PlanDone(bool(self._plan_done)))

    def _all_done(self) -> str:
        """Return why no further episode is needed, nothing if one is."""
        if self._done >= self._planned:
            return f"All {self._planned} episodes are done."
        if self._comparison is not None and is_established(self._comparison):
            return "The difference is established, so no more episodes are needed."
        return ""

    def _count(self, recorded: int) -> int:
        """Return how many of the planned episodes are done; a comparison's count once it is known how they ended."""
        return recorded if self._comparison is None else self._planned - len(self._comparison.missing())

    def _undo_left_s(self) -> float:
        """Return for how long the last planned episode can still be dropped; a script has nothing to undo."""
        if self._device == "scripted":
            return 0.0
        return UNDO_S - (time.monotonic_ns() - self._plan_done_ns) / NS_PER_S

    def _session_status(self) -> SessionStatus:
        now_ns, newest = time.monotonic_ns(), self._arm.latest()
        phase, arm, heard_ns, moving = Phase.RESETTING, Cadence(), 0, False
        faults = dict.fromkeys(self._faults.values())
        if newest is not None:
            record = newest.value
            phase, arm, heard_ns = records.phase_of(record), records.cadence_of(record), int(record["time_ns"])
            moving = bool(np.abs(record["joint_velocities"]).max() > MOVING_RAD_S)
            if fault := records.fault_of(record):
                faults = {fault: None, **faults}
            for limit in records.limits_of(record) & set(SHOWN_LIMITS):
                self._limit = (limit.value, now_ns)
        if self._using.problem:
            faults[self._using.problem] = None
        if self._trainer_fault:
            faults[self._trainer_fault] = None
        counted = [*self._before, *self._episodes]
        return SessionStatus(
            time_ns=now_ns,
            mode=self._mode,
            phase=phase,
            task=self._config.cell.task,
            version=self._acting.version,
            rank=self._acting.rank,
            swapped_ns=self._acting.swapped_ns,
            episode=self._done + (self._began_ns is not None),
            episode_s=(now_ns - self._began_ns) / NS_PER_S if self._began_ns else 0.0,
            episodes_done=self._done,
            episodes_planned=self._planned,
            recent=tuple(episode.success for episode in counted[-RECENT_EPISODES:]),
            expert_labels=sum(episode.expert_labels for episode in counted),
            trainer=self._trainer_status(),
            control=self._control_cadence(),
            arm=arm,
            alarms=tuple(faults),
            alarm=self._acting.alarm,
            alarmed=self._acting.alarmed,
            refusal=_recent(self._refusal, now_ns, REFUSAL_SHOWN_S),
            offered=self._offered(),
            notice=_recent(self._notice, now_ns, NOTICE_SHOWN_S),
            limit=_recent(self._limit, now_ns, LIMIT_SHOWN_S),
            heard_ns=heard_ns,
            moving=moving,
            device=self._using.kind,
            dropped_corrections=self._dropped_corrections,
            blind=self._comparison is not None,
            start=self._start_wanted.sentence if self._start_wanted else "",
            start_again=self._start_wanted.again if self._start_wanted else None,
            plan_done=self._plan_done,
            ends_in_s=max(0.0, self._undo_left_s()) if self._plan_done else None,
        )

    def _trainer_status(self) -> TrainerStatus:
        """Return what the trainer does; tell the operator what it has said in words."""
        if self._trainer is None:
            return TrainerStatus()
        if not self._trainer.alive():
            return TrainerStatus(TrainerState.DEAD)
        if self._trainer_fault:
            return TrainerStatus(TrainerState.AWAY)
        word = self._trainer.word()
        if word is None:
            return TrainerStatus(TrainerState.IDLE)
        if word.message and word.message != self._trainers_message:
            self._trainers_message = word.message
            self._say(word.message)
        state = {"training": TrainerState.TRAINING, "checking": TrainerState.CHECKING}.get(
            word.state, TrainerState.IDLE
        )
        due = forecast(word, self._config.adapt, self._run.train_now.exists())
        return TrainerStatus(state, word.progress, tuple(word.losses), due.seconds, due.labels, due.episodes)

    # The end.

    def _stop(self) -> None:
        """End every process: the arm holds, an open episode stays as interrupted."""
        Speaker(self._lines.stop).say(Said(self._ending or "The session ends."))
        if isinstance(self._trainer, TrainerProcess):  # an exchange has to wait for the recorder's last episode
            self._trainer.dismiss()
        asked_s = time.monotonic()
        for child in self._children.values():
            child.join(asked_s)
        if self._trainer is not None:
            self._trainer.stop()
        self._hear()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take Ctrl-C and its kin as the order to end."""

        def note(number: int, _: object) -> None:
            self._signal = number

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _recent(said: tuple[str, int], now_ns: int, shown_s: float) -> str:
    """Return a sentence for as long as it is shown, and nothing afterwards."""
    sentence, said_ns = said
    return sentence if now_ns - said_ns < shown_s * NS_PER_S else ""
