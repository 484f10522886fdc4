"""The command line: `drift-robot`. Every command teaches the step of the work that it does."""

import errno
import getpass
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console

from calibration.errors import CalibrationError
from data.errors import DataError
from data.exchange.formats import Format, Rotation
from drift_robot.benchmark.commands import app as benchmark_app
from drift_robot.calibrate.commands import calibrate_app
from drift_robot.errors import UserError
from drift_robot.seeds import SEED_LIMIT
from drift_robot.stages import Stages
from hardware.emulation.admin import FAULTS, AdminClient, described, fault_request
from hardware.errors import DeviceError
from hardware.input_devices import DeviceName
from policies.errors import PolicyError

if TYPE_CHECKING:  # everything heavy is imported by the command that needs it, so that help is there at once
    from drift_robot.comparison import Comparison
    from drift_robot.config import Config
    from drift_robot.run_folder import RunFolder

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # what pygame says when it is loaded is not for the operator

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
RESUMED = ("demo", "collect", "bootstrap", "adapt", "evaluate", "benchmark", "train")
"""The commands that go on where they were interrupted."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Teach a robot arm interactively.

The work in five steps, each resumable after Ctrl-C; CONFIG is a YAML file from `configs/`, RUN the folder that all of
them share:

1. `drift-robot collect CONFIG --out RUN`: record demonstrations.
2. `drift-robot bootstrap CONFIG --out RUN`: train the first policy while the rank scheduler lowers its trainable rank.
3. `drift-robot evaluate CONFIG --out RUN`: measure it.
4. `drift-robot adapt CONFIG --out RUN`: it drives, you take over when it errs, a trainer learns in the background.
5. `drift-robot evaluate CONFIG --out RUN`: measure what you gained.

Before a session, `drift-robot doctor CONFIG` checks robot, cameras, input device and computer, and
`drift-robot calibrate` measures where the cameras are.

`drift-robot demo` does all of it by itself in the simulated cell, with a scripted expert in your place;
`drift-robot emulate` is a robot to practise on with the drivers of a real one.""",
)
data_app = typer.Typer(
    no_args_is_help=True,
    help="Look after recorded episodes: list, show, view, stats, report; relabel, discard, restore; verify, repair, "
    "compact; export, import.",
)
app.add_typer(data_app, name="data")
app.add_typer(benchmark_app, name="benchmark")
app.add_typer(calibrate_app, name="calibrate")
LEADS = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, one speaks
console = Console(quiet=not LEADS)

NO_FAULT_OF_OURS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
}
Mode = Literal["collect", "adapt", "evaluate"]
ConfigPath = Annotated[Path, typer.Argument(help="A YAML file, such as configs/lift.yaml.", metavar="CONFIG")]
Out = Annotated[Path, typer.Option(help="The run's folder; the same for all steps.")]
Seed = Annotated[int | None, typer.Option(min=0, max=SEED_LIMIT - 1, help="Overrides the configuration's seed.")]
Device = Annotated[
    DeviceName | None,
    typer.Option(
        help="Who drives as expert, in real time [default: the configuration's input.device; without one, in the "
        "simulated cell, the scripted expert as fast as possible]."
    ),
]
NoWindow = Annotated[bool, typer.Option("--no-window", help="No operator window in real time.")]
Overlay = Annotated[
    Path | None,
    typer.Option(
        help="An earlier episode's folder, such as RUN/session/episodes/000003.zarr: between episodes the operator "
        "window lays its first pictures over the live ones, to rebuild the scene.",
        metavar="EPISODE",
    ),
]
Uncalibrated = Annotated[
    str,
    typer.Option(
        help="Why to record although calibrations that the configuration demands are missing, old or poor; it is "
        "noted with every episode.",
        metavar="REASON",
    ),
]
SessionPath = Annotated[Path, typer.Argument(help="A session's folder, such as RUN/demonstrations.")]
EpisodeNumber = Annotated[int, typer.Argument(help="The episode's number.")]
EpisodePath = Annotated[
    Path, typer.Argument(help="An episode's folder, such as RUN/session/episodes/000003.zarr.", metavar="EPISODE")
]
Judgement = Literal["success", "failure"]
Relabelled = Literal["transition", "expert"]


class Preset(StrEnum):
    """The sizes of the demo."""

    DEFAULT = "default"
    SMOKE = "smoke"
    IMAGES = "images"


