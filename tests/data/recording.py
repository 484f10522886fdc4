"""Steps and episodes for the tests of `data`: every value is a function of the step's number, so it can be checked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.episode import Episode, EpisodeWriter
from data.schema import ARM_COLUMNS, Array, EpisodeLayout, Outcome, Owner, Step

LOW_DIMENSIONAL = EpisodeLayout(object_dim=8)
WITH_PICTURES = EpisodeLayout(object_dim=8, cameras={"front": (6, 8), "wrist": (4, 4)})
PERIOD_NS = 100_000_000
START_NS = 5_000_000_000


def numbers(step: int, size: int) -> Array:
    return (step + np.arange(size) / 100).astype(np.float32)


def picture(step: int, size: tuple[int, int]) -> Array:
    return np.full((*size, 3), step % 251, dtype=np.uint8)


def make_step(number: int, owner: Owner = Owner.EXPERT, layout: EpisodeLayout = LOW_DIMENSIONAL) -> Step:
    time_ns = START_NS + number * PERIOD_NS
    return Step(
        time_ns=time_ns,
        tcp=numbers(number, 9),
        commanded=numbers(number + 1000, 9),
        gripper=numbers(number, 1),
        joints=numbers(number, 6),
        joint_velocities=numbers(number, 6),
        wrench=numbers(number, 6),
        objects=numbers(number + 2000, layout.object_dim),
        images={name: picture(number, size) for name, size in layout.cameras.items()},
        image_capture_ns=dict.fromkeys(layout.cameras, time_ns - 1),
        arm_capture_ns=time_ns - 2,
        receipt_ns=time_ns + 1,
        command_ns=time_ns + 2,
        action_executed=numbers(number + 3000, 10),
        action_expert=numbers(number + 3000, 10),
        owner=owner,
        recovered=number % 2 == 1,
        version=number // 10,
        rank=64,
        alarm=number / 8,
    )


def arm_log(first: int, count: int) -> list[Array]:
    """Return blocks for `append_arm_log` in which every number of sample k is k (its authority modulo 251)."""
    samples = np.arange(first, first + count)
    return [
        np.broadcast_to(
            samples.reshape(-1, *(1 for _ in column.shape)) % (251 if column.dtype == "uint8" else 2**31),
            (count, *column.shape),
        ).astype(column.dtype)
        for column in ARM_COLUMNS
    ]


def record(
    session: Path,
    owners: Sequence[Owner] | int,
    outcome: Outcome = Outcome.SUCCESS,
    index: int = 0,
    layout: EpisodeLayout = LOW_DIMENSIONAL,
) -> Path:
    """Write an episode with these owners, or so many steps of the expert's."""
    writer = EpisodeWriter.create(session, index, layout)
    for number, owner in enumerate([Owner.EXPERT] * owners if isinstance(owners, int) else owners):
        writer.append(make_step(number, owner, layout))
    return writer.finish(outcome)


def owners(text: str) -> list[Owner]:
    """Return the owners that a string such as "LLTEEL" spells."""
    return [{"L": Owner.LEARNER, "T": Owner.TRANSITION, "E": Owner.EXPERT}[letter] for letter in text]


def check_steps(episode: Episode, steps: int) -> None:
    """Compare the first steps of an episode with those that `make_step` makes."""
    expected = [make_step(number, layout=episode.layout).row() for number in range(steps)]
    for column in make_step(0, layout=episode.layout).row():
        values = episode.column(column)[:steps]
        wanted = np.array([row[column] for row in expected]).reshape(values.shape)
        np.testing.assert_array_equal(values, wanted, err_msg=column)
