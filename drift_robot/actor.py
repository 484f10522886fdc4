"""The acting policy: proposes chunks for one or many cells, and is swapped in place between episodes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from drift_robot.control import ControlLoop
from drift_robot.observation import batch_observations
from policies.alarm import Alarm
from policies.checkpoint import Manifest, load_policy
from policies.errors import PolicyError
from policies.policy import DiffusionPolicy, resting_observation


@dataclass(frozen=True)
class _Window:
    """What was left of a chunk when the next one was made, and what that was made from; tensors with one row."""

    loop: ControlLoop
    time_ns: int
    condition: Tensor
    commanded: Tensor
    rest: Tensor
    new: Tensor


@dataclass(frozen=True)
class Successor:
    """A published version that is loaded and warm: it acts as soon as an actor is told to let it."""

    policy: DiffusionPolicy
    version: int
    rank: int
    alarm: Alarm | None

    @classmethod
    def load(cls, folder: Path, device: torch.device, compiled: bool = False) -> "Successor":
        """Load a published version and let it act once on nothing.

        Raises PolicyError if it is damaged, or is another version than its folder's name says.
        """
        policy, manifest = _load_warm(folder, device, compiled)
        if folder.name.isdecimal() and manifest.version != int(folder.name):
            raise PolicyError(f"checkpoint {folder} holds version {manifest.version}: somebody has put it there.")
        return cls(policy, manifest.version, manifest.rank, manifest.alarm)


def _load_warm(folder: Path, device: torch.device, compiled: bool) -> tuple[DiffusionPolicy, Manifest]:
    """Return a published policy that has acted once, so that its first real chunk takes no longer than the others."""
    policy, manifest = load_policy(folder, device)
    policy.requires_grad_(False)
    policy.compiled = compiled
    policy.act(resting_observation(policy.config), torch.Generator().manual_seed(0))
    return policy, manifest


class Actor:
    """A policy that acts, with its version and the rank at which it was trained. Its noise follows from the seed.

    `alarm` is how its chunks are judged; None where the version has none, or none is wanted.
    """

    def __init__(self, policy: DiffusionPolicy, version: int, rank: int, seed: int, alarm: Alarm | None = None) -> None:
        self._policy = policy.eval().requires_grad_(False)
        self.version = version
        self.rank = rank
        self.alarm = alarm
        self._generator = torch.Generator().manual_seed(seed)
        self._windows: list[_Window] = []

    @classmethod
    def load(cls, folder: Path, seed: int, device: torch.device, compiled: bool = False) -> "Actor":
        """Load a published version, with its backbone `compiled` if so wanted.

        Raises PolicyError if it is damaged, or cannot be compiled.
        """
        policy, manifest = _load_warm(folder, device, compiled)
        return cls(policy, manifest.version, manifest.rank, seed, manifest.alarm)

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        return self._policy.device

    def swap(self, successor: Successor) -> None:
        """Let another version act from here on; nothing is copied, so nobody waits.

        Raises PolicyError, leaving all as it was, if it is not of this policy's architecture.
        """
        if successor.policy.config != self._policy.config:
            raise PolicyError(
                f"version {successor.version} is a policy of another architecture than the one that acts."
            )
        self._policy = successor.policy
        self.version, self.rank, self.alarm = successor.version, successor.rank, successor.alarm
        self._windows.clear()

    def reseed(self, seed: int) -> None:
        """Draw the noise from here on from a seed, so that an episode does not depend on those before it."""
        self._generator.manual_seed(seed)

    def serve(self, loops: list[ControlLoop]) -> None:
        """Compute chunks for all cells that are due, those with and those without a committed prefix together."""
        due = [loop for loop in loops if loop.due()]
        prefixes = [loop.prefix() for loop in due]
        for has_prefix in (False, True):
            chosen = [(loop, p) for loop, p in zip(due, prefixes, strict=True) if (p is not None) == has_prefix]
            if not chosen:
                continue
            prefix = np.stack([p for _, p in chosen if p is not None]) if has_prefix else None
            self._serve([loop for loop, _ in chosen], prefix)

    def _serve(self, loops: list[ControlLoop], prefix: NDArray[np.float32] | None) -> None:
        """Compute and deliver a chunk for the history of each loop; keep what the alarm needs."""
        observation = batch_observations([loop.history for loop in loops]).to(self._policy.device)
        condition = self._policy.encode(observation)
        committed = None if prefix is None else torch.from_numpy(prefix.astype(np.float32))
        chunks = self._policy.act(observation, self._generator, committed, condition=condition)
        actions: NDArray[np.float32] = chunks.cpu().numpy()
        self._windows = [window for window in self._windows if window.loop not in loops]
        for row, loop in enumerate(loops):
            rest, only = torch.from_numpy(loop.rest())[None].to(chunks.device), slice(row, row + 1)
            if self.alarm is not None and rest.shape[1]:
                time_ns, commanded = loop.history.newest.time_ns, observation.commanded[only]
                self._windows.append(_Window(loop, time_ns, condition[only], commanded, rest, chunks[only]))
            loop.deliver(actions[row], self.version, self.rank)

    def rehearse(self) -> None:
        """Judge a made-up window, which nobody is told of: the first real one then takes no longer than the others."""
        if self.alarm is None:
            return
        config, device = self._policy.config, self._policy.device
        pose = resting_observation(config).commanded.to(device)
        actions = torch.cat([pose, torch.ones(1, 1, device=device)], dim=1).expand(1, config.pred_horizon, -1)
        condition = torch.zeros(1, self._policy.condition_dim, device=device)
        self.alarm.levels(self._policy, condition, pose, actions[:, config.action_horizon :], actions)

    @property
    def unjudged(self) -> bool:
        """Whether there are windows that were not judged yet."""
        return bool(self._windows)

    def judge(self) -> None:
        """Tell each loop how unusual its last window was, each window once."""
        windows, self._windows = self._windows, []
        if self.alarm is None:
            return
        for left in {window.rest.shape[1] for window in windows}:
            alike = [window for window in windows if window.rest.shape[1] == left]
            levels = self.alarm.levels(
                self._policy,
                torch.cat([window.condition for window in alike]),
                torch.cat([window.commanded for window in alike]),
                torch.cat([window.rest for window in alike]),
                torch.cat([window.new for window in alike]),
            )
            for window, level in zip(alike, levels.tolist(), strict=True):
                window.loop.judge(window.time_ns, level)
