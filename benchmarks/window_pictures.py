"""Pictures of the operator window in each phase, with what an operator may see in it: docs/window/*.png.

    SDL_VIDEODRIVER=dummy python benchmarks/window_pictures.py [--out docs/window]

The pictures in it are the simulated cell's; the status is made up, and drawn by the window's own code.
"""

import argparse
import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pygame
from PIL import Image

from drift_robot.canvas import Canvas
from drift_robot.gate import (
    Deadman,
    Fault,
    FaultCleared,
    GateConfig,
    GateState,
    Phase,
    PlanDone,
    ResetDone,
    Saved,
    advance,
    step,
)
from drift_robot.overlay import FirstPictures, Mode
from drift_robot.status import Cadence, SessionStatus, TrainerState, TrainerStatus, offered_verbs
from drift_robot.window import View, draw
from hardware.cell.cell import Cell
from hardware.cell.tasks import TASKS
from hardware.clock import NS_PER_S, ManualClock
from hardware.input_devices.ready_maps import READY_MAPS
from hardware.interfaces import Frame, Verb
from hardware.poses import integrate_twist

NOW_NS = 1000 * NS_PER_S
SERVO_S = 0.01
COLORS = 128
"""Kept in a file, so that a picture has some 40 kB."""
LOSSES = tuple(0.02 * math.exp(-k / 12) + 0.003 + 0.0006 * math.sin(2.3 * k) for k in range(40))
RECENT = (False, False, True, False, True, True, False, True, True, True, True, True)
Pictures = Mapping[str, Frame]


def cell_pictures(seed: int, seconds: float) -> Pictures:
    """Return what the cameras see of a scene when the scripted expert has driven for so long."""
    clock = ManualClock(NS_PER_S)
    cell = Cell(TASKS["lift"], physics_step_s=0.005, servo_period_s=SERVO_S, clock=clock)
    cell.reset(seed)
    target = cell.arm.read().base_from_tcp
    for _ in range(round(seconds / SERVO_S)):
        twist, opening = cell.task.expert(cell.scene())
        target = integrate_twist(target, twist, SERVO_S)
        cell.arm.servo(target)
        cell.gripper.move(opening)
        clock.advance_s(SERVO_S)
        cell.step()
    return {name: Frame(NOW_NS, cell.camera(name, 480, 640).read(0.0).image) for name in ("front", "wrist")}


def offered(*events: Any, config: GateConfig, then_s: float = 1.0) -> dict[str, Any]:
    """Return phase and offered verbs as the gate has them after some events, a second apart."""
    state, now_ns = GateState(), 0
    for event in events:
        now_ns += NS_PER_S
        state, _ = advance(state, event, now_ns, config)
    now_ns += round(then_s * NS_PER_S)
    state, _ = step(state, now_ns, config)
    return {"phase": state.phase, "offered": offered_verbs(state, now_ns, config)}


def status(*events: Any, config: GateConfig, then_s: float, **changes: Any) -> SessionStatus:
    """Return a plausible status of a session in the middle of its work."""
    usual = SessionStatus(
        time_ns=NOW_NS,
        mode=config.mode,
        phase=Phase.IDLE,
        task="lift",
        version=7,
        rank=16,
        swapped_ns=NOW_NS - 95 * NS_PER_S,
        episode=13,
        episode_s=4.2,
        episodes_done=12,
        episodes_planned=40,
        recent=RECENT,
        expert_labels=1143,
        trainer=TrainerStatus(TrainerState.TRAINING, 0.6, LOSSES, 6.0),
        control=Cadence(10, 9.98, 0.004),
        arm=Cadence(500, 499.8, 0.0006),
        heard_ns=NOW_NS,
        device="Xbox pad",
    )
    return replace(usual, **offered(*events, config=config, then_s=then_s), **changes)


