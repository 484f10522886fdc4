"""The whole job in the simulated cell with a scripted expert as operator, and an honest report of what it gained."""

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from drift_robot.adapt import AdaptFigures, adapt
from drift_robot.bootstrap import BootstrapFigures, bootstrap, train_longer
from drift_robot.collect import collect
from drift_robot.config import Config, load_config
from drift_robot.evaluate import Evaluation, evaluate
from drift_robot.film import film_intervention, most_telling
from drift_robot.lockstep import EpisodeLog
from drift_robot.report import BatchTime, Report, draw_progress
from drift_robot.run_folder import RunFolder, claim
from drift_robot.session_report import PAGE_FILE, write_session_report
from drift_robot.stages import Stages
from hardware.cell.tasks import TASKS

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PRESETS = {"default": "demo.yaml", "smoke": "demo_smoke.yaml", "images": "demo_images.yaml"}
WORKERS = 2


def demo(preset: str, seed: int, out: Path, control: bool, console: Console) -> Report:
    """Collect, bootstrap, evaluate, adapt, evaluate again; write report, picture and film to `out`.

    An interrupted demo goes on where it stopped when it is called again with the same arguments. Raises UserError if
    `out` holds something else.
    """
    config = replace(load_config(CONFIGS / PRESETS[preset]), seed=seed)
    run = RunFolder(out)
    claim(run, config)
    stages = Stages(console)
    stages.say(f"Task: {config.cell.task}. {shift_in_words(config)} Everything is written to {out}.")
    began = time.monotonic()
    with stages.stage("collect demonstrations") as progress:
        demonstrations = collect(config, run, progress)
    with stages.stage("bootstrap, rank scheduler") as progress:
        offline = bootstrap(config, run, progress)
    with stages.stage("evaluate before") as progress:
        before = evaluate(config, run.versions().path(0), config.evaluate.episodes, WORKERS, progress)
    stages.say(f"Before adapting: {before.success}")
    logs: list[EpisodeLog] = []
    with stages.stage("adapt: act, correct, learn, swap") as progress:
        online = adapt(config, run, progress, stages.say, logs.append)
        write_session_report(run.session)
    with stages.stage("evaluate after") as progress:
        final = run.versions().path(online.final_version)
        after = evaluate(config, final, config.evaluate.episodes, WORKERS, progress)
    stages.say(f"After adapting: {after.success}")
    wall_seconds = time.monotonic() - began
    alone: Evaluation | None = None
    if control:
        with stages.stage("control: as long, no interventions") as progress:
            longer = train_longer(config, run, online.updates, progress)
        with stages.stage("evaluate control") as progress:
            alone = evaluate(config, longer, config.evaluate.episodes, WORKERS, progress)
    report = _report(config, preset, demonstrations, offline, online, before, after, alone, wall_seconds, stages)
    report.write(out / "report.json")
    draw_progress(report, out / "progress.png")
    report.print(console)
    told = most_telling(logs)
    if told is not None:
        with stages.stage("film of an intervention"):
            film_intervention(TASKS[config.cell.task], told, out / "intervention.gif")
    console.print(f"Written: {', '.join(sorted(path.name for path in out.iterdir() if path.is_file()))} in {out}")
    console.print(f"What the interventions gave, episode by episode: {run.session / PAGE_FILE}", soft_wrap=True)
    return report


def shift_in_words(config: Config) -> str:
    """Return the deployment shift as a sentence."""
    x, y, z = (round(1000 * value) for value in config.cell.deployment_offset_m)
    if not (x or y or z):
        return "There is no deployment shift."
    return (
        f"Deployment shift: after the demonstrations the fixed camera has moved, so objects appear ({x}, {y}, {z}) mm "
        "off."
    )


def _report(
    config: Config,
    preset: str,
    demonstrations: int,
    offline: BootstrapFigures,
    online: AdaptFigures,
    before: Evaluation,
    after: Evaluation,
    alone: Evaluation | None,
    wall_seconds: float,
    stages: Stages,
) -> Report:
    return Report(
        task=config.cell.task,
        preset=preset,
        seed=config.seed,
        shift=shift_in_words(config),
        success_before=before.success,
        success_after=after.success,
        success_control=alone.success if alone else None,
        demonstrations=demonstrations,
        expert_labels=sum(episode.expert_labels for episode in online.episodes),
        versions_swapped=online.swaps,
        training_hours=(offline.training_seconds + online.training_seconds) / 3600,
        mean_batch_time=BatchTime(offline.batch_seconds, online.batch_seconds),
        ranks=offline.ranks,
        episodes=online.episodes,
        wall_seconds=wall_seconds,
        stages=stages.seconds,
    )
