"""The method against everything that it is compared with: which runs there are, and one run from start to end.

A run is a task, a row of the table (a method, perhaps at another rank schedule) and a seed, in a folder of its own that
holds its result once it is finished. Tables and pictures of results are drawn in methods_report.py.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data.episode import Episode
from data.errors import DataError
from data.files import read_json, write_json
from data.session import finished_episodes
from drift_robot.adapt import AdaptFigures, adapt
from drift_robot.bootstrap import BootstrapFigures, bootstrap
from drift_robot.collect import collect
from drift_robot.compute import chosen_device, processor_name
from drift_robot.config import Config, RankConfig
from drift_robot.errors import UserError
from drift_robot.evaluate import Evaluation, evaluate
from drift_robot.report import EpisodeFigures
from drift_robot.run_folder import RunFolder
from drift_robot.workers import shared_out
from policies.checkpoint import load_manifest
from policies.errors import PolicyError
from policies.methods import METHODS, MethodName

MAIN_METHODS: tuple[MethodName, ...] = ("BC", "HG", "D(L)", "D(LR)", "D(RR)")

OPTIONS: dict[str, dict[str, Any]] = {
    "spectrum": {"allocation": "spectrum"},
    "policy": {"scope": "policy"},
    "rising": {"rises_at": 1.5},
}
"""What goes beyond the paper, each as changes of the `rank` section."""


@dataclass(frozen=True)
class Row:
    """What is compared: a method, with a rank schedule. `folder` names its runs' folders.

    `demonstrations` is how many there are, None for as many as the configuration and the method say.
    """

    name: str
    method: MethodName
    rank: RankConfig
    demonstrations: int | None = None

    @property
    def folder(self) -> str:
        """The name in letters, digits and dashes."""
        return "-".join("".join(c if c.isalnum() or c in "._" else " " for c in self.name).split())


@dataclass(frozen=True)
class Job:
    """One run that is to be done."""

    task: str
    row: Row
    seed: int
    config: Config
    path: Path


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end, and why in one sentence."""

    job: Job
    sentence: str


@dataclass(frozen=True)
class Result:
    """What a run gave. Times in seconds; losses are means over an epoch or a round.

    Labels are steps that the expert drove. `offline` figures are of the first version; without an online phase it is
    the final one. Durations are of successes, None without any. `said` is what went wrong on the way. `machine` is the
    processor that trained, by name; older runs do not tell.
    """

    task: str
    row: str
    method: str
    seed: int
    successes_offline: int
    successes: int
    evaluated: int
    duration_s: float | None
    duration_std_s: float | None
    demonstrations: int
    labels_offline: int
    labels_online: int
    updates_offline: int
    updates_online: int
    training_seconds_offline: float
    training_seconds_online: float
    batch_seconds_offline: float
    batch_seconds_online: float
    ranks: list[int]
    losses_offline: list[float]
    losses_online: list[float]
    versions_swapped: int
    episodes: list[EpisodeFigures]
    said: list[str]
    machine: str | None = None

    @property
    def success(self) -> float:
        """The final success rate."""
        return self.successes / self.evaluated

    @property
    def success_offline(self) -> float:
        """The success rate after the offline phase."""
        return self.successes_offline / self.evaluated

    @property
    def labels(self) -> int:
        """All labels."""
        return self.labels_offline + self.labels_online

    @property
    def training_hours(self) -> float:
        """The cumulative training time."""
        return (self.training_seconds_offline + self.training_seconds_online) / 3600

    @property
    def batch_seconds(self) -> float:
        """The mean time of a batch over both phases."""
        total = self.batch_seconds_offline * self.updates_offline + self.batch_seconds_online * self.updates_online
        return total / (self.updates_offline + self.updates_online)


def method_rows(
    config: Config,
    methods: Sequence[str],
    schedules: Sequence[str] = (),
    r_mins: Sequence[int] = (),
    options: Sequence[str] = (),
    demonstrations: Sequence[int] = (),
) -> list[Row]:
    """Return the rows of the table.

    Methods, then BC with other numbers of demonstrations, then D(RR) with other schedules, with other final ranks, and
    with options; what is named twice is one row. A schedule is a kind, or a kind and its steepness as in "sigmoid:0.1";
    an option is one of OPTIONS.
    Raises UserError for one that there is not.
    """
    rows = [Row(method, method, config.rank) for method in map(_method, methods)]
    for count in demonstrations:
        if not 1 <= count <= _demonstrations_of_bc(config):
            raise UserError(
                f"--demonstrations: {count} should be between 1 and {_demonstrations_of_bc(config)}, as many as BC has."
            )
        rows.append(Row(f"BC {count}", "BC", config.rank, count))
    for schedule in schedules:
        kind, _, steepness = schedule.partition(":")
        try:
            changes = {"kind": kind} | ({"steepness": float(steepness)} if steepness else {})
            rank = RankConfig(**{**asdict(config.rank), **changes})
        except ValueError as error:
            raise UserError(
                f"--schedules: '{schedule}' should be linear, cosine, sigmoid, exponential or logarithmic, with its "
                "steepness if need be, as in sigmoid:0.1."
            ) from error
        rows.append(Row(f"D(RR) {schedule.replace(':', ' ')}", "D(RR)", rank))
    for r_min in r_mins:
        if not 1 <= r_min <= config.rank.r_max:
            raise UserError(f"--r-min: {r_min} should be between 1 and 'rank.r_max' ({config.rank.r_max}).")
        rows.append(Row(f"D(RR) r_min {r_min}", "D(RR)", replace(config.rank, r_min=r_min)))
    for option in options:
        if option not in OPTIONS:
            raise UserError(f"--options: '{option}' should be one of {', '.join(OPTIONS)}.")
        rows.append(Row(f"D(RR) {option}", "D(RR)", replace(config.rank, **OPTIONS[option])))
    return list({row.name: row for row in rows}.values())


