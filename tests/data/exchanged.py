"""A small session with pictures and every label, whose poses are poses, for the tests of import and export."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from recording import START_NS, make_step, owners

from data.schema import Array, EpisodeLayout, Outcome, Owner, Step
from data.session import Session

LAYOUT = EpisodeLayout(object_dim=8, cameras={"front": (64, 96), "wrist": (48, 64)})
EPISODES = (("E" * 21, Outcome.SUCCESS), ("LLLLTTEEEEEELLLLLE", Outcome.FAILURE), ("E" * 17, Outcome.UNKNOWN))


def session_of(
    folder: Path, episodes: tuple[tuple[str, Outcome], ...] = EPISODES, layout: EpisodeLayout = LAYOUT
) -> Path:
    """Record a session of episodes whose owners are spelled so."""
    session = Session.create(folder, "lift", configuration={"policy_period_s": 0.1})
    for number, (text, outcome) in enumerate(episodes):
        writer = session.write_episode(layout)
        for index, owner in enumerate(owners(text)):
            writer.append(posed_step(40 * number + index, owner, layout))
        writer.finish(outcome)
    return folder


def posed_step(number: int, owner: Owner, layout: EpisodeLayout) -> Step:
    """Return a step whose poses turn about the vertical, and whose pictures tell its number."""
    step = make_step(number, owner, layout)
    action = np.append(pose(number + 1), 0.25).astype(np.float32)
    return replace(
        step,
        time_ns=START_NS + number * 100_000_000 + 1234 * number,
        tcp=pose(number),
        commanded=pose(number + 0.5),
        gripper=np.array([0.5], np.float32),
        action_executed=action,
        action_expert=action if owner is Owner.EXPERT else np.full(10, np.nan, np.float32),
        images={name: picture(number, size) for name, size in layout.cameras.items()},
    )


def pose(number: float) -> Array:
    angle = number / 50
    six = [np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0]
    return np.array([0.4, number / 1000, 0.2, *six], np.float32)


def picture(number: int, size: tuple[int, int]) -> Array:
    """Return a soft gradient with a bright bar at a place of the step's own."""
    height, width = size
    image = np.zeros((height, width, 3), np.uint8)
    image[..., :] = np.linspace(40, 120, width)[None, :, None]
    at = 2 * (number * 5 % (width // 2 - 4))
    image[:, at : at + 8] = 220
    return image
