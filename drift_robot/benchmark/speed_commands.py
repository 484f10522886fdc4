"""The commands `drift-robot benchmark batch-time`, `update-latency`, `inference`, `storage` and `background`."""

from typing import Annotated

import typer

from drift_robot.compute import DeviceChoice
from drift_robot.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="Print a list of rows as JSON, and nothing else.")]
Quick = Annotated[bool, typer.Option("--quick", help="Small sizes, few rounds: within a minute on two free cores.")]
Device = Annotated[DeviceChoice, typer.Option(help="Where to measure: auto takes a GPU if there is one.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads on a CPU; with one, other work changes figures little.")]
Dims = Annotated[str, typer.Option(help="Widths of the U-Net, such as 256,512,1024. [default: by --quick]")]
Rank = Annotated[int, typer.Option(min=1, help="The trainable rank.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each candidate is measured, in turns with the baseline.")]
Picture = Annotated[int, typer.Option(min=0, help="Side of two cameras' pictures in pixels; 0: no cameras.")]
QUICK_DIMS, DEFAULT_DIMS = "64,128", "128,256,512"


def batch_time(
    dims: Dims = "",
    ranks: Annotated[str, typer.Option(help="Trainable ranks, separated by commas. [default: by --quick]")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Windows in a batch.")] = 64,
    picture: Picture = 0,
    rounds: Rounds = 5,
    device: Device = "auto",
    threads: Threads = 1,
    as_json: Json = False,
    quick: Quick = False,
) -> None:
    """What a training batch costs: full rank, lower ranks, LoRA and naive autograd; forward, backward, optimiser.

    The baseline is full rank with torch's own layers. The paper's real size is --dims 512,1024,2048 (8 GB), its vision
    --picture 96 or larger, which encodes two cameras with ResNet-18.
    """
    from drift_robot.benchmark.batch_time import Sizes
    from drift_robot.benchmark.batch_time import batch_time as measure
    from drift_robot.benchmark.turns import prepared, show

    where = prepared(device, threads)
    sizes = Sizes(_widths(dims or (QUICK_DIMS if quick else DEFAULT_DIMS)), batch, picture)
    chosen = _numbers(ranks or ("16" if quick else "64,128,256,512"), "--ranks")
    show([row for rows in measure(sizes, chosen, rounds, where) for row in rows], as_json, where)


def update_latency(
    dims: Dims = "",
    rank: Rank = 16,
    picture: Picture = 0,
    batches: Annotated[int, typer.Option(min=1, help="Batches of 64 in an update.")] = 100,
    rounds: Rounds = 3,
    device: Device = "auto",
    threads: Threads = 1,
    as_json: Json = False,
    quick: Quick = False,
) -> None:
    """From the end of an episode to the better version acting: ingest, train, check, publish, load, swap.

    The baseline is the same update at full rank. wall_ms is by the clock, of which the robot waits for the swap alone.
    """
    from drift_robot.benchmark.turns import prepared, show
    from drift_robot.benchmark.update_latency import update_latency as measure

    where = prepared(device, threads)
    widths = _widths(dims or (QUICK_DIMS if quick else DEFAULT_DIMS))
    rows = measure(widths, rank, picture, min(batches, 10) if quick else batches, 1 if quick else rounds, where)
    show(rows, as_json, where)


def inference(
    dims: Dims = "",
    rank: Rank = 64,
    picture: Picture = 0,
    rounds: Rounds = 10,
    device: Device = "auto",
    threads: Threads = 1,
    as_json: Json = False,
    quick: Quick = False,
) -> None:
    """From an observation to an action chunk: few DDIM steps with merged weights, and what is published.

    The baseline applies factors unmerged at 100 steps. p50_ms and p99_ms are by the clock; median_ms is processor time
    on a CPU.
    """
    from drift_robot.benchmark.inference import inference as measure
    from drift_robot.benchmark.turns import Row, prepared, show
    from policies.policy import PolicyConfig

    where = prepared(device, threads)
    cameras = dict.fromkeys(("front", "wrist"), (picture, picture)) if picture else {}
    widths = _widths(dims or (QUICK_DIMS if quick else DEFAULT_DIMS))
    config = PolicyConfig(unet_dims=widths, condition_width=128, cameras=cameras)
    rows: list[Row] = []
    if quick:
        left_out = "Compiled policies are not measured, as compiling can take a minute; without --quick they are."
        typer.echo(left_out, err=True)
    for told in measure(config, rank, min(rounds, 3) if quick else rounds, where, compiling=not quick):
        if isinstance(told, str):
            typer.echo(told, err=True)
        else:
            rows += told
    show(rows, as_json, where)


def storage(
    height: Annotated[int, typer.Option(min=16, help="Height of the pictures.")] = 480,
    width: Annotated[int, typer.Option(min=16, help="Width of the pictures.")] = 640,
    seconds: Annotated[int, typer.Option(min=1, help="How long to record.")] = 60,
    rounds: Rounds = 5,
    as_json: Json = False,
    quick: Quick = False,
) -> None:
    """What recording two cameras at 30 Hz and the arm at 500 Hz costs, and drawing training windows.

    The baselines are plain zarr, written with its library, and windows sliced from it in memory, as diffusion_policy
    does.
    """
    from drift_robot.benchmark.storage import storage as measure
    from drift_robot.benchmark.turns import prepared, show

    where = prepared("cpu", 1)
    turns, length = (1, min(seconds, 5)) if quick else (rounds, seconds)
    show([row for rows in measure(height, width, length, turns) for row in rows], as_json, where)


def background(
    dims: Dims = "",
    rank: Rank = 16,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long a turn is.")] = 10.0,
    rounds: Rounds = 5,
    pinned: Annotated[bool, typer.Option(help="Trainer and loop each on cores of their own.")] = True,
    device: Device = "auto",
    as_json: Json = False,
    quick: Quick = False,
) -> None:
    """Whether the trainer in the background costs the 10 Hz control loop anything: it is stopped in every other turn.

    The baseline is the loop with the trainer stopped. Times are by the clock.
    """
    from drift_robot.benchmark.background import background as measure
    from drift_robot.benchmark.turns import prepared, show

    where = prepared(device, 1)
    widths = _widths(dims or QUICK_DIMS)
    turns, length = (2, min(seconds, 4.0)) if quick else (rounds, seconds)
    show(measure(widths, rank, length, turns, pinned, str(where)), as_json, where)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of a list. Raises UserError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"{option}: '{text}' should be whole numbers above 0, separated by commas, such as 64,128.")
    return tuple(map(int, parts))


def _widths(text: str) -> tuple[int, ...]:
    """Return the widths of a U-Net. Raises UserError."""
    widths = _numbers(text, "--dims")
    if any(width % 8 or width > 8192 for width in widths) or len(widths) > 5:
        raise UserError(f"--dims: '{text}' should be at most 5 multiples of 8 up to 8192, such as 64,128.")
    return widths
