"""What the benchmarks of the emulated cell share: their options, the trainer as load, and how figures are told.

`--load` starts the real trainer in its own process, as a session does, on data and a policy made on the spot; it trains
round after round. Nothing here knows of arms or cameras.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

Row: TypeAlias = Mapping[str, str | float]
Conditions: TypeAlias = dict[str, str | float]
UNET_DIMS = [64, 128]
START_S = 300.0


def options(doc: str | None, host: str, seconds: float) -> argparse.ArgumentParser:
    """Return the options that all of them have; `seconds` is the default time of a measurement."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=seconds, help="time measured (default %(default)g)")
    parser.add_argument("--host", default=host, help="loopback address of the emulated robot (default %(default)s)")
    parser.add_argument("--load", action="store_true", help="with the trainer at full load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    return parser


def percentiles(values: ArrayLike, *shares: float) -> dict[str, float]:
    """Return percentiles and the maximum of values by name, p50 for instance; of those that are numbers, if any."""
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return {}
    return {f"p{share:g}": float(np.percentile(numbers, share)) for share in shares} | {"max": float(numbers.max())}


def figures(name: str, values: ArrayLike, *shares: float) -> dict[str, float]:
    """Return percentiles and the maximum with a name before each."""
    return {f"{name} {key}".strip(): value for key, value in percentiles(values, *shares).items()}


def report(conditions: Conditions, tables: Mapping[str, Sequence[Row]], file: Path | None) -> None:
    """Print conditions and tables, as docs/measurements.md has them, and write both to a file if there is one."""
    print("; ".join(f"{name}: {_text(value)}" for name, value in conditions.items()))
    for title, rows in tables.items():
        print(f"\n{title}\n\n{table(rows)}")
    if file is not None:
        file.write_text(json.dumps({"conditions": conditions, **tables}, indent=2) + "\n")


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table in Markdown."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_text(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _text(value: str | float) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


@contextmanager
def conditions(load: bool) -> Iterator[Conditions]:
    """Give what has to be told with figures measured inside: cores, load average before and after, and the trainer."""
    told: Conditions = {"cores": os.cpu_count() or 1, "load average before": _load_average()}
    with trainer_at_full_load(load) as trainer:
        began_s, used_s = time.monotonic(), _cpu_seconds(trainer)
        told["trainer"] = "none"
        yield told
        if trainer is not None:
            cores = (_cpu_seconds(trainer) - used_s) / (time.monotonic() - began_s)
            niceness = os.getpriority(os.PRIO_PROCESS, trainer)
            told["trainer"] = (
                f"U-Net {UNET_DIMS}, {os.cpu_count()} threads, niceness {niceness}, {cores:.2f} cores used"
            )
        told["load average after"] = _load_average()


@contextmanager
def trainer_at_full_load(wanted: bool) -> Iterator[int | None]:
    """Run the trainer; gives its process number once it trains, None if it is not wanted."""
    if not wanted:
        yield None
        return
    from drift_robot.realtime.child import fit_for_children
    from drift_robot.realtime.supervisor import TRAINER_NICENESS
    from drift_robot.run_folder import RunFolder
    from drift_robot.trainer import TrainerProcess

    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        config = _prepared(run)
        with fit_for_children():
            trainer = TrainerProcess(config, run)
        try:
            pid = trainer.pid or 0
            os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + TRAINER_NICENESS)
            deadline_s = time.monotonic() + START_S
            while (word := trainer.word()) is None or word.state != "training":
                if not trainer.alive() or time.monotonic() > deadline_s:
                    raise SystemExit("The trainer, which was to be the load, did not start to train.")
                time.sleep(0.1)
            yield pid
        finally:
            trainer.stop()


def _prepared(run: Any) -> Any:
    """Make demonstrations, a policy and a corrected episode for the trainer; return its configuration."""
    from data.schema import Outcome, Owner
    from drift_robot.bootstrap import bootstrap
    from drift_robot.collect import collect
    from drift_robot.config import config_from_dict
    from drift_robot.lockstep import LockstepCell, episode_layout, run_episodes
    from drift_robot.run_folder import open_session

    config = config_from_dict(
        {
            "policy": {"unet_dims": UNET_DIMS},
            "rank": {"r_max": 16, "r_min": 16},
            "collect": {"episodes": 4},
            "bootstrap": {"epochs": 1, "batches_per_epoch": 1, "batch_size": 16, "threads": 1},
            "adapt": {
                **{"pace": "free", "batches_per_round": 10, "threads": os.cpu_count(), "hold_out": 0},
                "candidate_labels": 1_000_000,
            },
        },
        "the load",
    )
    collect(config, run, lambda *_: None)
    bootstrap(config, run, lambda *_: None)
    (log,) = run_episodes([LockstepCell(config, "collect")], None, [7])
    writer = open_session(run.session, config).write_episode(episode_layout(config), {"scene_seed": 7})
    for index, step in enumerate(log.steps):
        writer.append(replace(step, owner=Owner.EXPERT if index >= 8 else Owner.LEARNER, version=0))
    writer.finish(Outcome.SUCCESS)
    return config


def _load_average() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _cpu_seconds(pid: int | None) -> float:
    """Return the processor time that a process has used."""
    if pid is None:
        return 0.0
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
