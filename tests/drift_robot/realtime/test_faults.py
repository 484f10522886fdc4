"""What fails around the arm process: the policy that acts, its versions, the cameras and the operator's device.

Each time the arm comes to rest, the operator is told why, and nothing goes on by itself.
"""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from fault_bench import Operator, started, stick_held
from realtime_bench import LAYOUT, PROCESSES, configuration, eventually, running

from data.schema import EpisodeLayout, Outcome
from drift_robot.actor import Successor
from drift_robot.gate import GateConfig, Phase, ResetDone
from drift_robot.lockstep import control_config
from drift_robot.realtime import camera_process, records
from drift_robot.realtime.arm_process import ArmSetup, run_arm
from drift_robot.realtime.camera_process import CameraSetup, run_camera
from drift_robot.realtime.cell_process import CellSetup, run_cell
from drift_robot.realtime.child import Child
from drift_robot.realtime.control_process import ControlSetup, run_control
from drift_robot.realtime.lines import Lines, open_lines
from drift_robot.realtime.messages import EpisodeSaved, Keys, Speaker
from drift_robot.realtime.teleop_process import TeleopSetup, run_teleop
from drift_robot.run_folder import RunFolder
from hardware.arms.limits import ArmLimits, Limit
from hardware.cameras.config import RealSenseConfig
from hardware.cameras.health import RecoveryConfig
from hardware.cameras.realsense import RealSenseCamera
from hardware.emulation.gamepad import VirtualPad
from hardware.emulation.realsense import CameraFault, SoftwareBus, SoftwareCamera
from hardware.emulation.spacenavd import COMPACT, EmulatedSpacenavd
from hardware.input_devices import DeviceName
from hardware.input_devices.mapping import XBOX, MappingChange
from hardware.interfaces import Frame, Verb
from hardware.rings import RingReader
from policies.checkpoint import load_policy, save
from policies.errors import UnusableHereError
from policies.policy import DiffusionPolicy

pytestmark = pytest.mark.realtime

LIMITS = ArmLimits(arm_timeout_s=3.0, device_timeout_s=1.0)
OBJECTS, DRAWING = 1, 15
"""Of the lift task."""


@contextmanager
def cell_and_arm(lines: Lines, gate: GateConfig) -> Iterator[Operator]:
    """Run the simulated cell and its arm process; yields who watches them."""
    with (
        running(run_cell, CellSetup("lift", 0.005, 0.01, (0.0, 0.0, 0.0)), "cell", lines),
        running(run_arm, ArmSetup(gate, LIMITS, None, 0.01), "arm", lines),
    ):
        yield Operator(lines)


def control_setup(run: Path, **changes: object) -> ControlSetup:
    """Return the control process of a session of the lift task; nobody's policy acts unless it is changed."""
    setup = ControlSetup(
        run=run,
        loop=control_config(configuration(1), "adapt"),
        simulated=True,
        emulator=None,
        tracked=(4,),
        camera_timeout_s=1.0,
        gating=None,
        compute="cpu",
        acts=False,
        adapts=False,
        scripted=False,
        seed=0,
        phase="session",
        first_scene=0,
        planned=99,
        done=0,
    )
    return replace(setup, **changes)  # type: ignore[arg-type]


def publish(run: RunFolder, version: int, factor: float = 1.0, up_m: float = 0.0) -> None:
    """Publish version 0 under another number; its weights stay finite, whatever comes of a factor to some of them."""
    policy, manifest = load_policy(run.versions().path(0))
    weights = {name: value.clone() for name, value in policy.state_dict().items()}
    weights["condition_encoder.0.weight"] *= factor
    weights["action_normalizer.centre"][..., 2] += up_m
    save(run.versions().path(version), replace(manifest, version=version), weights)


def truncated(run: RunFolder, version: int) -> None:
    publish(run, version)
    weights = run.versions().path(version) / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])


