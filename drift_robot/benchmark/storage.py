"""What recording and reading cost: two cameras and the arm's log to disk, and training windows from memory.

Live, a thread of its own puts pictures (30 Hz) and arm records (500 Hz) into a session's rings at their times, whatever
the writer does; what is overwritten before it was read is lost. The baselines are plain zarr: an array a column that
the library appends to, a chunk a picture; and windows sliced from arrays in memory one by one, as diffusion_policy
does.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import zarr

from data.buffer import ReplayBuffer
from data.episode import Episode, EpisodeWriter
from data.schema import EpisodeLayout, Outcome, Owner, Step, step_of
from data.windows import Source
from drift_robot.benchmark.turns import Row, compared, in_turns, milliseconds
from drift_robot.realtime import records
from drift_robot.realtime.lines import ARM_SLOTS, RECORDING_SLOTS
from drift_robot.realtime.recorder_process import POLL_S
from hardware.rings import Ring, RingReader, RingWriter

CPU = torch.device("cpu")
FRAMES_HZ, ARM_HZ = 30, 500
OBS_HORIZON, PRED_HORIZON, BATCH = 2, 16, 64


@dataclass(frozen=True)
class Recording:
    """What the live recording gave: the writer's processor time, in ms a second, what was lost, and its size."""

    writer_ms: list[float]
    frames_lost: int
    arm_records_lost: int
    bytes_per_minute: float


def storage(height: int, width: int, seconds: int, rounds: int) -> Iterator[list[Row]]:
    """Yield the rows of recording, then those of reading."""
    layout = EpisodeLayout(0, dict.fromkeys(("front", "wrist"), (height, width)))
    about: dict[str, str | float] = {"cameras": f"two, {width}x{height}, {FRAMES_HZ} Hz", "arm log": f"{ARM_HZ} Hz"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = some_steps(layout, FRAMES_HZ)
        recording = record_live(folder, layout, steps, seconds)
        told = in_turns({"zarr library, a chunk a picture": lambda: _write_plain(folder, steps)}, rounds)
        (plain,) = compared(told, "zarr library, a chunk a picture", about)
        live = median(recording.writer_ms)
        yield [
            plain,
            {
                **about,
                "measured": "recorded live: a second of pictures and arm log",
                "median_ms": live,
                "ratio": live / float(plain["median_ms"] or 0),
                "baseline": plain["measured"],
                "core_share": live / 1e3,
                "frames_lost": float(recording.frames_lost),
                "arm_records_lost": float(recording.arm_records_lost),
                "mb_per_minute": recording.bytes_per_minute / 1e6,
            },
        ]
    yield windows_read(rounds, about)


def some_steps(layout: EpisodeLayout, count: int) -> list[Step]:
    """Return steps with pictures that compress as real ones do: smooth, with the noise of a sensor."""
    rng = np.random.default_rng(0)

    def picture(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        smooth = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 120, width))[:, :, None]
        return np.clip(smooth + rng.normal(0, 2, (height, width, 3)), 0, 255).astype(np.uint8)

    return [
        Step(
            time_ns=index * 10**9 // FRAMES_HZ,
            tcp=rng.normal(size=9).astype(np.float32),
            commanded=rng.normal(size=9).astype(np.float32),
            gripper=rng.random(1).astype(np.float32),
            joints=rng.normal(size=6).astype(np.float32),
            joint_velocities=rng.normal(size=6).astype(np.float32),
            wrench=rng.normal(size=6).astype(np.float32),
            objects=np.zeros(0, np.float32),
            arm_capture_ns=0,
            receipt_ns=0,
            command_ns=0,
            action_executed=rng.normal(size=10).astype(np.float32),
            owner=Owner.EXPERT,
            images={name: picture(*size) for name, size in layout.cameras.items()},
            image_capture_ns=dict.fromkeys(layout.cameras, 0),
        )
        for index in range(count)
    ]


def record_live(folder: Path, layout: EpisodeLayout, steps: Sequence[Step], seconds: int) -> Recording:
    """Record for some seconds as the recorder does: drain the rings every 20 ms, flush every second."""
    writer = EpisodeWriter.create(folder, 0, layout)
    with (
        Ring(records.recording_dtype(layout), RECORDING_SLOTS) as frames,
        Ring(records.ARM, ARM_SLOTS) as arm,
    ):
        source = threading.Thread(
            target=_produce, args=(RingWriter(frames.handle), RingWriter(arm.handle), steps, seconds)
        )
        frames_in, arm_in = RingReader(frames.handle), RingReader(arm.handle)
        seen, arm_seen, frames_lost, arm_lost = 0, 0, 0, 0
        writer_ms: list[float] = []
        began_s, used_ms = time.monotonic(), 1e3 * time.thread_time()
        source.start()
        over = False
        while not over:
            over = not source.is_alive()  # what came last is still read below
            for record in frames_in.since(seen):
                frames_lost += record.sequence - seen - 1
                seen = record.sequence
                writer.append(step_of(record.value, layout))
            samples = arm_in.since(arm_seen)
            if samples:
                arm_lost += samples[-1].sequence - arm_seen - len(samples)
                arm_seen = samples[-1].sequence
                writer.append_arm_log(**records.arm_log_of([sample.value for sample in samples]))
            writer.flush_if_due()
            if time.monotonic() - began_s >= 1.0:
                now_ms = 1e3 * time.thread_time()
                writer_ms.append((now_ms - used_ms) / (time.monotonic() - began_s))
                began_s, used_ms = time.monotonic(), now_ms
            time.sleep(POLL_S)
        source.join()
    path = writer.finish(Outcome.SUCCESS)
    written = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Recording(writer_ms, frames_lost, arm_lost, written * 60 / seconds)


