"""From the end of an episode to the better version acting, piece by piece, as trainer and control do it.

The robot waits for one piece, the swap: all before it happens in the trainer's process or in a thread beside the
control loop. The baseline is the same update at full rank, as HG-DAgger does it.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from data.buffer import ReplayBuffer
from data.episode import Episode
from data.schema import Outcome, Owner
from data.session import finished_episodes
from data.windows import Source
from drift_robot.actor import Actor, Successor
from drift_robot.benchmark.turns import Row, Times, compared, in_turns, made_up, now_ms
from drift_robot.bootstrap import load_demonstrations
from drift_robot.candidate import candidate_fault
from drift_robot.collect import collect
from drift_robot.config import Config, config_from_dict
from drift_robot.lockstep import LockstepCell, episode_layout, policy_config, run_episodes
from drift_robot.run_folder import RunFolder, open_session
from drift_robot.training import calibrated_alarm, observation_of, train_batch
from policies.checkpoint import Manifest, load_policy, save
from policies.methods import DENSE, MODULATED, Phase
from policies.optimizer import OptimizerConfig
from policies.policy import DiffusionPolicy
from policies.training import TrainingState

BASELINE = "full rank"
DEMONSTRATIONS, CANNED, BATCH = 20, 16, 64  # as many as let the alarm be calibrated on all that it uses


def update_latency(
    dims: tuple[int, ...], rank: int, picture: int, batches: int, rounds: int, device: torch.device
) -> list[Row]:
    """Return a row for each piece of an update, at full rank and at a rank."""
    with ExitStack() as stack:
        run = RunFolder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        config = _recorded(run, dims, picture)
        updates = {
            name: _Update(config, run, Path(stack.enter_context(tempfile.TemporaryDirectory())), phase, rank, device)
            for name, phase in ((BASELINE, DENSE), (f"rank {rank}", MODULATED))
        }
        told = in_turns({name: lambda u=update: u.take(batches) for name, update in updates.items()}, rounds, 0)  # type: ignore[misc]
    sizes: dict[str, str | float] = {
        "unet": " ".join(map(str, dims)),
        "cameras": f"two, {picture}x{picture}" if picture else "none",
        "batches": float(batches),
    }
    rows = compared(told, BASELINE, sizes)
    walls = [median(turn[part] for turn in update.wall) for update in updates.values() for part in update.wall[0]]
    return [row | {"wall_ms": wall} for row, wall in zip(rows, walls, strict=True)]


class _Update:
    """A training state with a version that acts; each update is trained, checked, published and swapped in."""

    def __init__(
        self, config: Config, run: RunFolder, folder: Path, phase: Phase, rank: int, device: torch.device
    ) -> None:
        self._config, self._run, self._folder, self._device = config, run, folder, device
        policy = DiffusionPolicy(policy_config(config))
        policy.fit_normalizer(*made_up(policy.config, 64))
        self._state = TrainingState.create(policy.to(device), OptimizerConfig())
        self._state.enter(phase, rank if phase.form == "modulated" else self._state.rank)
        self._buffer: ReplayBuffer = load_demonstrations(config, run.demonstrations)
        demonstrations = self._buffer.select(Source.DEMONSTRATION)
        self._canned = self._buffer.gather(demonstrations[:CANNED])
        self._version = 0
        save(self._path(0), self._manifest(), self._state.acting_weights())
        self._actor = Actor.load(self._path(0), 0, device)
        self.wall: list[Times] = []

    def take(self, batches: int) -> Times:
        """Make and swap in the next version; return what each piece took, in ms; `wall` has it by the clock."""
        processor: dict[str, float] = {}
        wall: dict[str, float] = {}

        def piece(name: str, work: Callable[[], None]) -> None:
            began, began_ms = time.perf_counter(), now_ms(self._device)
            work()
            processor[name] = now_ms(self._device) - began_ms
            wall[name] = 1e3 * (time.perf_counter() - began)

        self._version += 1
        pieces = {
            "ingest": self._ingest,
            "training": lambda: self._train(batches),
            "check": self._check,
            "publish": self._publish,
            "load and warm-up": self._load,
            "swap": lambda: self._actor.swap(self._successor),
            "first chunk after it": self._act,
        }
        for name, work in pieces.items():
            piece(name, work)
        self.wall.append({**wall, "whole update": sum(wall.values())})
        return {**processor, "whole update": sum(processor.values())}

    def _path(self, version: int) -> Path:
        return self._folder / f"{version:06d}"

    def _manifest(self) -> Manifest:
        return Manifest(self._version, None, "D(RR)", self._state.rank, 0, 1, self._state.policy.config)

    def _ingest(self) -> None:
        (path,) = finished_episodes(self._run.session)
        self._buffer.forget(path)
        self._buffer.add(Episode.open(path))

    def _train(self, batches: int) -> None:
        rng, generator = np.random.default_rng(self._version), torch.Generator().manual_seed(self._version)
        shares = {Source.INTERVENTION: 0.5, Source.DEMONSTRATION: 0.5}
        for _ in range(batches):
            train_batch(self._state, self._buffer.sample(BATCH, rng, shares), 1e-4, generator)

    def _check(self) -> None:
        """Calibrate the alarm, save, load back and try the candidate beside the version that acts."""
        config, weights, manifest = self._config, self._state.acting_weights(), self._manifest()
        alarm = calibrated_alarm(
            weights, manifest.config, self._buffer, config.alarm, config.inference_steps, self._device
        )
        save(self._folder / "candidate", replace(manifest, alarm=alarm), weights)
        candidate, _ = load_policy(self._folder / "candidate", self._device)
        acting, _ = load_policy(self._path(self._version - 1), self._device)
        held_out = [self._buffer.gather(self._buffer.select(Source.INTERVENTION))]
        candidate_fault(candidate, acting, self._canned, held_out, config.limits)

    def _publish(self) -> None:
        state = self._folder / f"training-{self._version}"
        save(state, self._manifest(), self._state.acting_weights(), self._state)
        (self._folder / "candidate").rename(self._path(self._version))

    def _load(self) -> None:
        self._successor = Successor.load(self._path(self._version), self._device)

    def _act(self) -> None:
        one = observation_of(self._buffer.gather(np.array([0])))
        self._successor.policy.act(one, torch.Generator().manual_seed(0))


def _recorded(run: RunFolder, dims: tuple[int, ...], picture: int) -> Config:
    """Record demonstrations, and an episode in which the expert took over; return the configuration."""
    cameras = {name: {"height": picture, "width": picture} for name in ("front", "wrist")} if picture else {}
    config = config_from_dict(
        {
            "cell": {"cameras": cameras},
            "policy": {"unet_dims": list(dims), "condition_width": 128},
            "collect": {"episodes": DEMONSTRATIONS},
            "adapt": {"hold_out": 0},
        },
        "the benchmark",
    )
    collect(config, run, lambda *_: None)
    (log,) = run_episodes([LockstepCell(config, "collect")], None, [7])
    writer = open_session(run.session, config).write_episode(episode_layout(config), {"scene_seed": 7})
    for index, step in enumerate(log.steps):
        writer.append(replace(step, owner=Owner.EXPERT if index >= 8 else Owner.LEARNER, version=0))
    writer.finish(Outcome.SUCCESS)
    return config
