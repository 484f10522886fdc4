"""The commands `drift-robot calibrate ...`; what each does is in `calibration/`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

calibrate_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Calibrate a cell, once and whenever something was moved.

1. `drift-robot calibrate board CONFIG --out board.pdf`: print the board.
2. `drift-robot calibrate intrinsics CONFIG`: lens of every camera.
3. `drift-robot calibrate hand-eye CONFIG`: where every camera is.
4. `drift-robot calibrate workspace CONFIG`: where table and walls are, which the arm then keeps from.
5. `drift-robot calibrate latency CONFIG`: how late pictures, poses and motions are.
6. `drift-robot calibrate check CONFIG`: has a camera moved since?

Each writes one YAML file into the configuration's `calibration.folder`, with pictures of what was seen beside it.""",
)
console = Console()
FAILED, INTERRUPTED = 1, 130

ConfigPath = Annotated[Path, typer.Argument(help="A YAML file, such as configs/ur5e.yaml.", metavar="CONFIG")]
Cameras = Annotated[
    list[str] | None, typer.Option(help="Only this camera; can be given more than once [default: all].")
]
ByHand = Annotated[
    bool, typer.Option("--by-hand", help="The arm is only read: guide it with the pendant's freedrive button.")
]
Unattended = Annotated[
    bool, typer.Option("--unattended", help="No window and no questions; the arm moves without asking.")
]


@calibrate_app.command("board")
def board(
    config: ConfigPath, out: Annotated[Path, typer.Option(help="Where to: a .pdf or .png file.")] = Path("board.pdf")
) -> None:
    """Write the board of a configuration, to be printed to scale."""
    from calibration.board import print_board
    from drift_robot.config import load_config

    said = print_board(load_config(config).calibration.board, out)
    console.print(said, highlight=False, soft_wrap=True)


@calibrate_app.command("intrinsics")
def intrinsics(config: ConfigPath, camera: Cameras = None, by_hand: ByHand = False, alone: Unattended = False) -> None:
    """Measure every camera's lens with the board, and compare it with what the camera itself says.

    The arm drives round the board by itself, or with --by-hand you show the board (or guide the arm). Views that are
    too few or too alike are refused, and what is missing is said.
    """
    from calibration.board import Board
    from calibration.procedures import calibrate_intrinsics
    from drift_robot import __version__
    from drift_robot.calibrate import session
    from drift_robot.config import load_config

    settings = load_config(config)
    board = Board(settings.calibration.board)
    with _stoppable():
        for name, rig in session.rigs(settings, camera, by_hand, not alone):
            result = session.guided(calibrate_intrinsics(rig, name, board, __version__), not alone, _say)
            session.keep(settings, result, _say)


@calibrate_app.command("hand-eye")
def hand_eye(config: ConfigPath, camera: Cameras = None, by_hand: ByHand = False, alone: Unattended = False) -> None:
    """Find where every camera is: on the arm (tcp_from_camera) or beside it (base_from_camera).

    For a camera on the arm the board lies on the table; for one that stands still the tool holds it. Poses are proposed
    within the configuration's limits and driven slowly after you have agreed, or with --by-hand you guide the arm.
    """
    from calibration.board import Board
    from calibration.files import Kind
    from calibration.procedures import calibrate_hand_eye
    from drift_robot import __version__
    from drift_robot.calibrate import session
    from drift_robot.config import load_config

    settings = load_config(config)
    board = Board(settings.calibration.board)
    with _stoppable():
        lenses = session.demanded(settings, Kind.INTRINSICS, camera)
        for name, rig in session.rigs(settings, camera, by_hand, not alone):
            procedure = calibrate_hand_eye(rig, name, board, lenses[name], __version__)
            session.keep(settings, session.guided(procedure, not alone, _say), _say)


@calibrate_app.command("workspace")
def workspace(config: ConfigPath, camera: Cameras = None, by_hand: ByHand = False, alone: Unattended = False) -> None:
    """Teach where the table is, and how far the arm may go; every session then keeps it above and within.

    The arm goes down slowly all over the workspace until it feels the table, after you have agreed. With --by-hand you
    guide the tool onto the table, and into corners of the free space, and press a key at each. What you leave out stays
    as it was. Pictures show table and box as every calibrated camera sees them.
    """
    from calibration.teaching import calibrate_workspace
    from calibration.workspace_pictures import eyes_of
    from drift_robot import __version__
    from drift_robot.calibrate import session
    from drift_robot.config import load_config
    from drift_robot.errors import UserError

    settings = load_config(config)
    if by_hand and alone:
        raise UserError("Guiding by hand needs somebody: leave out --by-hand or --unattended.")
    earlier = session.earlier_workspace(settings, _say)
    devices = {"arm": settings.devices.arm.host if settings.devices else "simulated"}
    with _stoppable(), closing(session.open_workspace_rig(settings, camera, by_hand, not alone)) as rig:
        eyes = eyes_of(Path(settings.calibration.folder), {name: site.on_arm for name, site in rig.cameras.items()})
        procedure = calibrate_workspace(rig, settings.limits, eyes, earlier, devices, __version__)
        session.keep(settings, session.guided(procedure, not alone, _say), _say)
        if unseen := [name for name in rig.cameras if name not in eyes]:
            _say(f"Not drawn over the pictures of {', '.join(unseen)}: run 'drift-robot calibrate hand-eye' first.")


