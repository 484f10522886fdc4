"""A child process that the session starts, watches and stops, and for whose work nobody waits: the trainer's kind.

It works until the other end of its leash is closed, by the session or by its death. Why it ends otherwise it says in
one sentence on the leash: the disk may be what has failed.
"""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from drift_robot.silence import Silence

MAX_WORDS = 10_000
Stop = Callable[[], bool]


def serve(leash: "Connection[bytes, bytes]", work: Callable[[Stop], None], why: Callable[[Exception], str]) -> None:
    """Be such a process: work until told to stop; `why` makes the last words of what it failed of."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        work(leash.poll)
    except Exception as error:
        with suppress(OSError):
            leash.send_bytes(why(error).encode())
        sys.exit(1)


class Leashed:
    """Such a process as the session sees it. `title` is how the operator is told of it.

    `body` is called in it with `arguments` and the leash; the time of the file `beats` tells that it lives.
    """

    title = "The process"
    stop_s = 5.0

    def __init__(self, name: str, body: Callable[..., None], arguments: tuple[object, ...], beats: Path) -> None:
        self.restarts = 0
        self._name, self._body, self._arguments = name, body, arguments
        self._beats = beats
        self._context = get_context("spawn")
        self._process = self._spawn()

    def start(self) -> None:
        """Start it again; one that still runs is killed."""
        self._process.kill()
        self._process.join()
        self.restarts += 1
        self._process = self._spawn()

    def _spawn(self) -> SpawnProcess:
        self._silence = Silence()
        theirs, self._leash = self._context.Pipe()
        process = self._context.Process(
            target=self._body, args=(*self._arguments, theirs), name=self._name, daemon=True
        )
        process.start()
        theirs.close()
        return process

    @property
    def pid(self) -> int | None:
        """The process number."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.is_alive()

    def silence_limit_s(self) -> float:
        """Return for how long it may show no sign of life now."""
        raise NotImplementedError

    def killed_for_silence(self) -> float | None:
        """Kill the process if it has shown no sign of life for too long: then return how long, in seconds."""
        limit_s = self.silence_limit_s()
        if self._silence.after(self._beat(), time.monotonic_ns()) < limit_s:
            return None
        self._silence = Silence()
        self._process.kill()
        return limit_s

    def last_words(self) -> str:
        """Return why it has ended, in one sentence, or nothing if it was killed. To be asked once, after its death."""
        with suppress(OSError, EOFError):
            if self._leash.poll():
                return self._leash.recv_bytes(MAX_WORDS).decode(errors="replace")
        return ""

    def dismiss(self) -> None:
        """Ask it to stop, without waiting."""
        self._leash.close()

    def stop(self) -> None:
        """Ask it to stop; kill it if it does not."""
        self.dismiss()
        self._process.join(self.stop_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _beat(self) -> int:
        try:
            return self._beats.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
