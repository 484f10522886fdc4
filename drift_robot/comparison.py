"""Two versions on matched starts: a plan that hides which of them acts, and what of it is done.

Every pair of episodes begins alike, one under A and one under B. How they are run is in `compare` (lock-step) and
`realtime`, what comes of it in `comparison_report`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from data.episode import Episode
from data.schema import JUDGEMENTS
from data.session import finished_episodes
from drift_robot.seeds import scene_seed

Side = Literal["A", "B"]
SIDES: tuple[Side, Side] = ("A", "B")
BLOCK = 2
"""So many pairs begin with A and with B equally often: ABBA or BAAB, by lot."""


@dataclass(frozen=True)
class Contender:
    """One of the two: a name for people, the folder of its checkpoint, and the hash of its weights."""

    name: str
    checkpoint: Path
    sha256: str


@dataclass(frozen=True)
class Turn:
    """One episode of the plan: the number of its pair, from 0, who acts, and whether the pair begins with it."""

    pair: int
    side: Side
    first: bool


@dataclass(frozen=True)
class Comparison:
    """A plan of `pairs` pairs. Who begins a pair follows from `order`, a number drawn when the comparison was begun."""

    folder: Path
    contenders: tuple[Contender, Contender]
    pairs: int
    seed: int
    order: int

    def checkpoint(self, side: Side) -> Path:
        """Return the folder of the version that acts as a side."""
        return self.contenders[SIDES.index(side)].checkpoint

    def scene_seed(self, pair: int) -> int:
        """Return the seed of a pair's start, one that no other phase uses."""
        return scene_seed(self.seed, "evaluation", pair)

    def turns(self) -> list[Turn]:
        """Return all episodes of the plan, in order."""
        turns = []
        for pair in range(self.pairs):
            block, place = divmod(pair, BLOCK)
            begins = (np.random.default_rng([self.order, block]).integers(2) + place) % 2
            turns += [Turn(pair, SIDES[begins], True), Turn(pair, SIDES[1 - begins], False)]
        return turns

    def missing(self) -> list[Turn]:
        """Return the episodes of the plan that are not recorded with an outcome, in order."""
        done = {_place(episode) for episode in self._recorded()}
        return [turn for turn in self.turns() if (turn.pair, turn.side) not in done]

    def recorded(self) -> dict[tuple[int, Side], Episode]:
        """Return the recorded episodes by pair and side; of two for the same turn the later one."""
        return {_place(episode): episode for episode in self._recorded()}

    def _recorded(self) -> Iterator[Episode]:
        for path in finished_episodes(self.folder):
            episode = Episode.open(path)
            if {"pair", "side"} <= episode.attributes.keys() and episode.outcome in JUDGEMENTS:
                yield episode


def _place(episode: Episode) -> tuple[int, Side]:
    return episode.attributes["pair"], episode.attributes["side"]


class Turns:
    """Whose turn it is in a session, from what is recorded: an episode that is discarded or dropped is done again."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._recorded: dict[tuple[int, Side], Episode] = {}
        self.look()
        self._standing = self._missing[0] if self._missing else comparison.turns()[-1]

    def look(self) -> None:
        """Look anew at what is recorded. Reads the disk: not while the arm moves."""
        self._missing = self._comparison.missing()
        self._recorded = self._comparison.recorded()

    def put_up(self) -> Turn:
        """Return the turn whose start is to be put up now."""
        self._standing = self._missing[0] if self._missing else self._standing
        return self._standing

    @property
    def scene_seed(self) -> int:
        """The seed of the start that stands or is being put up."""
        return self._comparison.scene_seed(self._standing.pair)

    def begin(self) -> Turn:
        """Return the turn that begins now, on the start that stands: of its pair the first that is missing."""
        return next((turn for turn in self._missing if turn.pair == self._standing.pair), self._standing)

    def wanted(self) -> tuple[str, int | None] | None:
        """Tell the operator, who must not know the side, which start the next episode needs; None if none is missing.

        The second is the number of the pair's recorded episode, whose start it is, if there is one.
        """
        if not self._missing:
            return None
        turn, pairs = self.begin(), self._comparison.pairs
        earlier = next((self._recorded[key].index for key in self._recorded if key[0] == turn.pair), None)
        if earlier is None:
            return f"Pair {turn.pair + 1} of {pairs} begins: put up a start that you can rebuild.", None
        return f"Pair {turn.pair + 1} of {pairs} once more: rebuild the same start.", earlier
