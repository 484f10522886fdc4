"""What the tests of the real-time session share: its configuration, being one of its processes, steps to record."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from data.schema import EpisodeLayout, Owner, Step
from drift_robot.config import Config, config_from_dict
from drift_robot.realtime.child import Life
from drift_robot.realtime.lines import Lines
from drift_robot.realtime.messages import Message, Said, Speaker

LAYOUT = EpisodeLayout(8, {"front": (24, 32)})
PROCESSES = ("cell", "arm", "control", "recorder", "teleop", "window", "supervisor")
PATIENCE_S = 120.0


def configuration(episodes: int, demonstrations: int = 2, **adapt: object) -> Config:
    """Return the configuration of a session with the smallest policy; `adapt` are changes in its section."""
    return config_from_dict(
        {
            "cell": {"task": "lift"},
            "policy": {"unet_dims": [32, 64], "prediction": "sample", "sample_steps": 2},
            "rank": {"r_max": 8, "r_min": 4},
            "limits": {"arm_timeout_s": 1.0, "device_timeout_s": 1.0},
            "collect": {"episodes": demonstrations},
            "bootstrap": {"epochs": 1, "batches_per_epoch": 2, "batch_size": 16, "threads": 1},
            "adapt": {
                **{"episodes": episodes, "pace": "free", "batches_per_round": 2, "batch_size": 16, "hold_out": 0},
                **{"candidate_labels": 1, "candidate_episodes": 1},
                **adapt,
            },
            "evaluate": {"episodes": 1},
        },
        "test",
    )


def life_of(name: str, lines: Lines, first: bool = True) -> Life:
    """Be a process of the session, within the test's own."""
    return Life(name, lines, first, os.getppid())


@contextmanager
def running(
    body: Callable[[object, Life], None], setup: object, name: str, lines: Lines, first: bool = True
) -> Iterator[None]:
    """Run a process's body in a thread, until the context is left."""
    thread = threading.Thread(target=body, args=(setup, life_of(name, lines, first)))
    thread.start()
    try:
        yield
    finally:
        Speaker(lines.stop).say(Said("enough"))
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Wait until a condition holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def a_step(number: int = 0, owner: Owner = Owner.LEARNER) -> Step:
    """Return a step with numbers of its own in every column."""
    rng = np.random.default_rng(number)

    def some(size: int) -> np.ndarray:
        return rng.normal(size=size).astype(np.float32)

    return Step(
        time_ns=1000 + number,
        tcp=some(9),
        commanded=some(9),
        gripper=some(1),
        joints=some(6),
        joint_velocities=some(6),
        wrench=some(6),
        objects=some(8),
        images={"front": rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)},
        image_capture_ns={"front": 900 + number},
        arm_capture_ns=990 + number,
        receipt_ns=1001 + number,
        command_ns=1002 + number,
        action_executed=some(10),
        action_learner=some(10),
        action_expert=np.full(10, np.nan, np.float32),
        owner=owner,
        recovered=bool(number % 2),
        version=3,
        rank=4,
    )


def of_kind(messages: list[Message], kind: type) -> list[Message]:
    """Return the messages of a kind."""
    return [message for message in messages if isinstance(message, kind)]
