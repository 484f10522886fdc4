"""The command `drift-robot benchmark methods`: its options, and what it shows while runs are finished."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from drift_robot.errors import UserError
from drift_robot.stages import Stages

SEEDS_BELOW = 1_000_000
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "methods.yaml"


def methods(
    tasks: Annotated[str, typer.Option(help="Simulated tasks, separated by commas.")] = "lift",
    methods: Annotated[
        str, typer.Option(help="Separated by commas; main is BC,HG,D(L),D(LR),D(RR), all has FPMO to QLoRA as well.")
    ] = "main",
    seeds: Annotated[str, typer.Option(help="Separated by commas, or a range such as 0-4.")] = "0",
    demonstrations: Annotated[
        str, typer.Option(help="Also BC with other numbers of demonstrations, such as 12,24,36: what labels are worth.")
    ] = "",
    schedules: Annotated[
        str, typer.Option(help="Also D(RR) with other rank schedules, such as linear,sigmoid:0.1,exponential:0.5.")
    ] = "",
    r_min: Annotated[str, typer.Option(help="Also D(RR) with other final ranks, such as 4,8,32.")] = "",
    options: Annotated[
        str, typer.Option(help="Also D(RR) with what goes beyond the paper: spectrum,policy,rising.")
    ] = "",
    config: Annotated[
        Path, typer.Option(help="Sizes and all else; task, method, rank and seed are put in.", show_default=False)
    ] = CONFIG,
    out: Annotated[Path, typer.Option(help="A folder for each run, and the report.")] = Path("runs/methods"),
    finished: Annotated[
        bool, typer.Option("--finished", help="Run nothing more: report what is finished of this.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Runs side by side. Each takes a core and at times two, so batch times suffer.")
    ] = 1,
) -> None:
    """Run the method beside what it is compared with: the same tasks, seeds and budget for each.

    Methods: BC, HG, D(L), D(LR), D(RR), FPMO, MPLO, QR, DSR, QLoRA. For each task, method and seed: collect, bootstrap,
    adapt, evaluate. BC does not learn online; it gets a demonstration for each online episode of the others and as many
    batches in all. After each run table.md, curves.png and results.json are written anew; what is finished is not done
    again, and after Ctrl-C the same command goes on.
    """
    from drift_robot.benchmark.methods import MAIN_METHODS, Failure, method_jobs, method_rows, read_result, run_jobs
    from drift_robot.benchmark.methods_report import print_tables, write_report
    from drift_robot.config import LOCKSTEP_TASK_NAMES, check_together, load_config
    from drift_robot.run_folder import RunFolder, claim, occupied
    from policies.methods import METHODS

    settings = load_config(config)
    chosen_tasks = _listed(tasks)
    if unknown := [task for task in chosen_tasks if task not in LOCKSTEP_TASK_NAMES]:
        raise UserError(f"--tasks: '{unknown[0]}' should be one of {', '.join(LOCKSTEP_TASK_NAMES)}.")
    for task in chosen_tasks:
        check_together(replace(settings, cell=replace(settings.cell, task=task)), f"{config} with --tasks {task}")
    groups: dict[str, list[str]] = {"main": list(MAIN_METHODS), "all": list(METHODS)}
    rows = method_rows(
        settings,
        groups.get(methods, _listed(methods)),
        _listed(schedules),
        [_number(r, "--r-min") for r in _listed(r_min)],
        _listed(options),
        [_number(count, "--demonstrations") for count in _listed(demonstrations)],
    )
    jobs = method_jobs(settings, chosen_tasks, rows, _seeds(seeds), out)
    if not jobs:
        raise UserError("There is nothing to run: --tasks, --seeds and rows (--methods or another) are all needed.")
    with occupied(RunFolder(out)):
        found = [(job, read_result(job)) for job in jobs]
        results = [result for _, result in found if result is not None]
        waiting = [] if finished else [job for job, result in found if result is None]
        if finished and not results:
            raise UserError(f"None of these runs is finished in {out}: leave out --finished to do them.")
        for job, result in found:
            if result is not None or not finished:
                claim(RunFolder(job.path), job.config)
        console = Console()
        stages, failed, total = Stages(console), 0, len(results) + len(waiting)
        if results:
            write_report(results, out)
        with stages.stage("benchmark methods") as progress:
            progress(len(results), total, "")
            for ended in run_jobs(waiting, workers):
                if isinstance(ended, Failure):
                    failed += 1
                    stages.say(f"{_words(ended.job.task, ended.job.row.name, ended.job.seed)}: {ended.sentence}")
                    continue
                results.append(ended)
                words = _words(ended.task, ended.row, ended.seed)
                for sentence in ended.said:
                    stages.say(f"{words}: {sentence}")
                progress(len(results), total, f"{words}: {ended.successes} of {ended.evaluated}")
                write_report(results, out)
    if results:
        print_tables(results, console)
        console.print(f"Written: table.md, curves.png and results.json in {out}.")
    if failed:
        raise UserError(f"{failed} of {total} runs failed, as said above; the same command tries them again.")


def _words(task: str, row: str, seed: int) -> str:
    return f"{task}, {row}, seed {seed}"


def _listed(text: str) -> list[str]:
    """Return what is between the commas, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _seeds(text: str) -> list[int]:
    """Return the seeds of a list or a range. Raises UserError."""
    first, dash, last = text.partition("-")
    if not dash:
        chosen = [_seed(part, text) for part in _listed(text)]
    elif (low := _seed(first, text)) <= (high := _seed(last, text)):
        chosen = list(range(low, high + 1))
    else:
        raise UserError(f"--seeds: '{text}' is a range that ends before it begins; {high}-{low} is meant?")
    return list(dict.fromkeys(chosen))


def _seed(part: str, text: str) -> int:
    number = int(part) if part.strip().isdecimal() else -1
    if not 0 <= number < SEEDS_BELOW:
        raise UserError(f"--seeds: '{text}' should be numbers below {SEEDS_BELOW}, as in 0,1,2, or a range as in 0-4.")
    return number


def _number(text: str, option: str) -> int:
    if not text.strip().isdecimal():
        raise UserError(f"{option}: '{text}' should be a whole number.")
    return int(text)
