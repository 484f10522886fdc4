"""The training data in memory: windows of many episodes, drawn so that each source has its share of a batch.

Low-dimensional columns are float32, pictures stay uint8. The trainer adds episodes as they finish.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.episode import Episode
from data.errors import DataError
from data.schema import OBJECTS, Owner
from data.windows import Source, WindowRules, make_windows

HALF_AND_HALF: Mapping[Source, float] = {Source.INTERVENTION: 0.5, Source.DEMONSTRATION: 0.5}
_COLUMNS = ("observation.tcp", "observation.commanded", "observation.gripper", "action.executed")


@dataclass(frozen=True)
class Batch:
    """B windows: the observations, the executed actions that followed, and which of these are targets.

    tcp (B, To, 9), commanded (B, 9), gripper (B, To, 1), objects (B, To, K), images (B, To, h, w, 3) uint8;
    `actions` (B, H, 10), `mask` (B, H) 1 where an action is a target, `source` (B,) of `Source`.
    """

    tcp: NDArray[np.float32]
    commanded: NDArray[np.float32]
    gripper: NDArray[np.float32]
    objects: NDArray[np.float32]
    images: dict[str, NDArray[np.uint8]]
    actions: NDArray[np.float32]
    mask: NDArray[np.float32]
    source: NDArray[np.uint8]


@dataclass(frozen=True)
class Ingested:
    """What an episode brought: windows that can be drawn, by source; expert-labelled steps; whether it is held out."""

    windows: Mapping[Source, int]
    expert_steps: int
    held_out: bool


class ReplayBuffer:
    """Windows of the episodes that were added.

    Every `held_out_every`-th episode with interventions is held out for checking candidates (0: none); `sample` never
    draws from it. `cameras` names the pictures to keep.
    """

    def __init__(
        self,
        obs_horizon: int,
        pred_horizon: int,
        rules: WindowRules | None = None,
        cameras: Sequence[str] = (),
        held_out_every: int = 0,
    ) -> None:
        self._obs_horizon = obs_horizon
        self._pred_horizon = pred_horizon
        self._rules = rules or WindowRules()
        self._cameras = tuple(cameras)
        self._held_out_every = held_out_every
        self._intervened = 0
        self._steps: dict[str, _Rows] = {}
        self._observation_index = _Rows()
        self._action_index = _Rows()
        self._mask = _Rows()
        self._weight = _Rows()
        self._source = _Rows()
        self._held_out = _Rows()
        self._windows_of: dict[Path, slice] = {}
        self._draws: dict[Source, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}

    def __len__(self) -> int:
        return len(self._weight.rows)

    @property
    def episodes(self) -> tuple[Path, ...]:
        """The episodes that were added and not forgotten."""
        return tuple(self._windows_of)

    def add(self, episode: Episode) -> Ingested:
        """Read an episode's columns and add its windows. Raises DataError if it is damaged, known or does not fit."""
        if episode.path in self._windows_of:
            raise DataError(f"{episode.path} is in the buffer already.")
        owner = episode.column("owner")
        windows = make_windows(
            owner,
            episode.column("time.step"),
            episode.outcome,
            self._obs_horizon,
            self._pred_horizon,
            self._rules,
        )
        blocks = {name: episode.column(name) for name in _COLUMNS}
        tracked = episode.layout.object_dim > 0
        blocks[OBJECTS] = episode.column(OBJECTS) if tracked else np.zeros((episode.steps, 0), np.float32)
        blocks |= {name: episode.column(f"observation.images.{name}") for name in self._cameras}
        for name, block in blocks.items():
            known = self._steps.get(name)
            if known is not None and known.rows.shape[1:] != block.shape[1:]:
                expected, got = list(known.rows.shape[1:]), list(block.shape[1:])
                raise DataError(f"{episode.path} has {name} of shape {got}; the other episodes have {expected}.")

        intervened = bool((windows.source == Source.INTERVENTION).any())
        self._intervened += intervened
        held_out = intervened and self._held_out_every > 0 and self._intervened % self._held_out_every == 0
        offset = len(self._steps["action.executed"].rows) if self._steps else 0
        first = len(self)
        for name, block in blocks.items():
            self._steps.setdefault(name, _Rows()).extend(block)
        self._observation_index.extend(windows.observation_index + offset)
        self._action_index.extend(windows.action_index + offset)
        self._mask.extend(windows.mask)
        self._weight.extend(windows.weight)
        self._source.extend(windows.source)
        self._held_out.extend(np.full(len(windows), held_out))
        self._windows_of[episode.path] = slice(first, first + len(windows))
        self._draws.clear()
        drawable = windows.source[windows.weight > 0]
        counts = {source: int((drawable == source).sum()) for source in Source}
        return Ingested(counts, int((owner == Owner.EXPERT).sum()), held_out)

    def forget(self, path: Path) -> None:
        """Draw no more from an episode, as when the operator dropped it; its memory is not given back."""
        if path in self._windows_of:
            self._weight.rows[self._windows_of.pop(path)] = 0.0
            self._draws.clear()

    def select(self, source: Source, held_out: bool = False) -> NDArray[np.int64]:
        """Return the numbers of a source's windows that have a weight, either in training or held out."""
        chosen = (self._source.rows == source) & (self._weight.rows > 0) & (self._held_out.rows == held_out)
        return np.flatnonzero(chosen)

    def pairs(self, source: Source, steps: int) -> NDArray[np.int64]:
        """Return the numbers (M, 2) of a source's training windows that start so many steps apart in an episode."""
        chosen = self.select(source)
        if not len(chosen):
            return np.zeros((0, 2), np.int64)
        at = self._observation_index.rows[chosen, -1]
        episode = np.searchsorted([part.start for part in self._windows_of.values()], chosen, side="right")
        later = np.minimum(np.searchsorted(at, at + steps), len(at) - 1)
        matches = (at[later] == at + steps) & (episode[later] == episode)
        numbers: NDArray[np.int64] = np.stack([chosen, chosen[later]], axis=1)[matches]
        return numbers

    def held_out_episodes(self) -> list[NDArray[np.int64]]:
        """Return the numbers of the held-out interventions' windows, an array an episode."""
        held_out = self.select(Source.INTERVENTION, held_out=True)
        parts = (held_out[(held_out >= part.start) & (held_out < part.stop)] for part in self._windows_of.values())
        return [part for part in parts if len(part)]

    def sample(
        self,
        batch_size: int,
        rng: np.random.Generator,
        shares: Mapping[Source, float] = HALF_AND_HALF,
        part: slice = slice(None),
    ) -> Batch:
        """Draw windows, with replacement, each source having its share of the batch and windows chances by weight.

        The share of a source without windows goes to the others. Only `part` of the drawn windows is returned. Raises
        DataError if there is nothing to draw from.
        """
        draws = {source: self._draw(source) for source in shares}
        present = [source for source in shares if shares[source] > 0 and len(draws[source][0])]
        if not present:
            names = ", ".join(source.name.lower() for source in shares)
            raise DataError(f"There is nothing to train on: no episode has windows of kind {names}.")
        share = np.array([shares[source] for source in present])
        edges = np.floor(np.cumsum(share) / share.sum() * batch_size + rng.random()).astype(int)
        edges[-1] = batch_size
        numbers = []
        for source, count in zip(present, np.diff(edges, prepend=0), strict=True):
            candidates, cumulative = draws[source]
            drawn = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
            numbers.append(candidates[np.minimum(drawn, len(candidates) - 1)])
        return self.gather(np.concatenate(numbers)[part])

    def gather(self, windows: NDArray[np.int64], pictures: bool = True) -> Batch:
        """Return the windows of these numbers (B,), without pictures if these are not wanted."""
        observation, action = self._observation_index.rows[windows], self._action_index.rows[windows]
        steps = {name: column.rows for name, column in self._steps.items()}
        return Batch(
            tcp=steps["observation.tcp"][observation],
            commanded=steps["observation.commanded"][observation[:, -1]],
            gripper=steps["observation.gripper"][observation],
            objects=steps[OBJECTS][observation],
            images={name: steps[name][observation] for name in self._cameras if pictures},
            actions=steps["action.executed"][action],
            mask=self._mask.rows[windows],
            source=self._source.rows[windows],
        )

    def _draw(self, source: Source) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return a source's windows and the running sum of their weights."""
        if source not in self._draws:
            windows = self.select(source)
            self._draws[source] = windows, np.cumsum(self._weight.rows[windows], dtype=np.float64)
        return self._draws[source]


class _Rows:
    """An array that grows along its first axis, its memory doubling when it is full."""

    def __init__(self) -> None:
        self.rows: NDArray[Any] = np.zeros(0)
        self._memory: NDArray[Any] | None = None

    def extend(self, block: NDArray[Any]) -> None:
        """Append rows; the first block sets shape and type."""
        used = len(self.rows)
        if self._memory is None:
            self._memory = np.empty((max(2 * len(block), 64), *block.shape[1:]), block.dtype)
        if used + len(block) > len(self._memory):
            grown = np.empty((2 * (used + len(block)), *block.shape[1:]), block.dtype)
            grown[:used] = self.rows
            self._memory = grown
        self._memory[used : used + len(block)] = block
        self.rows = self._memory[: used + len(block)]