@app.command()
def demo(
    preset: Annotated[
        Preset, typer.Option(help="default: under ten minutes; smoke: a quick try; images: cameras as policy input.")
    ] = Preset.DEFAULT,
    seed: Annotated[int, typer.Option(min=0, max=SEED_LIMIT - 1, help="Everything follows from it.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Where results go [default: runs/demo-PRESET-SEED].")] = None,
    control: Annotated[bool, typer.Option(help="Also train as long without interventions, to compare.")] = True,
) -> None:
    """The whole job in the simulated cell: demonstrations, bootstrap, interventions, hot swaps, and what it gained."""
    from drift_robot import demo as job

    job.demo(preset.value, seed, out or Path(f"runs/demo-{preset.value}-{seed}"), control, console)


@app.command()
def collect(
    config: ConfigPath,
    out: Out,
    seed: Seed = None,
    device: Device = None,
    no_window: NoWindow = False,
    overlay: Overlay = None,
    uncalibrated: Uncalibrated = "",
) -> None:
    """Record demonstrations: the expert drives whole episodes. Goes on until there are as many as configured."""
    settings, run = _open(config, out, seed)
    settings = _overriding(settings, uncalibrated)
    if (driver := _driver(settings, device)) is not None:
        _real_time(settings, run, "collect", driver, no_window, overlay)
        return
    _without_window(overlay)
    from drift_robot.collect import collect as job

    with _reported(run.demonstrations), Stages(console).stage("collect demonstrations") as progress:
        done = job(settings, run, progress)
    console.print(f"{done} demonstrations in {run.demonstrations}. Next: drift-robot bootstrap {config} --out {out}")


@app.command()
def bootstrap(config: ConfigPath, out: Out, seed: Seed = None) -> None:
    """Train the first policy on the demonstrations, offline, while the rank scheduler lowers its trainable rank.

    On several GPUs: `torchrun --standalone --nproc-per-node 4 --no-python drift-robot bootstrap CONFIG --out RUN`.
    """
    settings, run = _open(config, out, seed)
    from drift_robot.bootstrap import bootstrap as job

    with Stages(console).stage("bootstrap, rank scheduler") as progress:
        figures = job(settings, run, progress)
    console.print(
        f"Version 0 in {run.versions().folder}: {figures.updates} batches, mean {1e3 * figures.batch_seconds:.0f} ms, "
        f"loss {figures.loss:.4f}, rank {figures.ranks[0]} to {figures.ranks[-1]}. "
        f"Next: drift-robot adapt {config} --out {out}"
    )


@app.command()
def adapt(
    config: ConfigPath,
    out: Out,
    seed: Seed = None,
    device: Device = None,
    no_window: NoWindow = False,
    overlay: Overlay = None,
    uncalibrated: Uncalibrated = "",
) -> None:
    """Run online episodes: the policy drives, the expert takes over when it errs, a trainer learns, versions swap in.

    With --device keyboard or gamepad you are the expert, in real time, with the operator window.
    """
    settings, run = _open(config, out, seed)
    settings = _overriding(settings, uncalibrated)
    if (driver := _driver(settings, device)) is not None:
        _real_time(settings, run, "adapt", driver, no_window, overlay)
        return
    _without_window(overlay)
    from drift_robot.adapt import adapt as job

    stages = Stages(console)
    with _reported(run.session), stages.stage("adapt: act, correct, learn, swap") as progress:
        figures = job(settings, run, progress, stages.say)
    labels = sum(episode.expert_labels for episode in figures.episodes)
    console.print(
        f"{len(figures.episodes)} episodes, {labels} expert labels, {figures.swaps} versions swapped in; "
        f"version {figures.final_version} is the newest. Next: drift-robot evaluate {config} --out {out}"
    )


@app.command()
def train(
    store: Annotated[
        str,
        typer.Option(help="The configuration's adapt.store, as this machine reaches it: a folder, or s3://bucket/run."),
    ],
    out: Annotated[Path, typer.Option(help="A folder of this machine's own, for a mirror of the run.")],
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads [default: the configuration's adapt.threads].")
    ] = None,
) -> None:
    """Be the trainer of a session on another machine, which meets it in a store if its configuration has `adapt.store`.

    It takes episodes and the configuration from there and puts checked versions there; nothing listens, and nothing of
    ours runs in between. Keys and addresses of a store come from the environment. Ctrl-C ends it; started again, it
    goes on, also on another machine.
    """
    from drift_robot.remote.train import train as job
    from drift_robot.run_folder import RunFolder

    job(store, RunFolder(out), threads, Stages(console).say)


