"""Whether training in the background costs the control loop anything: its cadence with the trainer running, and held.

A process of its own trains batch after batch, as low in priority as a session's trainer; between turns it is stopped
and continued by signals, so that both ways are measured within seconds of each other. Processes are pinned if asked.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import torch

from drift_robot.benchmark.turns import Row, Times, compared, in_turns, made_up
from drift_robot.realtime.child import fit_for_children
from drift_robot.realtime.pacing import Pace
from drift_robot.realtime.supervisor import TRAINER_NICENESS
from hardware.clock import MonotonicClock
from policies.methods import MODULATED
from policies.optimizer import OptimizerConfig
from policies.policy import DiffusionPolicy, PolicyConfig
from policies.training import TrainingState

PERIOD_S = 0.1
START_S = 300.0
BASELINE = "trainer stopped"


def background(dims: tuple[int, ...], rank: int, seconds: float, rounds: int, pinned: bool, device: str) -> list[Row]:
    """Return the rows of the control loop with the trainer stopped and with it running, in turns.

    Pinned, the last of this process's cores is the trainer's and the others are the loop's.
    """
    cores = sorted(os.sched_getaffinity(0))
    pinned = pinned and len(cores) > 1
    config = PolicyConfig(unet_dims=dims, condition_width=128)
    policy = DiffusionPolicy(config)
    policy.fit_normalizer(*made_up(config, 8))
    policy.to(device).eval().requires_grad_(False)
    observation = made_up(config, 1)[0].to(device)
    generator = torch.Generator().manual_seed(0)
    late_ms: dict[str, list[float]] = {BASELINE: [], "trainer running": []}

    def loop(name: str) -> Times:
        pace = Pace(PERIOD_S, MonotonicClock())
        took_ms, late = [], []
        ended_s = time.monotonic() + seconds
        while time.monotonic() < ended_s:
            due_ns = time.monotonic_ns() + pace.left_ns()
            began_ns = pace.wait()
            policy.act(observation, generator).cpu()
            took_ms.append((time.monotonic_ns() - began_ns) / 1e6)
            late.append(max(0, began_ns - due_ns) / 1e6)
        late_ms[name] += late
        return {"turn of the loop": float(np.median(took_ms)), "from turn to turn": 1e3 * seconds / len(took_ms)}

    def running() -> Times:
        os.kill(pid, signal.SIGCONT)
        try:
            return loop("trainer running")
        finally:
            os.kill(pid, signal.SIGSTOP)

    policy.act(observation, generator).cpu()  # the first takes longer, which is nobody's fault
    with _trainer(dims, rank, cores[-1:] if pinned else cores, device) as pid:
        if pinned:
            os.sched_setaffinity(0, cores[:-1])
        try:
            told = in_turns({BASELINE: lambda: loop(BASELINE), "trainer running": running}, rounds, 0)
        finally:
            os.sched_setaffinity(0, cores)
    sizes: dict[str, str | float] = {
        "unet": " ".join(map(str, dims)),
        "loop": f"{1 / PERIOD_S:g} Hz",
        "pinned": "yes" if pinned else "no",
    }
    rows = compared(told, BASELINE, sizes)
    late = {name: np.percentile(values, [50, 99]) for name, values in late_ms.items()}
    return [
        row | {"late_p50_ms": float(late[name][0]), "late_p99_ms": float(late[name][1])}
        for row in rows
        for name in late
        if str(row["measured"]).startswith(f"{name}: ")
    ]


@contextmanager
def _trainer(dims: tuple[int, ...], rank: int, cores: list[int], device: str) -> Iterator[int]:
    """Give the process number of a trainer that is stopped; it is killed at the end."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with fit_for_children():
        process = context.Process(target=_train, args=(dims, rank, cores, device, theirs), daemon=True)
        process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise TimeoutError(f"the trainer did not begin to train within {START_S:g} s")
        ours.recv_bytes()
        pid = process.pid or 0
        os.kill(pid, signal.SIGSTOP)
        yield pid
    finally:
        process.kill()
        process.join()


def _train(dims: tuple[int, ...], rank: int, cores: list[int], device: str, ready: "Connection[bytes, bytes]") -> None:
    """Train until killed; say when the first batch is done."""
    os.sched_setaffinity(0, cores)
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + TRAINER_NICENESS)
    torch.set_num_threads(1)  # as a session's has
    config = PolicyConfig(unet_dims=dims, condition_width=128)
    observation, actions = made_up(config, 64)
    policy = DiffusionPolicy(config)
    policy.fit_normalizer(observation, actions)
    state = TrainingState.create(policy.to(device), OptimizerConfig())
    state.enter(MODULATED, rank)
    generator, mask = torch.Generator().manual_seed(0), torch.ones(actions.shape[:2])
    state.update(state.policy.loss(observation, actions, mask, generator).mean())
    ready.send_bytes(b"training")
    while True:
        state.update(state.policy.loss(observation, actions, mask, generator).mean())
