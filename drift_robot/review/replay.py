"""`drift-robot replay`: plays an episode again and shows how closely the arm repeated what it had measured.

What moves the arm is in `playback`, the distances between two motions in `fidelity`.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.colours import OWNER_COLOURS
from data.episode import EPISODES, Episode
from data.errors import DataError
from data.files import write_json
from data.schema import Owner
from data.session import Session, is_session
from drift_robot.calibrate.enforcement import enforced_limits
from drift_robot.config import Config, config_from_dict, load_config
from drift_robot.errors import UserError
from drift_robot.review.fidelity import Deviation, Track, best_shift_s, deviation, rms
from drift_robot.review.playback import Motion, Played, cut_by_limits, motion_of, play_in_cell, play_on_arm
from hardware.cell.tasks import LOCKSTEP_TASKS
from hardware.devices import DevicesConfig
from hardware.errors import DeviceError

CELL_SPEED, ARM_SPEED = 1.0, 0.25
"""Shares of the recorded speed, unless told otherwise."""
GOAL_MM = 2.0
"""What a replay in the simulated cell shall keep, root mean square."""
FIGURES_FILE, PICTURE_FILE = "replay.json", "replay.png"
RECORDED_COLOUR, REPLAYED_COLOUR = "#8c959f", OWNER_COLOURS[Owner.EXPERT]


@dataclass(frozen=True)
class Replay:
    """A replay beside its recording, both in seconds of the recording.

    `recorded` is the part that was played, `replayed` what was measured meanwhile. `same_time` compares at the same
    time after the first step, `shifted` with the constant shift that fits best, as arms and speeds differ in lag.
    `steps` counts the steps that were begun, `cut` the waypoints that workspace box and table did not let through.
    """

    episode: Episode
    where: str
    speed: float
    steps: int
    cut: int
    played: Played
    recorded: Track
    replayed: Track
    same_time: Deviation
    shifted: Deviation

    def comparisons(self) -> dict[str, Deviation]:
        """Return both comparisons by what they are, in words; only one where no shift fits better."""
        shift_ms = round(1e3 * self.shifted.shift_s)
        shift = f"{abs(shift_ms)} ms {'later' if shift_ms > 0 else 'earlier'}, lag taken out"
        return {"at the same time": self.same_time} | ({shift: self.shifted} if shift_ms else {})

    def document(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "episode": str(self.episode.path),
            "where": self.where,
            "speed": self.speed,
            "steps": self.episode.steps,
            "steps_played": self.steps,
            "recorded_outcome": self.episode.outcome.value,
            "succeeded": self.played.succeeded,
            "stopped": self.played.stopped,
            "goal_rms_mm": GOAL_MM,
            "same_time": self.same_time.figures(),
            "shifted": {"shift_ms": round(1e3 * self.shifted.shift_s), **self.shifted.figures()},
            "waypoints_cut": self.cut,
            "periods": self.played.periods,
            "limited_periods": {limit.name.lower(): count for limit, count in self.played.limited.items()},
        }


def replay(
    path: Path, config_file: Path | None, simulate: bool, speed: float | None, confirm: Callable[[str], None]
) -> Replay:
    """Play an episode; before an arm moves, `confirm` gets the plan in words and raises if the operator does not agree.

    Raises DataError or UserError for an episode or a configuration that cannot be replayed, DeviceError for a device,
    KeyboardInterrupt if the operator stops the arm before the first step.
    """
    if is_session(path):
        raise DataError(f"{path} is a session; name one of its episodes, such as {path / EPISODES / '000000.zarr'}.")
    episode, source = Episode.open(path), str(config_file or path.resolve().parent.parent)
    config = load_config(config_file) if config_file else _recorded_config(path)
    config = replace(config, limits=enforced_limits(config))
    motion, seed = motion_of(episode), episode.attributes.get("scene_seed")
    cut = cut_by_limits(motion, config.limits, source)
    if config.devices is None or simulate:
        if config.cell.task not in LOCKSTEP_TASKS:
            raise UserError(f"The simulated cell has no task '{config.cell.task}'; it has {', '.join(LOCKSTEP_TASKS)}.")
        where, speed = "simulated cell", speed or CELL_SPEED
        played = play_in_cell(config, motion, 0 if seed is None else int(seed), speed)
    else:
        where, speed = f"arm at {config.devices.arm.host}", speed or ARM_SPEED
        confirm(_plan(config.devices, motion, speed, cut, source))
        logging.getLogger("hardware").addHandler(logging.NullHandler())  # what a driver says is told once, by us
        played = play_on_arm(config, config.devices, motion, None if seed is None else int(seed), speed)
    if played.track is None:
        if played.interrupted:
            raise KeyboardInterrupt
        raise DeviceError(f"The episode's first step did not begin. {played.stopped}")
    end_s = float(played.track.times_s[-1])
    recorded = motion.measured.until(end_s)
    return Replay(
        episode=episode,
        where=where,
        speed=speed,
        steps=int((motion.begins_s <= end_s).sum()),
        cut=cut,
        played=played,
        recorded=recorded,
        replayed=played.track,
        same_time=deviation(recorded, played.track),
        shifted=deviation(recorded, played.track, best_shift_s(recorded, played.track)),
    )


def default_folder(done: Replay) -> Path:
    """Return where figures and picture go unless told otherwise."""
    place = "simulated" if done.where.startswith("simulated") else "arm"
    return done.episode.path.resolve().parent.parent / "replays" / f"{done.episode.index:06d}-{place}"


def save(done: Replay, folder: Path) -> None:
    """Write figures and picture to a folder. Raises UserError if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / FIGURES_FILE, done.document())
        _draw(done, folder / PICTURE_FILE)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}; choose another folder with --out.") from error