def _demonstrations_of_bc(config: Config) -> int:
    return config.collect.episodes + config.adapt.episodes


def _method(name: str) -> MethodName:
    for method in METHODS:
        if method.lower() == name.lower():
            return method
    raise UserError(f"--methods: '{name}' should be one of {', '.join(METHODS)}.")


def method_jobs(
    config: Config, tasks: Sequence[str], rows: Sequence[Row], seeds: Sequence[int], out: Path
) -> list[Job]:
    """Return all runs, seed by seed, so that whatever is finished at any time compares like with like.

    Raises UserError if the configuration has its training done elsewhere.
    """
    if config.adapt.store is not None:
        raise UserError("The runs of 'benchmark methods' train on this machine: remove 'adapt.store'.")
    return [
        Job(task, row, seed, run_config(config, task, row, seed), out / task / row.folder / f"seed-{seed}")
        for seed in seeds
        for task in tasks
        for row in rows
    ]


def run_config(config: Config, task: str, row: Row, seed: int) -> Config:
    """Return the configuration of one run.

    A method without an online phase gets a demonstration for each online episode of the others, unless the row says how
    many, and as many training batches as they have in both phases.
    """
    config = replace(config, cell=replace(config.cell, task=task), method=row.method, rank=row.rank, seed=seed)
    if METHODS[row.method].online is not None:
        return config
    offline, online = config.bootstrap, config.adapt
    extra = math.ceil(online.episodes * online.batches_per_round / offline.epochs)
    return replace(
        config,
        collect=replace(config.collect, episodes=row.demonstrations or _demonstrations_of_bc(config)),
        bootstrap=replace(offline, batches_per_epoch=offline.batches_per_epoch + extra),
    )


def run_jobs(jobs: Sequence[Job], workers: int) -> Iterator[Result | Failure]:
    """Do runs, several side by side; an interrupted one goes on where it stopped, and one that fails stops no other."""
    if jobs:
        with shared_out(run_job, [(job,) for job in jobs], workers) as ended:
            yield from ended


def run_job(job: Job) -> Result | Failure:
    """Do one run in this process (its trainer in another), and write its result; a failed one writes none."""
    try:
        result = _run(job)
    except (UserError, DataError, PolicyError) as error:
        return Failure(job, str(error))
    write_json(job.path / "result.json", asdict(result))
    return result


def read_result(job: Job) -> Result | None:
    """Return what a run gave, or None before its end."""
    path = job.path / "result.json"
    if not path.exists():
        return None
    content = read_json(path)
    return Result(**{**content, "episodes": [EpisodeFigures(**episode) for episode in content["episodes"]]})


def _run(job: Job) -> Result:
    """Collect, bootstrap, evaluate, adapt and evaluate again. Raises UserError if the trainer left batches out."""
    config, run, said = job.config, RunFolder(job.path), list[str]()
    collect(config, run, _silent)
    offline = bootstrap(config, run, _silent)
    first = evaluate(config, run.versions().path(0), config.evaluate.episodes, 1, _silent)
    online, final = None, first
    if METHODS[config.method].online is not None:
        online = adapt(config, run, _silent, said.append)
        wanted = config.adapt.episodes * config.adapt.batches_per_round
        if config.adapt.pace == "episode" and online.updates != wanted:
            raise UserError(
                f"{job.path}: the trainer made {online.updates} of {wanted} batches ({' '.join(said)}); remove the "
                "folder, and the same command does the run anew."
            )
        final = evaluate(config, run.versions().path(online.final_version), config.evaluate.episodes, 1, _silent)
    return _result(job, run, offline, first, online, final, said)


def _result(
    job: Job,
    run: RunFolder,
    offline: BootstrapFigures,
    first: Evaluation,
    online: AdaptFigures | None,
    final: Evaluation,
    said: list[str],
) -> Result:
    episodes = online.episodes if online else []
    return Result(
        task=job.task,
        row=job.row.name,
        method=job.row.method,
        seed=job.seed,
        successes_offline=sum(first.outcomes.values()),
        successes=sum(final.outcomes.values()),
        evaluated=len(final.outcomes),
        duration_s=final.duration_s if final.success.rate else None,
        duration_std_s=final.duration_std_s if final.success.rate else None,
        demonstrations=offline.demonstrations,
        labels_offline=sum(len(Episode.open(path).column("owner")) for path in finished_episodes(run.demonstrations)),
        labels_online=sum(episode.expert_labels for episode in episodes),
        updates_offline=offline.updates,
        updates_online=online.updates if online else 0,
        training_seconds_offline=offline.training_seconds,
        training_seconds_online=online.training_seconds if online else 0.0,
        batch_seconds_offline=offline.batch_seconds,
        batch_seconds_online=online.batch_seconds if online else 0.0,
        ranks=offline.ranks,
        losses_offline=list(load_manifest(run.versions().path(0)).figures["losses"]),
        losses_online=_round_losses(run),
        versions_swapped=online.swaps if online else 0,
        episodes=episodes,
        said=said,
        machine=processor_name(chosen_device(job.config.compute)),
    )


def _round_losses(run: RunFolder) -> list[float]:
    """Return the loss of each round; of one that was done again after an interruption, the last."""
    losses: dict[int, float] = {}
    if run.trainer_figures.exists():
        for line in run.trainer_figures.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            losses[told["rounds"]] = told["losses"][-1]
    return [losses[number] for number in sorted(losses)]


def _silent(done: int, total: int, words: str) -> None:
    """Many runs side by side show how many are finished, not how far each is."""
