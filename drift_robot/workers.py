"""Worker processes for simulated rollouts: they share out jobs, never see Ctrl-C, and end with their parent."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any, TypeVar

Result = TypeVar("Result")


@contextmanager
def shared_out(
    function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[Iterator[Result]]:
    """Call `function` with each job in one of `workers` processes; gives the results in the order of the jobs.

    Who leaves early waits for the jobs that run, not for the others; an exception, as by Ctrl-C, kills the workers.
    """
    pool = ProcessPoolExecutor(max(1, min(workers, len(jobs))), get_context("spawn"), _end_with_parent)
    try:
        with _signals_waiting():
            futures = [pool.submit(function, *job) for job in jobs]
        yield (future.result() for future in futures)
    except BaseException:
        for worker in active_children():
            worker.kill()
        pool.shutdown(cancel_futures=True)  # and waits for its thread, which would else end in a traceback
        raise
    pool.shutdown(cancel_futures=True)


@contextmanager
def _signals_waiting() -> Iterator[None]:
    """Hold Ctrl-C and its kin back while workers are started, so that none is left half started.

    The workers never see Ctrl-C nor a closed terminal, whose mask they inherit: their end is the parent's to decide.
    Raises KeyboardInterrupt at the end if a signal came.
    """
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]
    came: list[int] = []
    handlers = [(number, signal.signal(number, lambda number, _: came.append(number))) for number in heeded]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers:
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _end_with_parent() -> None:
    """End silently when the parent is gone."""
    threading.Thread(target=_await_parents_end, daemon=True).start()


def _await_parents_end() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