def _produce(frames: RingWriter, arm: RingWriter, steps: Sequence[Step], seconds: int) -> None:
    """Put pictures and arm records into the rings at their times."""
    rows = [{"order": records.STEP, **step.row()} for step in steps]
    rng = np.random.default_rng(1)
    joints = rng.normal(size=(ARM_HZ, 6))
    began_ns = time.monotonic_ns()
    shown = 0
    for index in range(seconds * ARM_HZ):
        due_ns = began_ns + index * 10**9 // ARM_HZ
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        arm.write({"time_ns": due_ns, "capture_ns": due_ns, "joints": joints[index % ARM_HZ]})
        if shown * ARM_HZ <= index * FRAMES_HZ:
            frames.write(rows[shown % len(rows)])
            shown += 1


def _write_plain(folder: Path, steps: Sequence[Step]) -> dict[str, float]:
    """Write a second of pictures and arm log with the zarr library, to arrays that are there already, as ours are."""
    path = folder / "plain.zarr"
    shutil.rmtree(path, ignore_errors=True)
    arm = np.random.default_rng(1).normal(size=(ARM_HZ, 37)).astype(np.float32)
    group = zarr.open_group(path, mode="w")
    columns = {name: np.asarray(value) for name, value in steps[0].row().items()}
    arrays = {
        name: group.create_array(
            name, shape=(0, *value.shape), chunks=(1 if value.ndim == 3 else 256, *value.shape), dtype=value.dtype
        )
        for name, value in columns.items()
    }
    log = group.create_array("arm", shape=(0, arm.shape[1]), chunks=(4096, arm.shape[1]), dtype=arm.dtype)

    def work() -> None:
        for step in steps:
            for name, value in step.row().items():
                arrays[name].append(np.asarray(value)[None])
        for part in np.array_split(arm, 50):
            log.append(part)

    return {"a second of pictures and arm log": milliseconds(work, CPU)}


def windows_read(rounds: int, about: dict[str, str | float], side: int = 96, count: int = 120) -> list[Row]:
    """Return the rows of drawing batches of windows with two pictures of `side` pixels from both buffers."""
    layout = EpisodeLayout(0, dict.fromkeys(("front", "wrist"), (side, side)))
    steps = some_steps(layout, count)
    with tempfile.TemporaryDirectory() as name:
        writer = EpisodeWriter.create(Path(name), 0, layout)
        for step in steps:
            writer.append(step)
        episode = Episode.open(writer.finish(Outcome.SUCCESS))
        buffer = ReplayBuffer(OBS_HORIZON, PRED_HORIZON, cameras=tuple(layout.cameras))
        buffer.add(episode)
        plain = PlainBuffer(episode)
    rng = np.random.default_rng(0)
    told = in_turns(
        {
            PLAIN: lambda: {"batch of 64 windows": milliseconds(lambda: plain.sample(rng), CPU)},
            "replay buffer": lambda: {
                "batch of 64 windows": milliseconds(lambda: buffer.sample(BATCH, rng, {Source.DEMONSTRATION: 1.0}), CPU)
            },
        },
        rounds,
    )
    about = {"cameras": f"two, {side}x{side}"}
    rows = compared(told, PLAIN, about)
    return [row | {"windows_per_second": 1e3 * BATCH / max(float(row["median_ms"] or 0), 1e-6)} for row in rows]


PLAIN = "zarr arrays in memory, window by window"


class PlainBuffer:
    """An episode in zarr arrays in memory, a chunk a picture, from which windows are sliced one by one."""

    def __init__(self, episode: Episode) -> None:
        group = zarr.open_group(zarr.storage.MemoryStore(), mode="w")
        names = ("observation.tcp", "observation.commanded", "observation.gripper", "action.executed")
        self._pictures = [f"observation.images.{name}" for name in episode.layout.cameras]
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._steps = episode.steps
        for name in (*names, *self._pictures):
            column = episode.column(name)
            chunk = 1 if name in self._pictures else len(column)
            self._arrays[name] = group.create_array(name, data=column, chunks=(chunk, *column.shape[1:]))

    def sample(self, rng: np.random.Generator) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
        """Return a batch of windows, stacked."""
        starts = rng.integers(OBS_HORIZON - 1, self._steps - PRED_HORIZON, BATCH)
        windows = [
            {
                name: np.asarray(
                    array[start : start + PRED_HORIZON]
                    if name == "action.executed"
                    else array[start + 1 - OBS_HORIZON : start + 1]
                )
                for name, array in self._arrays.items()
            }
            for start in starts.tolist()
        ]
        return {name: np.stack([window[name] for window in windows]) for name in self._arrays}
