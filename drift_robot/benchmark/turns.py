"""What the speed benchmarks share: candidates measured in turns beside their baseline, and rows of figures.

Machines are shared and their speed drifts, so a ratio is the median of ratios within a turn. On a CPU times are
processor times of this process, with one thread practically those of a quiet machine; on a GPU, times by the clock.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from drift_robot.compute import DeviceChoice, chosen_device, processor_name
from policies.frames import ACTION_DIM, POSE_DIM
from policies.policy import Observation, PolicyConfig

Row: TypeAlias = dict[str, str | float | None]
Times: TypeAlias = Mapping[str, float]
Candidate: TypeAlias = Callable[[], Times]


def prepared(device: DeviceChoice, threads: int) -> torch.device:
    """Set the number of threads and the seed; return the device to measure on. Raises UserError if there is none."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return chosen_device(device)


def now_ms(device: torch.device) -> float:
    """Return the time in ms once a device has done all that it was told."""
    if device.type == "cpu":
        return 1e3 * time.process_time()
    torch.cuda.synchronize(device)
    return 1e3 * time.perf_counter()


def in_turns(candidates: Mapping[str, Candidate], rounds: int, warm_up: int = 1) -> dict[str, list[Times]]:
    """Let every candidate measure itself once a round; return what each told, its parts in ms, by name."""
    told: dict[str, list[Times]] = {name: [] for name in candidates}
    for turn in range(warm_up + rounds):
        for name, candidate in candidates.items():
            times = candidate()
            if turn >= warm_up:
                told[name].append(times)
    return told


def compared(told: Mapping[str, Sequence[Times]], baseline: str, sizes: Mapping[str, str | float]) -> list[Row]:
    """Return a row for each part of each candidate: its median, and the median of its ratios to the baseline's.

    A part that the baseline has not, or that takes it no time, has no ratio.
    """
    rows: list[Row] = []
    for name, turns in told.items():
        for part in turns[0]:
            pairs = zip(turns, told[baseline], strict=True)
            ratios = [mine[part] / theirs[part] for mine, theirs in pairs if theirs.get(part)]
            rows.append(
                {
                    **sizes,
                    "measured": f"{name}: {part}",
                    "median_ms": median(turn[part] for turn in turns),
                    "ratio": median(ratios) if ratios else None,
                    "baseline": f"{baseline}: {part}",
                }
            )
    return rows


def made_up(config: PolicyConfig, count: int, seed: int = 0) -> tuple[Observation, Tensor]:
    """Return observations and actions of the right shapes: what they say costs nothing."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    poses = random(count, config.obs_horizon, POSE_DIM)
    images = {
        name: torch.randint(256, (count, config.obs_horizon, *size, 3), generator=generator, dtype=torch.uint8)
        for name, size in config.cameras.items()
    }
    observation = Observation(
        tcp=poses,
        commanded=poses[:, -1],
        gripper=torch.rand(count, config.obs_horizon, 1, generator=generator),
        objects=random(count, config.obs_horizon, config.object_dim),
        images=images,
    )
    return observation, random(count, config.pred_horizon, ACTION_DIM)


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long work takes."""
    began = now_ms(device)
    work()
    return now_ms(device) - began


def percentiles(values_ms: Sequence[float]) -> dict[str, float]:
    """Return the 50th and 99th percentile of times."""
    p50, p99 = np.percentile(values_ms, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def machine(device: torch.device) -> str:
    """Return in words on what was measured."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    what = processor_name(device) + ("" if device.type == "cuda" else ", no GPU used")
    return f"{what}; {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}; load {load}"


def show(rows: Sequence[Row], as_json: bool, device: torch.device) -> None:
    """Print rows as JSON, a list, or as a table in Markdown under a line about the machine."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "baseline"]
    baselines = dict.fromkeys(str(row["baseline"]).partition(": ")[0] for row in rows)
    cells = [columns, *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"{machine(device)}; ratio to: {', '.join(baselines)}\n")
    print("\n".join(lines))


def _text(value: str | float | None) -> str:
    if not isinstance(value, float):
        return value or ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
