"""How long work shows on the terminal: a progress bar for each stage, and sentences above the bars."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console


class Stages:
    """A progress bar for each stage of the job, and how many seconds each has taken."""

    def __init__(self, console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self._console = console

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int, str], None]]:
        """Show a stage; yields what its procedure reports its progress to."""
        columns = (
            bars.TextColumn("{task.description:<34}"),
            bars.BarColumn(20),
            bars.TaskProgressColumn(),
            bars.TimeElapsedColumn(),
            bars.TextColumn("[dim]{task.fields[words]}"),
        )
        with bars.Progress(*columns, console=self._console) as progress:
            bar = progress.add_task(name, total=None, words="")
            began = time.monotonic()
            yield lambda done, total, words: progress.update(bar, completed=done, total=total, words=words)
            self.seconds[name] = round(time.monotonic() - began, 1)

    def say(self, sentence: str) -> None:
        """Print a sentence above the bars."""
        self._console.print(sentence, highlight=False)
