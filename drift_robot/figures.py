"""Training's figures: a line of JSON always; TensorBoard and Weights & Biases where the configuration asks for them.

The sinks have a thread of their own in the training process and a queue that drops what they cannot take in time: what
they do, or fail to do, changes nothing else.
"""

import json
import queue
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from drift_robot.errors import UserError

WAITING = 1000
CLOSE_S = 10.0

Write = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class LoggingConfig:
    """Where training's figures go beside the run's JSON lines: to TensorBoard, and to this project of W&B.

    W&B is told by its own environment whether it may use the network, such as WANDB_MODE=offline.
    """

    tensorboard: bool = False
    wandb_project: str | None = None


def require_sinks(config: LoggingConfig) -> None:
    """Raise UserError if a sink is asked for whose package is not installed."""
    for asked, package in ((config.tensorboard, "tensorboard"), (config.wandb_project is not None, "wandb")):
        if asked and find_spec(package) is None:
            raise UserError(
                f"The section 'logging' needs the package {package}, which is not installed: "
                "pip install 'drift-robot[logging]', or remove it there."
            )


class TrainingFigures:
    """The figures of one phase of training ("bootstrap", "adapt"), written to `path`; sinks are told their numbers."""

    def __init__(self, path: Path, phase: str, config: LoggingConfig) -> None:
        """Begin. The sinks' files lie in the run's folder, where `path` is."""
        self.fault: str | None = None
        self._path = path
        self._queue: queue.Queue[tuple[int, dict[str, float]] | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        if config.tensorboard or config.wandb_project is not None:
            self._thread = threading.Thread(target=self._serve, args=(phase, config), daemon=True, name="figures")
            self._thread.start()

    def note(self, step: int, figures: Mapping[str, Any]) -> None:
        """Write the figures at a step: an epoch, or a round."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        if self._thread is not None and self.fault is None:
            numbers = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
            try:
                self._queue.put_nowait((step, numbers))
            except queue.Full:
                self.fault = f"{WAITING} figures wait for the sinks; what comes is left out there."

    def close(self) -> None:
        """Give the sinks a little time for what still waits."""
        if self._thread is not None:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(CLOSE_S)

    def _serve(self, phase: str, config: LoggingConfig) -> None:
        try:
            writes, ends = _sinks(self._path.parent, phase, config)
            while (item := self._queue.get()) is not None:
                for write in writes:
                    write(*item)
            for end in ends:
                end()
        except Exception as error:  # whatever a stranger's service does is no reason to stop training
            self.fault = f"A sink of training's figures failed ({type(error).__name__}: {error}); JSON lines go on."


def _sinks(folder: Path, phase: str, config: LoggingConfig) -> tuple[list[Write], list[Callable[[], Any]]]:
    writes: list[Write] = []
    ends: list[Callable[[], Any]] = []
    if config.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        board = SummaryWriter(str(folder / "tensorboard" / phase))

        def to_board(step: int, numbers: Mapping[str, float]) -> None:
            for name, value in numbers.items():
                board.add_scalar(f"{phase}/{name}", value, step)
            board.flush()

        writes.append(to_board)
        ends.append(board.close)
    if config.wandb_project is not None:
        import wandb

        run = wandb.init(
            project=config.wandb_project, dir=str(folder), name=f"{folder.name} {phase}", reinit="create_new"
        )
        writes.append(lambda step, numbers: run.log({f"{phase}/{k}": v for k, v in numbers.items()}, step=step))
        ends.append(run.finish)
    return writes, ends