def malicious(run: RunFolder, version: int) -> None:
    """A pickle in the place of the weights, with its right hash: unpickled, it makes a file."""
    publish(run, version)
    folder = run.versions().path(version)
    content = f"cos\nsystem\n(S'touch {run.path / 'harm'}'\ntR.".encode()
    (folder / "policy.safetensors").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["policy.safetensors"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def swapped(run: RunFolder, version: int) -> None:
    shutil.copytree(run.versions().path(0), run.versions().path(version))


def of_another_architecture(run: RunFolder, version: int) -> None:
    manifest = load_policy(run.versions().path(0))[1]
    config = replace(manifest.config, unet_dims=(8,))
    save(
        run.versions().path(version),
        replace(manifest, version=version, config=config),
        DiffusionPolicy(config).state_dict(),
    )


DAMAGES = {
    truncated: "does not match its hash; it is damaged or was changed",
    malicious: "is not a safetensors file",
    swapped: "holds version 0: somebody has put it there",
    of_another_architecture: "is a policy of another architecture",
}


def test_a_policy_that_fails_holds_the_arm_and_a_version_that_cannot_act_is_barred(run: RunFolder) -> None:
    setup = control_setup(run.path, acts=True, adapts=True)
    truncated(run, 1)
    with (
        open_lines(PROCESSES, EpisodeLayout(8), 16, OBJECTS, DRAWING) as lines,
        cell_and_arm(lines, GateConfig()) as operator,
        started(Child("control", run_control, lambda: setup, lines), lines) as control,
    ):
        recorder, arm = Speaker(lines.words["recorder"]), RingReader(lines.arm)

        def next_version(words: str) -> None:
            operator.press(Verb.RESET, Phase.RESETTING)
            assert operator.hears(words), operator.heard
            assert operator.sees(Phase.IDLE)

        assert operator.hears(f"Version 1 cannot act and is barred: .* {DAMAGES[truncated]}.* Version 0 goes on")
        assert operator.sees(Phase.IDLE)
        for version, (damage, words) in enumerate(DAMAGES.items(), 2):
            damage(run, version)
            next_version(f"Version {version} cannot act and is barred: .* {words}.* Version 0 goes on")
        assert not (run.path / "harm").exists()
        assert run.versions().good() == [0]

        publish(run, 6, factor=1e38)
        next_version("Version 6 acts from here on")
        for _ in range(2):
            operator.says(Verb.RESUME)
            assert operator.hears("not finite. The arm holds: take over, or end the episode"), operator.heard
            assert operator.stays(Phase.HOLD)
        operator.press(Verb.DISCARD, Phase.SAVING)
        recorder.say(EpisodeSaved(None, Outcome.DISCARDED, 0))
        assert operator.sees(Phase.IDLE)
        operator.says(Verb.ROLLBACK)
        assert operator.hears("Version 0 acts from here on, in place of version 6")

        publish(run, 7, up_m=10.0)
        next_version("Version 7 acts from here on")
        operator.press(Verb.RESUME, Phase.LEARNER)
        assert eventually(lambda: arm_is_at_the_wall(arm))
        heights = [record.value["commanded"]["position"][2] for record in arm.since(0)]
        assert max(heights) <= LIMITS.workspace_max_m[2]

        operator.press(Verb.RESUME, Phase.LEARNER)
        os.kill(control.pid, signal.SIGSTOP)
        assert operator.hears("The learner's waypoints have run out, so the arm holds. Resume, or take over.")
        assert operator.sees(Phase.HOLD)
        assert operator.stays(Phase.HOLD)
        os.kill(control.pid, signal.SIGCONT)
        assert operator.stays(Phase.HOLD), "a policy that is late does not go on by itself"
        operator.press(Verb.RESUME, Phase.LEARNER)


def test_after_a_roll_back_nothing_acts_until_the_earlier_version_is_loaded(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, load = threading.Event(), Successor.load

    def late(folder: Path, device: torch.device, compiled: bool) -> Successor:
        may_load.wait(60.0)
        return load(folder, device, compiled)

    monkeypatch.setattr(Successor, "load", late)
    publish(run, 1, up_m=10.0)
    with (
        open_lines(PROCESSES, EpisodeLayout(8), 16, OBJECTS, DRAWING) as lines,
        cell_and_arm(lines, GateConfig()) as operator,
        running(run_control, control_setup(run.path, acts=True, adapts=True), "control", lines),
    ):
        try:
            assert operator.sees(Phase.IDLE)
            publish(run, 2, up_m=10.0)  # has learned on from version 1, and waits for the next reset
            operator.says(Verb.ROLLBACK)
            assert eventually(lambda: run.versions().good() == [0])
            operator.says(Verb.RESUME)
            assert operator.sees(Phase.LEARNER)
            assert operator.stays(Phase.LEARNER), "the version that was rolled back drives"
        finally:
            may_load.set()
        assert operator.hears("Version 0 acts from here on, in place of version 1")
        assert operator.moves()


def test_a_version_that_cannot_be_read_now_is_not_barred(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(folder: Path, device: torch.device, compiled: bool) -> Successor:
        raise UnusableHereError("too many files are open.")

    monkeypatch.setattr(Successor, "load", unreadable)
    with (
        open_lines(PROCESSES, EpisodeLayout(8), 16, OBJECTS, DRAWING) as lines,
        cell_and_arm(lines, GateConfig()) as operator,
        running(run_control, control_setup(run.path, acts=True, adapts=True), "control", lines),
    ):
        assert operator.sees(Phase.IDLE)
        publish(run, 1)
        operator.press(Verb.RESET, Phase.RESETTING)
        assert operator.hears("Version 1 does not act yet: too many files are open. Version 0 goes on.")
        assert operator.sees(Phase.IDLE)
        run.train_now.symlink_to(run.path / "gone" / "train_now")
        operator.says(Verb.TRAIN_NOW)
        assert operator.hears("The trainer cannot be asked to train now: .*No such file"), operator.heard
        monkeypatch.undo()
        operator.press(Verb.RESET, Phase.RESETTING)
        assert operator.hears("Version 1 acts from here on")
    assert run.versions().good() == [0, 1]


def arm_is_at_the_wall(arm: RingReader) -> bool:
    newest = arm.latest()
    return newest is not None and Limit.WORKSPACE in records.limits_of(newest.value)


def test_a_camera_that_sends_nothing_new_stops_the_arm_until_it_does_and_the_operator_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render() -> Frame:
        return Frame(time.monotonic_ns(), np.zeros((48, 64, 3), np.uint8))

    def camera() -> SoftwareCamera:
        plugged = SoftwareCamera("A1", render, width=64, height=48, fps=30)
        bus.plug(plugged)
        return plugged

    recovery = RecoveryConfig(stalled_s=0.5, restarts=1000, first_wait_s=0.1, longest_wait_s=0.2)
    config = RealSenseConfig("A1", 64, 48, 30, recovery=recovery)
    bus = SoftwareBus()
    front = camera()
    monkeypatch.setattr(camera_process, "open_camera", lambda *_: RealSenseCamera(config, bus.context))
    setup = control_setup(tmp_path, planned=1)
    with (
        open_lines((*PROCESSES, "camera front"), LAYOUT, 16, OBJECTS, DRAWING) as lines,
        stick_held(lines) as push,
        cell_and_arm(lines, GateConfig(mode="collect")) as operator,
        running(run_control, setup, "control", lines),
        running(run_camera, CameraSetup("front", config, None, *LAYOUT.cameras["front"]), "camera front", lines),
    ):
        pictures = RingReader(lines.cameras["front"])

        def unplug() -> None:
            bus.unplug("A1")

        def plug() -> None:
            camera()

        def tell(fault: CameraFault) -> Callable[[], None]:
            return lambda: setattr(front, "fault", fault)

        cases = (
            (tell(CameraFault.FREEZE), tell(CameraFault.NONE)),
            (tell(CameraFault.REPEAT), tell(CameraFault.NONE)),
            (unplug, plug),
        )
        assert operator.sees(Phase.IDLE)
        operator.press(Verb.RESUME, Phase.EXPERT)
        front.fault = CameraFault.REORDER
        first = pictures.latest()
        assert first is not None
        assert eventually(lambda: pictures.latest().sequence > first.sequence + 5)  # type: ignore[union-attr]
        captured = [int(record.value["capture_ns"]) for record in pictures.since(first.sequence)]
        assert (np.diff(captured) > 0).all(), "what comes out of order is withheld"
        front.fault = CameraFault.NONE
        for number, (fails, is_mended) in enumerate(cases):
            push(-1.0 if number % 2 else 1.0)
            operator.press(Verb.RESUME, Phase.EXPERT)
            assert operator.moves()
            fails()
            assert operator.hears("Camera front has sent no picture for 1 s, so the arm holds"), operator.heard
            assert operator.stays(Phase.FAULT)
            is_mended()
            assert operator.hears("The fault is cleared; resume or reset goes on")
            assert operator.stays(Phase.FAULT), "it went on by itself"
        operator.press(Verb.RESUME, Phase.EXPERT)
        assert operator.moves()
    bus.close()


class Pad:
    """A gamepad whose stick is pushed to a side, 0 for at rest, and whose dead-man button is held or not."""

    gone = "The gamepad is unplugged: plug it in again; the arm waits."

    def __init__(self, _: Path) -> None:
        self._pad = VirtualPad()

    def push(self, side: float) -> None:
        self._pad.set("left_x", side)

    def hold(self, down: bool) -> None:
        self._pad.set(XBOX.deadman, float(down))

    def fail(self) -> None:
        self._pad.unplug()


class Puck:
    """A SpaceMouse behind its daemon, which tells of a puck that is held over again and again."""

    gone = "spacenavd has stopped: .*; the arm waits."

    def __init__(self, path: Path) -> None:
        self._daemon = EmulatedSpacenavd(path, COMPACT)

    def push(self, side: float) -> None:
        self._daemon.move(x=round(350 * side))

    def hold(self, down: bool) -> None:
        (self._daemon.press if down else self._daemon.release)(1)

    def fail(self) -> None:
        self._daemon.close()


class Window:
    """The operator window behind a keyboard, which says at every picture which keys are held."""

    def __init__(self, lines: Lines) -> None:
        self._speaker, self._over = Speaker(lines.words["window"]), threading.Event()
        self._thread = threading.Thread(target=self._draw)
        self._thread.start()

    def _draw(self) -> None:
        while not self._over.wait(0.02):
            self._speaker.say(Keys(time.monotonic_ns(), ()))

    def fail(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the daemon of a SpaceMouse is looked for; gamepads are read without a screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "spnav.sock"))
    return tmp_path / "spnav.sock"


@contextmanager
def driven_with(device: DeviceName, lines: Lines, gate: GateConfig) -> Iterator[Operator]:
    """Run cell, arm and the teleop process of a device that is there, until the scene stands; yields who watches."""
    setup = TeleopSetup(device, MappingChange(), gate.style, "lift", 1, 0, None)
    with cell_and_arm(lines, gate) as operator, running(run_teleop, setup, "teleop", lines):
        Speaker(lines.words["control"]).say(ResetDone())
        yield operator


@pytest.mark.parametrize(("device", "kind"), [("gamepad", Pad), ("spacemouse", Puck)])
def test_a_device_that_is_lost_with_the_stick_held_stops_the_arm_which_waits_for_the_stick_to_come_to_rest(
    device: DeviceName, kind: type[Pad | Puck], lines: Lines, socket: Path
) -> None:
    held = kind(socket)
    with driven_with(device, lines, GateConfig(mode="collect")) as operator:
        operator.press(Verb.RESUME, Phase.EXPERT)
        assert operator.moves_while(lambda: held.push(1.0))
        held.fail()
        assert operator.hears(held.gone), operator.heard
        assert operator.hears("The input device is silent; the arm stops, and the expert stays in charge.")
        assert operator.stays(Phase.EXPERT)
        held = kind(socket)
        assert not operator.moves_while(lambda: held.push(-1.0), 3.0), "it went on by itself"
        held.push(0.0)
        time.sleep(0.5)
        assert operator.moves_while(lambda: held.push(-1.0))
        held.fail()


@pytest.mark.parametrize(("device", "kind"), [("gamepad", Pad), ("spacemouse", Puck)])
def test_a_dead_man_button_that_is_let_go_while_its_device_is_lost_neither_drives_nor_hands_back(
    device: DeviceName, kind: type[Pad | Puck], lines: Lines, socket: Path
) -> None:
    held = kind(socket)
    with driven_with(device, lines, GateConfig(style="deadman")) as operator:
        operator.press(Verb.RESUME, Phase.LEARNER)
        held.hold(True)
        assert operator.sees(Phase.EXPERT)
        assert operator.moves_while(lambda: held.push(1.0))
        held.fail()
        assert operator.hears("The input device is silent; the arm stops, and the expert stays in charge.")
        held = kind(socket)
        time.sleep(3.0)  # it is found again, and at rest
        assert not operator.moves_while(lambda: held.push(-1.0), 1.0), "it drives with nothing in hand"
        assert operator.stays(Phase.EXPERT), "nobody has let go of anything in view"
        held.push(0.0)
        held.hold(True)
        time.sleep(0.5)
        assert operator.moves_while(lambda: held.push(-1.0))
        held.hold(False)
        assert operator.sees(Phase.LEARNER)
        held.fail()


@pytest.mark.parametrize("device", ["gamepad", "spacemouse", "keyboard"])
@pytest.mark.parametrize("mode", ["adapt", "evaluate"])
def test_a_device_that_is_lost_while_the_learner_drives_holds_the_arm_until_her_word(
    device: DeviceName,
    mode: Literal["adapt", "evaluate"],
    lines: Lines,
    socket: Path,
) -> None:
    def plugged() -> Pad | Puck | Window:
        kinds = {"gamepad": Pad, "spacemouse": Puck}
        return kinds[device](socket) if device in kinds else Window(lines)

    held = plugged()
    with ExitStack() as stack:
        stack.callback(lambda: held.fail())
        operator = stack.enter_context(driven_with(device, lines, GateConfig(mode=mode)))
        operator.press(Verb.RESUME, Phase.LEARNER)
        held.fail()
        assert operator.hears("The input device is silent, so the arm holds: check its cable or window, then resume")
        assert operator.sees(Phase.HOLD)
        held = plugged()
        assert operator.stays(Phase.HOLD), "it went on by itself"
        operator.press(Verb.RESUME, Phase.LEARNER)
        assert operator.stays(Phase.LEARNER), "a device that answers is taken for silent"