@app.command()
def evaluate(
    config: ConfigPath,
    out: Out,
    seed: Seed = None,
    version: Annotated[int | None, typer.Option(help="Which version [default: the newest good one].")] = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="How many [default: as configured].")] = None,
    device: Device = None,
    no_window: NoWindow = False,
    overlay: Overlay = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two versions instead: their numbers, or checkpoints' folders.", metavar="A B"),
    ] = None,
) -> None:
    """Measure a version without learning, on starts that no other step uses: success with its 95 % interval.

    With --compare A B two versions act on the same starts, in an order drawn by lot; --episodes counts pairs,
    of which no more are run than it takes. Nothing tells which of the two acts: in real time you rebuild each start and
    judge blind. At the end it is unveiled whether their difference is established, and if not, about how many episodes
    more it would take.
    """
    settings, run = _open(config, out, seed)
    if compare is not None:
        if version is not None:
            raise UserError("--compare names the versions itself; leave --version out.")
        pairs = episodes or settings.evaluate.episodes
        _compare(settings, run, compare, pairs, _driver(settings, device), no_window, overlay)
        return
    versions = run.versions()
    chosen = versions.newest_good() if version is None else version
    if chosen is None:
        raise UserError(f"{versions.folder} holds no policy; run 'drift-robot bootstrap' first.")
    versions.able(chosen)
    count = episodes or settings.evaluate.episodes
    if (driver := _driver(settings, device)) is not None:
        settings = replace(settings, evaluate=replace(settings.evaluate, episodes=count))
        _real_time(settings, run, "evaluate", driver, no_window, overlay, version=chosen)
        return
    _without_window(overlay)
    from drift_robot.evaluate import record_evaluation as job

    with _reported(run.rollouts(chosen)), Stages(console).stage(f"evaluate version {chosen}") as progress:
        result = job(settings, run, chosen, count, 2, progress)
    took = f", mean duration {result.duration_s:.1f} s of successful episodes" if result.success.rate else ""
    console.print(f"Version {chosen}: success {result.success}{took}.")


@app.command("export-policy")
def export_policy(
    version: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, of which the newest good version is taken, or a version's, such as "
            "RUN/versions/000003.",
            metavar="RUN_OR_VERSION",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The new folder.")],
) -> None:
    """Write a policy as a folder that loads with torch and safetensors alone, without drift-robot.

    It holds the merged weights, its configuration as JSON, and policy.py: `from policy import load`.
    """
    from drift_robot.versions import Versions
    from policies.export import export_policy as job

    if (version / "versions").is_dir():
        newest = (versions := Versions(version / "versions")).newest_good()
        if newest is None:
            raise UserError(f"{versions.folder} holds no policy; run 'drift-robot bootstrap' first.")
        version = versions.path(newest)
    manifest = job(version, out)
    told = f"Version {manifest.version}: {out}. {out / 'policy.py'} tells how to use it."
    console.print(told, highlight=False, soft_wrap=True)


@app.command()
def doctor(
    config: ConfigPath,
    out: Annotated[
        Path, typer.Option(help="The run's folder: its disk is measured, and pictures are kept in its folder doctor.")
    ] = Path("runs"),
    no_wiggle: Annotated[
        bool, typer.Option("--no-wiggle", help="Do not ask for every axis and button to be tried.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON document.")] = False,
) -> None:
    """Check everything that can be wrong before a session, and say what to do; nothing is moved.

    One line each for this computer, the robot, its gripper, the cameras (with a picture of each) and your input device,
    whose axes and buttons you are asked to try. `✗` would stop a session and makes the exit code 1; `!` makes it worse.
    """
    from drift_robot.config import load_config
    from drift_robot.doctor.examination import run_doctor
    from drift_robot.doctor.input import WIGGLE_S

    settings = load_config(config)
    if not run_doctor(settings, config, out, 0.0 if no_wiggle else WIGGLE_S, console, as_json):
        raise typer.Exit(FAILED)