def views() -> dict[str, View]:
    """Return what is to be drawn, by the name of its file."""
    start, earlier, grasp = cell_pictures(3, 0.0), cell_pictures(11, 0.0), cell_pictures(3, 2.6)
    old = {name: frame.image for name, frame in earlier.items()}

    def view(
        *events: Any,
        pictures: Pictures = grasp,
        overlay: FirstPictures | None = None,
        config: GateConfig | None = None,
        then_s: float = 1.0,
        sound: bool = True,
        **changes: Any,
    ) -> View:
        config = config or GateConfig()
        now = status(*events, config=config, then_s=then_s, **changes)
        mapping = READY_MAPS[now.device].styled(config.style)
        return View(now, pictures, mapping, config.style, overlay or FirstPictures(), sound)

    resume, takeover, trouble = Verb.RESUME, Verb.TAKEOVER, "The robot has made a protective stop: look at the cell."
    over = (resume, Verb.SUCCEED, Saved())
    after = {"episode": 13, "episodes_done": 13, "episode_s": 0.0, "recent": (*RECENT, True)}
    blind = {
        **{"config": GateConfig(mode="evaluate"), "trainer": TrainerStatus(), "blind": True, "version": -1},
        **{"swapped_ns": None, "expert_labels": 0, "pictures": start},
    }
    idle = TrainerStatus(TrainerState.IDLE, 0.0, LOSSES, None, 38, 0)
    blended = FirstPictures(None, "episode 3", old, mode=Mode.BLEND)
    return {
        "idle": view(pictures=start, trainer=idle, episode=12, episode_s=0.0),
        "idle_overlay": view(pictures=start, trainer=idle, episode=12, episode_s=0.0, overlay=blended),
        "learner": view(resume, device="PlayStation pad"),
        "learner_unsure": view(resume, alarm=1.6, alarmed=True),
        "learner_swapped": view(resume, swapped_ns=NOW_NS - NS_PER_S, episode_s=0.9, pictures=start),
        "transition": view(resume, takeover, then_s=0.1),
        "expert": view(resume, takeover),
        "expert_keyboard": view(resume, takeover, device="keyboard"),
        "expert_spacemouse": view(resume, takeover, device="SpaceMouse Compact"),
        "expert_dead_man": view(resume, Deadman(True), config=GateConfig(style="deadman"), device="SpaceMouse Compact"),
        "expert_at_a_limit": view(
            resume, takeover, limit="The target is outside the workspace box, so the arm stays at its wall."
        ),
        "hold": view(resume, Verb.HOLD),
        "saving": view(resume, Verb.SUCCEED, then_s=0.0, sound=False),
        "stopping": view(resume, Verb.HOLD, then_s=0.1, moving=True),
        "resetting": view(
            *over, pictures=start, trainer=TrainerStatus(TrainerState.CHECKING, 0.0, LOSSES, 2.0), moving=True, **after
        ),
        "done": view(
            *(*over, PlanDone(True), ResetDone()),
            **{**after, "pictures": start, "trainer": idle, "episode": 40, "episodes_done": 40},
            plan_done="All 40 episodes are done.",
            ends_in_s=21.0,
        ),
        "fault": view(resume, Fault(trouble), alarms=(trouble,), arm=Cadence(500, 431, 0.08)),
        "fault_cleared": view(
            *(resume, Fault(trouble), FaultCleared()),
            notice="The fault is cleared; resume or reset goes on.",
            arm=Cadence(500, 499.8, 0.0006),
        ),
        "refusal": view(resume, takeover, refusal="A hand-back within 0.25 s of the takeover is not followed."),
        "correction_dropped": view(
            resume,
            notice="The correction lasted 0.31 s, less than 0.5 s, so nobody learns from it; it is kept in the "
            "recording.",
        ),
        "no_news": view(resume, heard_ns=NOW_NS - 3 * NS_PER_S),
        "collect": view(
            resume, config=GateConfig(mode="collect"), trainer=TrainerStatus(), version=-1, swapped_ns=None
        ),
        "comparing": view(
            **{**blind, "episode": 12, "episode_s": 0.0},
            start="Pair 7 of 20 begins: put up a start that you can rebuild.",
        ),
        "comparing_again": view(
            **{**blind, **after},
            overlay=replace(blended, title="episode 12"),
            start="Pair 7 of 20 once more: rebuild the same start.",
            start_again=12,
        ),
        "comparing_learner": view(resume, **{**blind, "pictures": grasp, "episode": 14, "episodes_done": 13}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/window"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, view in views().items():
        surface = pygame.Surface((Canvas.WIDTH, Canvas.HEIGHT))
        draw(surface, view, NOW_NS)
        picture = Image.fromarray(np.ascontiguousarray(pygame.surfarray.array3d(surface).swapaxes(0, 1)))
        content = io.BytesIO()
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
        (out / f"{name}.png").write_bytes(content.getvalue())
        print(f"{out / name}.png: {len(content.getvalue()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
