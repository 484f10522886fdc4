"""Checks in processes of their own, so that a library that hangs or crashes costs one line and not the doctor."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from drift_robot.doctor.findings import Check, Finding, problem

KILLED_LATER_S = 5
"""The kernel ends a check so long after its time-out, should the doctor itself have been killed."""


@dataclass(frozen=True)
class Job:
    """A check, the arguments it gets, the subject of the line if it hangs or crashes, and how long it may take."""

    subject: str
    timeout_s: float
    check: Callable[..., Check]
    arguments: tuple[Any, ...] = ()


def run_apart(*jobs: Job) -> Iterator[Finding | str]:
    """Run jobs at the same time, each in a process; yield what they say as it comes. Ends in bounded time."""
    running = {connection: (job, process) for job in jobs for connection, process in [_start(job)]}
    began_s = time.monotonic()
    try:
        while running:
            soonest_s = min(job.timeout_s for job, _ in running.values())
            ready = wait(list(running), max(0.0, began_s + soonest_s - time.monotonic()))
            for connection, (job, process) in list(running.items()):
                if connection not in ready:
                    continue
                try:
                    yield connection.recv()
                except EOFError:
                    process.join()
                    del running[connection]
                    if process.exitcode:
                        yield problem(job.subject, f"The check crashed ({_reason(process.exitcode)}).", _CRASHED)
            for connection, (job, process) in list(running.items()):
                if time.monotonic() - began_s > job.timeout_s:
                    _kill(process)
                    del running[connection]
                    yield problem(job.subject, f"The check did not end within {job.timeout_s:g} s.", _HUNG)
    finally:
        for _, process in running.values():
            _kill(process)


_CRASHED = "Unplug and replug the device, and update its library; if it goes on, report it."
_HUNG = "The device or its library hangs: restart the device, then try again."


def _start(job: Job) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _work(connection: Connection, job: Job) -> None:
    """Be the process of a job; libraries that talk to the terminal are not heard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(round(job.timeout_s) + KILLED_LATER_S)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        for said in job.check(*job.arguments):
            connection.send(said)
    except Exception as error:
        connection.send(problem(job.subject, f"The check met an error that it does not know: {error!r:.200}"))
    connection.close()
    os._exit(0)  # some libraries hang in their destructors


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _reason(exitcode: int) -> str:
    return signal.Signals(-exitcode).name if exitcode < 0 else f"exit code {exitcode}"