@app.command()
def replay(
    episode: EpisodePath,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file [default: what the episode was recorded with].")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="In the simulated cell, even with 'devices'.")] = False,
    speed: Annotated[
        float | None,
        typer.Option(min=0.05, max=1.0, help="Share of the recorded speed [default: 0.25 on an arm, 1 in simulation]."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the arm moves.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where figures and picture go [default: replays/NUMBER-WHERE of the session].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Play an episode's executed actions again, and say how closely the arm repeated what it had measured.

    Without `devices` in the configuration this happens in the simulated cell, as fast as the machine allows. On an arm
    it passes the limits of a session: first back to the episode's first pose as a reset goes, then along the episode,
    slowly unless told otherwise. Ctrl-C stops the arm, which holds.
    """
    from drift_robot.review import replay as job

    def confirm(plan: str) -> None:
        typer.echo(plan, err=as_json)
        if not yes:
            typer.confirm("Move the arm?", abort=True, err=as_json)

    done = job.replay(episode, config, simulate, speed, confirm)
    folder = out or job.default_folder(done)
    job.save(done, folder)
    job.show(done, folder, console, as_json)
    if done.played.stopped is not None:
        raise typer.Exit(INTERRUPTED if done.played.interrupted else FAILED)


@data_app.command("list")
def data_list(session: SessionPath) -> None:
    """List a session's episodes: outcome, length, owners, labels."""
    from data.report import list_session

    list_session(session, console)


@data_app.command("show")
def data_show(
    episode: EpisodePath,
    contact_sheet: Annotated[Path | None, typer.Option(help="Save its pictures in one PNG.")] = None,
) -> None:
    """Show one episode: who drove when, what was recorded."""
    from data.report import show

    show(episode, console, contact_sheet)


@data_app.command("report")
def data_report(session: SessionPath) -> None:
    """Draw up a session's report: report.html, to be looked at, and report.json, in its folder.

    Every session writes it at its end; this is for one that was killed, or recorded before there were reports.
    """
    from drift_robot.session_report import write_session_report

    console.print(f"Written: {write_session_report(session)}", highlight=False, soft_wrap=True)


@data_app.command("view")
def data_view(
    episode: EpisodePath,
    out: Annotated[Path | None, typer.Option(help="Write this .rrd file instead; needs no display.")] = None,
) -> None:
    """Open an episode in the Rerun viewer: pictures, poses in 3-D, joints, gripper, who drove, versions, alarm.

    Needs the package rerun-sdk: pip install 'drift-robot[review]'.
    """
    from drift_robot.review.rerun_view import view

    view(episode, out)
    if out is not None:
        console.print(f"Written. Open it with: rerun {out}", highlight=False, soft_wrap=True)


@data_app.command("stats")
def data_stats(
    paths: Annotated[list[Path], typer.Argument(help="Sessions, or folders that hold them, such as RUN.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, each episode too, as JSON.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Save who drove when, in every episode, as PNG.")] = None,
) -> None:
    """Add up what sessions hold: outcomes, hours, steps by owner, interventions, labels, versions."""
    from data.report import print_stats

    print_stats(paths, console, as_json, picture)


@data_app.command("relabel")
def data_relabel(
    episode: EpisodePath,
    outcome: Annotated[Judgement | None, typer.Option(help="How it really ended.")] = None,
    steps: Annotated[
        str | None, typer.Option(help="FIRST-LAST, both included, as `data show` names them.", metavar="FIRST-LAST")
    ] = None,
    owner: Annotated[
        Relabelled | None,
        typer.Option(help="transition: nobody learns from these steps. expert: again hers, where so recorded."),
    ] = None,
    recovered: Annotated[
        bool | None, typer.Option("--recovered/--not-recovered", help="Whether the recovery was done in these steps.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last change that holds.")] = False,
    by: Annotated[str, typer.Option(help="Who says so.", show_default="your user name")] = "",
    because: Annotated[str, typer.Option(help="Why; kept with the change.")] = "",
) -> None:
    """Correct an episode's labels. What was recorded is kept, and so is who changed what and when.

    A learner's step never becomes the expert's. A trainer that has read the episode already learns from the new labels
    after its next start.

    - `--outcome failure`: a failed demonstration teaches nothing.
    - `--steps 40-55 --owner transition`: a clumsy stretch is no target of training.
    - `--steps 30-55 --recovered`: the mark that was forgotten.
    """
    from data.report import relabel, undo_relabelling
    from data.schema import Outcome, Owner

    who = by or getpass.getuser()
    if undo:
        if outcome or steps or owner or recovered is not None:
            raise UserError("--undo takes back the last change and goes with no other; give it alone.")
        undo_relabelling(episode, console, who)
        return
    relabel(
        episode,
        console,
        who,
        because,
        outcome=Outcome(outcome) if outcome else None,
        steps=_steps(steps) if steps else None,
        owner=Owner[owner.upper()] if owner else None,
        recovered=recovered,
    )


@data_app.command("verify")
def data_verify(path: Annotated[Path, typer.Argument(help="A session's folder, an episode's, or a run's.")]) -> None:
    """Check checksums, lengths and labels; exit code 1 unless everything is whole."""
    from data.report import print_verification

    if not print_verification(path, console):
        raise typer.Exit(FAILED)


@data_app.command("repair")
def data_repair(path: Annotated[Path, typer.Argument(help="A session's folder, an episode's, or a run's.")]) -> None:
    """Keep the good part of interrupted or damaged episodes; what was replaced goes to the session's bin."""
    from data.report import print_repair

    print_repair(path, console)


@data_app.command("compact")
def data_compact(path: Annotated[Path, typer.Argument(help="A session's folder, an episode's, or a run's.")]) -> None:
    """Make whole episodes smaller, losing nothing: compressed again, with more patience than while the arm moves.

    Takes its time; can be interrupted, and goes on where it stopped.
    """
    from data.compact import compact

    with Stages(console).stage("compact") as progress:
        done = compact(path, progress)
    for sentence in done.left:
        console.print(f"Left as it is: {sentence}", style="yellow", highlight=False, soft_wrap=True)
    share = 100 * done.bytes_after / done.bytes_before if done.bytes_before else 100
    console.print(
        f"{done.episodes} episodes: {done.bytes_before / 1e6:.1f} MB before, {done.bytes_after / 1e6:.1f} MB now "
        f"({share:.0f} %).",
        highlight=False,
    )


@data_app.command("export")
def data_export(
    session: SessionPath,
    kind: Annotated[Format, typer.Option("--format", help="Whose format.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Where it goes: a folder; of diffusion-policy best NAME.zarr; of robomimic a file NAME.hdf5."
        ),
    ],
) -> None:
    """Write a session's whole episodes in the format of LeRobot (v3.0), diffusion_policy or robomimic.

    Pictures, poses, gripper and actions under the names that these use, who drove and every other label beside them.
    Needs: pip install 'drift-robot[exchange]'.
    """
    from data.exchange.exporting import export
    from data.exchange.formats import exporter

    with Stages(console).stage(f"export to {kind.value}") as progress:
        source = export(session, exporter(kind), out, progress)
    console.print(f"{len(source.episodes)} episodes, {source.steps} steps: {out}", highlight=False, soft_wrap=True)


@data_app.command("import")
def data_import(
    dataset: Annotated[Path, typer.Argument(help="A data set's folder, or robomimic's file.", metavar="DATASET")],
    kind: Annotated[Format, typer.Option("--format", help="Whose format.")],
    out: Annotated[Path, typer.Option(help="The new session's folder, such as RUN/demonstrations.")],
    task: Annotated[str, typer.Option(help="The task [default: what the data set names].")] = "",
    period_s: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Seconds between two steps, if the data set does not say.")
    ] = 0.1,
    state: Annotated[
        str, typer.Option(help="Columns of pose and gripper, with commas [default: those that an export writes].")
    ] = "",
    action: Annotated[str, typer.Option(help="The same of the action.")] = "",
    rotation: Annotated[
        Rotation, typer.Option(help="How they write rotations: two matrix columns, x y z w, or axis times angle.")
    ] = Rotation.COLUMNS,
) -> None:
    """Make a session of a data set of LeRobot (v3.0), diffusion_policy or robomimic, to bootstrap on.

    Poses and actions are absolute, in the robot's base frame, in metres; the gripper is 0 closed to 1 open. What was
    exported here comes back as it was. Of a stranger's data set nothing is read but plain numbers and pictures inside
    its folder. Needs: pip install 'drift-robot[exchange]'.

    - `--state robot_eef_pose --action action --rotation vector`: diffusion_policy's own recordings on a UR5.
    """
    from data.exchange.formats import open_set
    from data.exchange.importing import Meaning, import_set

    foreign, meaning = open_set(kind, dataset), Meaning(_words(state), _words(action), rotation)
    with Stages(console).stage(f"import from {kind.value}") as progress:
        session = import_set(foreign, out, str(dataset), meaning, task, period_s, progress)
    console.print(f"{len(session.episodes())} episodes: {session.folder}", highlight=False, soft_wrap=True)


@data_app.command("discard")
def data_discard(session: SessionPath, number: EpisodeNumber) -> None:
    """Move an episode to the session's bin."""
    from data.report import discard

    discard(session, number, console)


@data_app.command("restore")
def data_restore(session: SessionPath, number: EpisodeNumber) -> None:
    """Bring an episode back from the session's bin."""
    from data.report import restore

    restore(session, number, console)


@app.command()
def emulate(
    host: Annotated[str, typer.Option(help="A loopback address (127.x.x.x), one for every robot.")] = "127.0.0.2",
    controller_version: Annotated[
        str, typer.Option(help="The generation: 3.15 (CB3, 125 Hz), 5.x (e-Series, 500 Hz), 10.x (PolyScope X).")
    ] = "5.12.0.0",
    task: Annotated[
        Literal[
            "lift",
            "pick_and_place",
            "stacking",
            "microwave",
            "drawer_assembling",
            "drawer_interaction",
            "board_on_table",
            "board_in_gripper",
            "bare_table",
        ],
        typer.Option(help="What stands on the table; a board to calibrate with lies there or is held by the gripper."),
    ] = "lift",
    seed: Annotated[int, typer.Option(min=0, help="The first scene and the arm's posture follow from it.")] = 0,
    local_control: Annotated[
        bool, typer.Option("--local-control", help="Remote control is switched off at the pendant.")
    ] = False,
) -> None:
    """Emulate a UR arm with a Robotiq gripper in the simulated cell, on the ports where a real one is spoken to.

    The real drivers run against it: put its address into devices.arm.host of a configuration such as
    configs/ur5e.yaml, and the cameras show its cell too. `drift-robot fault` lets things go wrong. Ctrl-C ends it.
    """
    from hardware.emulation import emulator
    from hardware.emulation.controller import Settings
    from hardware.emulation.server import ports
    from hardware.emulation.variables import parse_version

    services = ", ".join(f"{name} {port}" for name, port in ports(parse_version(controller_version)).items())

    def ready(realtime: bool) -> None:
        lines = [
            f"A UR controller {controller_version} at {host} in the simulated cell, task {task}: {services}.",
            f"To use it: set devices.arm.host to {host} in a copy of configs/ur5e.yaml.",
            f"To disturb it: drift-robot fault {host} protective-stop (all faults: drift-robot fault --help).",
            "To end it: Ctrl-C.",
        ]
        if not realtime:
            lines.append("It has no real-time priority, so on a busy machine it may pause.")
        console.print("\n".join(lines), highlight=False, soft_wrap=True)

    settings = Settings(remote_control=not local_control)
    emulation = emulator.Emulation(host, controller_version, task, seed, settings, realtime=True)
    emulator.emulate(emulation, ready=ready)
    console.print("The emulated robot has ended.")


FAULT_HELP = "\n".join(
    (
        "Let something happen to an emulated robot, and see how it is.",
        "",
        "- without a name: nothing happens, the state is shown.",
        *(f"- {name}{fault.usage}: {fault.effect}." for name, fault in FAULTS.items()),
    )
)


@app.command(help=FAULT_HELP)
def fault(
    host: Annotated[str, typer.Argument(help="The address at which `drift-robot emulate` runs.")],
    name: Annotated[str | None, typer.Argument(help="What happens; without it only the state is shown.")] = None,
    value: Annotated[str | None, typer.Argument(help="As the list says.")] = None,
) -> None:
    """Command a fault and print the state."""
    with AdminClient(host) as admin:
        if name is not None:
            admin.ask(**fault_request(name, value))
        console.print(f"{host}: {described(admin.ask('state'))}.", highlight=False, soft_wrap=True)


def main() -> None:
    """Run a command. A user's mistake is one sentence and exit code 2; Ctrl-C or a kill is 130; a failed check is 1.

    A closed terminal interrupts as well, except under nohup.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _interrupted()
        raise
    except KeyboardInterrupt:
        _interrupted()
    except (UserError, CalibrationError, DataError, PolicyError, DeviceError) as error:
        _refused(str(error))
    except OSError as error:
        if error.errno not in NO_FAULT_OF_OURS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _refused(f"{where}{error.strerror}. Give another folder, or make room or rights there.")


def _refused(sentence: str) -> NoReturn:
    Console(stderr=True).print(f"drift-robot: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(BAD_INPUT)


def _interrupted() -> None:
    resumed = next(iter(sys.argv[1:]), "") in RESUMED
    goes_on = " Nothing is lost: the same command goes on from here." if resumed else ""
    Console(stderr=True).print(f"Interrupted.{goes_on}", style="yellow")
    sys.exit(INTERRUPTED)


def _steps(text: str) -> tuple[int, int]:
    """Return the first and the last step that FIRST-LAST, or a single number, names. Raises UserError."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise UserError(f"--steps is '{text}', but should be FIRST-LAST, such as 40-55.")
    return int(first), int(last or first)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _open(config_path: Path, out: Path, seed: int | None) -> "tuple[Config, RunFolder]":
    from drift_robot.config import load_config
    from drift_robot.figures import require_sinks
    from drift_robot.run_folder import RunFolder

    config = load_config(config_path)
    require_sinks(config.logging)
    return (config if seed is None else replace(config, seed=seed)), RunFolder(out)


def _overriding(config: "Config", reason: str) -> "Config":
    """Let a reason override what the configuration demands of calibrations."""
    return replace(config, calibration=replace(config.calibration, override=reason)) if reason else config


def _driver(config: "Config", device: "DeviceName | None") -> "DeviceName | None":
    """Return who drives in real time, or None for the scripted expert in lock-step. Raises UserError."""
    chosen = device or config.input.device
    if chosen is None and config.devices is not None:
        raise UserError("Who drives the arm? Set 'input.device' in the configuration, or give --device.")
    return chosen


@contextmanager
def _reported(session: Path) -> Iterator[None]:
    """Write a session's report when it ends, however it ends; one that cannot be written is no failure."""
    try:
        yield
    finally:
        if (session / "session.json").exists():
            from drift_robot.session_report import write_session_report

            try:
                console.print(f"Session report: {write_session_report(session)}", highlight=False, soft_wrap=True)
            except DataError as error:
                console.print(str(error), style="yellow", highlight=False, soft_wrap=True)


def _compare(
    config: "Config",
    run: "RunFolder",
    names: tuple[str, str],
    pairs: int,
    device: "DeviceName | None",
    no_window: bool,
    overlay: Path | None,
) -> None:
    from drift_robot.compare import compare as in_lockstep
    from drift_robot.compare import open_comparison
    from drift_robot.comparison_report import unveil

    comparison = open_comparison(config, run, names, pairs)
    try:
        if device is not None:
            _real_time(config, run, "evaluate", device, no_window, overlay, comparison)
        else:
            _without_window(overlay)
            with Stages(console).stage(f"compare {names[0]} and {names[1]}") as progress:
                in_lockstep(config, comparison, 2, progress)
    finally:
        unveil(comparison, config.cell.task, console)


def _without_window(overlay: Path | None) -> None:
    """Refuse what only the operator window could show. Raises UserError."""
    if overlay is not None:
        raise UserError("The overlay is shown by the operator window: give --device, and leave out --no-window.")


def _real_time(
    config: "Config",
    run: "RunFolder",
    mode: Mode,
    device: "DeviceName",
    no_window: bool,
    overlay: Path | None,
    comparison: "Comparison | None" = None,
    version: int | None = None,
) -> None:
    from drift_robot.realtime.supervisor import run_session, session_folder

    if no_window:
        _without_window(overlay)
    if overlay is not None:
        config = replace(config, window=replace(config.window, overlay=overlay))
    folder = session_folder(run, mode, version)
    with nullcontext() if comparison else _reported(folder):  # a comparison's report would tell who acted
        figures = run_session(config, run, mode, device, not no_window, Stages(console).say, comparison, version)
    if mode == "evaluate" and comparison is None and figures.complete:
        _say_success(folder, version)
    if figures.interrupted or figures.failed:
        raise typer.Exit(INTERRUPTED if figures.interrupted else FAILED)


def _say_success(session: Path, version: int | None) -> None:
    """Print how often a version succeeded by itself in the episodes of an evaluation in real time."""
    from data.session import Session
    from drift_robot.report import recorded_figures
    from drift_robot.statistics import success_rate

    episodes = [episode for episode in recorded_figures(Session.open(session)) if episode.judged]
    alone = sum(episode.success and episode.autonomous for episode in episodes)
    console.print(f"Version {version}: success without help {success_rate(alone, len(episodes))}.")


if __name__ == "__main__":
    main()
