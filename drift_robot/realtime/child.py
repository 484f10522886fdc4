"""A process of a session, as itself (`Life`) and as its supervisor sees it (`Child`).

A child ends when it is told to, and also when its parent is gone: so nothing is left behind whatever is killed. One
that shows no sign of life for too long is killed.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from data.errors import DataError
from drift_robot.errors import UserError
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import Failed, Listener, Message, Ready, Said, Speaker
from drift_robot.silence import Silence
from hardware.child_process import ONE_THREAD
from hardware.errors import DeviceError
from hardware.rings import RingReader, RingWriter
from policies.errors import PolicyError

CLOSED = 0
FAILED = 1
STOP_TIMEOUT_S = 5.0
STOP_UNREADY_S = 1.0
"""How long to wait for a process that was told to stop; one that still sets itself up has nothing to finish."""
NICENESS = -10
POLL_S = 0.02
SILENT_S = 5.0
START_S = 120.0
"""For how long a process may show no sign of life: once it was ready, and while it sets itself up."""
Setup = TypeVar("Setup")


class Life:
    """What every child needs: the rings, its voice, and whether to go on. `first` is False for one that was restarted.

    `parent` is the supervisor's process number.
    """

    def __init__(self, name: str, lines: Lines, first: bool, parent: int) -> None:
        self.lines = lines
        self.first = first
        self._name = name
        self._parent = parent
        self._speaker = Speaker(lines.words[name])
        self._stop = RingReader(lines.stop)
        self._beats = RingWriter(lines.beats[name])

    def over(self) -> bool:
        """Whether the session ends, or the supervisor is gone. To be asked at every turn: it is the sign of life."""
        self._beats.write({"time_ns": time.monotonic_ns()})
        return self._stop.latest() is not None or os.getppid() != self._parent

    def say(self, message: Message) -> int:
        """Publish a message of this process."""
        return self._speaker.say(message)

    def ready(self) -> None:
        """Tell that the work begins."""
        self.say(Ready())

    def listen(self, *processes: str) -> list[Listener]:
        """Return listeners to other processes, which begin with what is new in a process that was restarted."""
        return [Listener(self.lines.words[name], self.first) for name in processes]

    def await_first(self, ring: RingReader) -> bool:
        """Wait until a ring holds a record; return False if the session ends before."""
        while not ring.latest():
            if self.over():
                return False
            time.sleep(POLL_S)
        return True

    def ask_for_real_time(self, priority: int) -> None:
        """Ask for SCHED_FIFO at a priority from 1 to 99; say so if it is not granted."""
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except PermissionError:
            self.say(Said(f"The {self._name} process has no real-time priority, so on a busy machine it may pause."))

    def ask_for_precedence(self) -> None:
        """Ask to come before ordinary processes, without real-time priority; it is no matter if that is not granted."""
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, min(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def live(body: Callable[[Any, Life], None], setup: object, name: str, lines: Lines, first: bool, parent: int) -> None:
    """Be a child: run its body, and say in one sentence why it ends if it fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    life = Life(name, lines, first, parent)
    try:
        body(setup, life)
    except (UserError, DeviceError, DataError, PolicyError) as error:
        life.say(Failed(str(error)))
        sys.exit(FAILED)
    except Exception as error:
        if not life.over():
            traceback.print_exc()
            life.say(Failed(f"The {name} process met an error that it does not know: {error!r:.300}"))
        sys.exit(FAILED)


class Child(Generic[Setup]):
    """A process of the session as the supervisor sees it. `setup` is called anew for each start.

    `ready`: since its last start it has said that its work begins.
    """

    def __init__(
        self, name: str, body: Callable[[Setup, Life], None], setup: Callable[[], Setup], lines: Lines
    ) -> None:
        self.name = name
        self.restarts = -1
        self.ready = False
        self._body = body
        self._setup = setup
        self._lines = lines
        self._beats = RingReader(lines.beats[name])
        self._process: BaseProcess
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.restarts += 1
        self.ready = False
        self._silence = Silence()
        arguments = (self._body, self._setup(), self.name, self._lines, self.restarts == 0, os.getpid())
        process = get_context("spawn").Process(target=live, args=arguments, name=self.name, daemon=True)
        with fit_for_children():
            process.start()
        self._process = process

    @property
    def proven(self) -> bool:
        """Whether it was ready once, now or before it was started again."""
        return self.ready or self.restarts > 0

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid or 0

    @property
    def exit_code(self) -> int | None:
        """How it ended: None while it runs, 0 by itself, negative if killed by a signal."""
        return self._process.exitcode

    def killed_for_silence(self) -> float | None:
        """Kill the process if it has shown no sign of life for too long: then return how long, in seconds."""
        limit_s, beat = SILENT_S if self.ready else START_S, self._beats.latest()
        if self._silence.after(beat.sequence if beat else 0, time.monotonic_ns()) < limit_s:
            return None
        self._silence = Silence()
        self._process.kill()
        return limit_s

    def join(self, asked_s: float) -> None:
        """Wait for its end after everybody was told to stop, at `asked_s`; kill it if it takes too long."""
        patience_s = STOP_TIMEOUT_S if self.ready else STOP_UNREADY_S
        self._process.join(max(0.1, asked_s + patience_s - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


@contextmanager
def fit_for_children() -> Iterator[None]:
    """Let children inherit one thread for numeric libraries, and that Ctrl-C is not for them."""
    before: Mapping[str, str | None] = {key: os.environ.get(key) for key in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