@calibrate_app.command("latency")
def latency(
    config: ConfigPath,
    part: Annotated[
        list[str] | None,
        typer.Option(help="Only arm, gripper, input, or a camera's name; can be given more than once [default: all]."),
    ] = None,
    screen: Annotated[
        bool, typer.Option("--screen", help="Also hold this screen before every camera: it shows numbers to be read.")
    ] = False,
    display_lag_s: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="How late the screen shows what it is told, if you know that.")
    ] = 0.0,
    alone: Unattended = False,
) -> None:
    """Measure how late everything is: pictures and poses by their stamps, arm and gripper behind their commands.

    The arm sways by 11 mm for 6 seconds after you have agreed, through the limits of a session. What it was commanded,
    what it reports and what a camera sees of the board are laid over each other. That compares cameras with the arm,
    which is what aligns pictures with poses. With --screen a camera is also compared with the computer's clock, and the
    arm's way there and back can be told apart. Sessions put stamps back by what was found.
    """
    from calibration.board import Board
    from calibration.files import ARM, GRIPPER, INPUT
    from calibration.input_latency import measure_input_latency
    from calibration.latency import calibrate_arm_latency, calibrate_camera_latency, calibrate_gripper_latency
    from drift_robot import __version__
    from drift_robot.calibrate import session
    from drift_robot.calibrate.latencies import configured_latencies, remaining_latencies
    from drift_robot.config import load_config
    from drift_robot.errors import UserError

    settings = load_config(config)
    if screen and alone and settings.devices is not None:
        raise UserError("Somebody has to hold the screen before the cameras: leave out --screen or --unattended.")
    board, (camera_s, arm_s) = Board(settings.calibration.board), configured_latencies(settings)
    with _stoppable():
        for name in session.timed_parts(settings, part, not alone):
            if name == INPUT and settings.input.device is not None:
                session.keep(settings, measure_input_latency(settings.input.device, __version__), _say)
                continue
            with closing(session.open_timing_rig(settings, name)) as rig:
                if name == ARM:
                    procedure = calibrate_arm_latency(rig, arm_s, __version__)
                elif name == GRIPPER:
                    procedure = calibrate_gripper_latency(rig, __version__)
                else:
                    configured_s, lag_s = (camera_s.get(name, 0.0), arm_s), display_lag_s if screen else None
                    procedure = calibrate_camera_latency(rig, name, board, configured_s, __version__, lag_s)
                session.keep(settings, session.guided(procedure, not alone, _say), _say)
        for name, late_s in remaining_latencies(settings).record().items():
            _say(f"{name}: {1000 * late_s:.1f} ms")


@calibrate_app.command("check")
def check(config: ConfigPath, camera: Cameras = None, by_hand: ByHand = False, alone: Unattended = False) -> None:
    """Look at the board again and say whether a camera has moved since; exit code 1 if one has.

    It takes seconds: nothing moves if the board is seen from where the arm is.
    """
    from calibration.board import Board
    from calibration.files import Kind
    from calibration.procedures import check_camera
    from drift_robot.calibrate import session
    from drift_robot.config import load_config

    settings = load_config(config)
    board = Board(settings.calibration.board)
    moved = False
    with _stoppable():
        known = session.demanded(settings, Kind.HAND_EYE, camera)
        for name, rig in session.rigs(settings, camera, by_hand, not alone):
            checked = session.guided(check_camera(rig, name, board, known[name]), not alone, _say)
            picture = Path(settings.calibration.folder) / f"{name}.check.png"
            session.save_picture(checked.picture, picture)
            _say(f"{checked.sentence(known[name], settings.calibration.max_moved_px)} Picture: {picture}")
            moved |= checked.moved_px > settings.calibration.max_moved_px
    if moved:
        raise typer.Exit(FAILED)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the operator's stop into exit code 130, and what does not suffice into exit code 1."""
    from calibration.errors import NotGoodEnoughError
    from calibration.guide import StoppedError

    try:
        yield
    except StoppedError as stopped:
        console.print("Stopped; what was being measured is not written.", style="yellow")
        raise typer.Exit(INTERRUPTED) from stopped
    except NotGoodEnoughError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from error


def _say(sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