def show(done: Replay, folder: Path, console: Console, as_json: bool) -> None:
    """Print the figures."""
    if as_json:
        console.print_json(json.dumps(done.document()))
        return
    table = Table(header_style="bold")
    table.add_column("measured against the recording")
    for name in ("RMS, mm", "max, mm", "RMS, deg", "max, deg"):
        table.add_column(name, justify="right")
    for name, apart in done.comparisons().items():
        table.add_row(name, *(f"{figure:.2f}" for figure in apart.figures().values()))
    console.print(table)
    console.print(verdict(done.same_time, done.shifted), highlight=False, soft_wrap=True)
    played = done.played
    if done.cut:
        console.print(Text(f"{done.cut} waypoints were outside workspace box or table and were cut.", "yellow"))
    for limit, count in played.limited.items():
        console.print(Text(f"In {count} of {played.periods} servo periods: {limit.value}", "yellow"))
    if played.stopped is not None:
        steps = f"{done.steps} of {done.episode.steps} steps were played."
        console.print(Text(f"{played.stopped} {steps}", "red"), soft_wrap=True)
    elif played.succeeded is not None:
        ended = "was met" if played.succeeded else "was not met"
        console.print(f"The task's goal {ended} at the end; the recording is labelled {done.episode.outcome.value}.")
    console.print(Text(f"{folder / FIGURES_FILE}, {folder / PICTURE_FILE}"), soft_wrap=True)


def verdict(same_time: Deviation, shifted: Deviation) -> str:
    """Say whether the goal is kept, and what of the distance is path and what is lag."""

    def judged(apart: Deviation, where: str) -> str:
        return f"{'kept' if rms(apart.mm) <= GOAL_MM else 'missed'} {where} ({rms(apart.mm):.2f} mm)"

    goal, lag_ms = f"Goal {GOAL_MM:g} mm RMS: ", round(1e3 * abs(shifted.shift_s))
    if not lag_ms:
        return f"{goal}{judged(same_time, 'at the same time')}."
    return (
        f"{goal}{judged(shifted, 'along the path')}, {judged(same_time, 'at the same time')}. Between the two are "
        f"{lag_ms} ms of lag, which at another speed or on another arm is another share of the motion."
    )


def _recorded_config(path: Path) -> Config:
    """Return the configuration with which an episode's session was begun. Raises UserError."""
    folder = path.resolve().parent.parent
    try:
        return config_from_dict(dict(Session.open(folder).info.configuration), str(folder))
    except (DataError, UserError) as error:
        raise UserError(f"{error} Name the configuration to replay with: --config CONFIG.") from error


def _plan(devices: DevicesConfig, motion: Motion, speed: float, cut: int, source: str) -> str:
    x, y, z = motion.first.position.tolist()
    recorded_s = float(motion.times_s[-1])
    limited = f" {cut} of {len(motion.actions)} waypoints are outside the limits and will be cut." if cut else ""
    return (
        f"The arm at {devices.arm.host} goes straight up where it is lower than {z:.3f} m, then straight to the first "
        f"pose of the episode at ({x:.3f}, {y:.3f}, {z:.3f}) m, and plays {recorded_s:.1f} s of recording in "
        f"{recorded_s / speed:.0f} s, within the limits of {source}.{limited} The gripper moves too. Put up the scene, "
        "clear the way, and keep a hand at the emergency stop; Ctrl-C stops the arm, which then holds."
    )


def _draw(done: Replay, path: Path) -> None:
    """Save both paths from above and from the side, and the distance over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2)
    for panel, vertical, title in ((panels[0, 0], 1, "from above"), (panels[1, 0], 2, "from the side")):
        recorded, replayed = done.recorded.positions, done.replayed.positions
        panel.plot(recorded[:, 0], recorded[:, vertical], color=RECORDED_COLOUR, linewidth=4.0, label="recorded")
        panel.plot(replayed[:, 0], replayed[:, vertical], color=REPLAYED_COLOUR, linewidth=1.2, label="replayed")
        panel.set(title=title, xlabel="x, m", ylabel=f"{'xyz'[vertical]}, m", aspect="equal", adjustable="datalim")
    for panel, unit in ((panels[0, 1], "mm"), (panels[1, 1], "deg")):
        for (name, apart), style in zip(done.comparisons().items(), ("-", ":"), strict=False):
            panel.plot(done.recorded.times_s, getattr(apart, unit), style, color=REPLAYED_COLOUR, label=name)
        panel.set(ylabel=unit, xlabel="seconds of the recording", ylim=(0, None))
    panels[0, 1].set(title="distance between recorded and replayed")
    for panel in panels[0]:
        panel.legend(frameon=False)
    figure.suptitle(f"{done.episode.path.name}, {done.where}, {done.speed:g} times the recorded speed")
    figure.savefig(path, format="png", dpi=110)
