"""The offline phase of DRIFT-DAgger: train on demonstrations while the rank scheduler lowers the trainable rank.

What is trained at that rank, the configuration's method says.
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from data.buffer import ReplayBuffer
from data.episode import Episode
from data.windows import Source, WindowRules
from drift_robot.collect import Progress
from drift_robot.compute import chosen_device
from drift_robot.config import Config
from drift_robot.distributed import Team, team
from drift_robot.errors import UserError
from drift_robot.figures import TrainingFigures
from drift_robot.fitting import fitting_manifest, require_fitting_episode
from drift_robot.lockstep import policy_config
from drift_robot.run_folder import RunFolder, occupied, open_session
from drift_robot.training import calibrated_alarm, observation_of, train_batch
from policies.checkpoint import Manifest, load_manifest, load_training, save
from policies.errors import PolicyError
from policies.methods import METHODS
from policies.optimizer import OptimizerConfig, cosine_learning_rate
from policies.policy import DiffusionPolicy
from policies.schedules import RankSchedule
from policies.training import TrainingState
from policies.vision import ResNet18

NORMALISER_WINDOWS = 50_000


@dataclass(frozen=True)
class BootstrapFigures:
    """What the offline phase gave. Times in seconds; `ranks` has an entry an epoch."""

    demonstrations: int
    updates: int
    training_seconds: float
    batch_seconds: float
    loss: float
    ranks: list[int]


def load_demonstrations(config: Config, folder: Path) -> ReplayBuffer:
    """Return the windows of all demonstrations in memory. Raises UserError if there are none, or they do not fit."""
    policy = policy_config(config)
    buffer = ReplayBuffer(
        policy.obs_horizon,
        policy.pred_horizon,
        WindowRules(autonomous=config.adapt.autonomous_share > 0),
        tuple(policy.cameras),
        config.adapt.hold_out,
    )
    if not (folder / "session.json").exists():
        raise UserError(f"{folder} holds no demonstrations; run 'drift-robot collect' first.")
    for path in open_session(folder, config).episodes():
        episode = Episode.open(path)
        require_fitting_episode(config, episode)
        buffer.add(episode)
    if not len(buffer):
        raise UserError(f"{folder} holds no successful demonstration; run 'drift-robot collect' first.")
    return buffer


def bootstrap(config: Config, run: RunFolder, progress: Progress) -> BootstrapFigures:
    """Train the first policy and publish it as version 0; an interrupted bootstrap goes on at its last epoch.

    Processes that torchrun started train it together. Raises UserError for a team that cannot be, demonstrations or a
    policy that do not fit the configuration, or if another process works in the run.
    """
    if not run.versions().published():
        with (
            team(config.compute, config.bootstrap.batch_size) as members,
            occupied(run) if members.leads else nullcontext(),
        ):
            _bootstrap(config, run, progress, members)
    fitting_manifest(config, run.versions(), 0)
    return bootstrap_figures(run.versions().path(0))


def _bootstrap(config: Config, run: RunFolder, progress: Progress, members: Team) -> None:
    torch.set_num_threads(config.bootstrap.threads)
    settings, schedule, phase = config.bootstrap, RankSchedule(config.rank), METHODS[config.method].offline
    buffer = load_demonstrations(config, run.demonstrations)
    optimizer = OptimizerConfig(learning_rate=settings.learning_rate, warmup_updates=settings.warmup_batches)
    total = settings.epochs * settings.batches_per_epoch
    first_epoch, state, figures = _resume(run, buffer, config, optimizer, members.device)
    part = members.share.part(settings.batch_size)
    lines = TrainingFigures(run.bootstrap_figures, "bootstrap", config.logging) if members.leads else None
    for epoch in range(first_epoch, settings.epochs):
        rng = np.random.default_rng([config.seed, epoch])
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        began = time.perf_counter()
        state.enter(phase, schedule.rank(epoch + 1, settings.epochs))
        rank, loss_of = state.rank, members.loss_of(state.policy)
        losses, seconds = [], []
        for index in range(settings.batches_per_epoch):
            batch = buffer.sample(settings.batch_size, rng, {Source.DEMONSTRATION: 1.0}, part)
            done = epoch * settings.batches_per_epoch + index
            update = train_batch(state, batch, cosine_learning_rate(optimizer, done, total), generator, loss_of)
            losses.append(update.loss)
            seconds.append(update.seconds)
            if index % 20 == 0:
                progress(done, total, f"epoch {epoch + 1}/{settings.epochs}, rank {rank}, loss {update.loss:.4f}")
        figures["updates"] += settings.batches_per_epoch
        figures["ranks"].append(rank)
        figures["losses"].append(members.mean(float(np.mean(losses))))
        figures["training_seconds"] += time.perf_counter() - began
        figures["batch_seconds"].append(float(np.mean(seconds)))
        manifest = Manifest(
            version=0,
            parent=None,
            method=config.method,
            rank=rank,
            epoch=epoch + 1,
            epochs=settings.epochs,
            config=state.policy.config,
            data={"demonstrations": len(buffer.episodes), "windows": len(buffer)},
            figures=figures,
        )
        del loss_of  # before the next rank exchanges the parameters that it watches
        if members.leads:
            target = run.training / "000000" if epoch + 1 == settings.epochs else run.bootstrap / f"{epoch:06d}"
            save(target, manifest, state.acting_weights(), state)
            _forget_older(run.bootstrap, target)
        if lines is not None:
            loss, batch_seconds = figures["losses"][-1], figures["batch_seconds"][-1]
            lines.note(epoch + 1, {"epoch": epoch + 1, "rank": rank, "loss": loss, "batch_seconds": batch_seconds})
    if lines is not None:
        lines.close()
    if members.leads:
        _publish(config, run, buffer, members.device)
    members.wait()
    progress(total, total, "policy bootstrapped")


def _publish(config: Config, run: RunFolder, buffer: ReplayBuffer, device: torch.device) -> None:
    """Publish what was trained as version 0, with its alarm."""
    state, manifest = load_training(run.training / "000000")
    weights = state.acting_weights()
    alarm = calibrated_alarm(weights, manifest.config, buffer, config.alarm, config.inference_steps, device)
    save(run.versions().path(0), replace(manifest, alarm=alarm), weights)


def train_longer(config: Config, run: RunFolder, updates: int, progress: Progress) -> Path:
    """Train the bootstrapped policy on the demonstrations alone for `updates` more batches; return where it is saved.

    This is the control of the online phase: the same batches, rate and rank, without interventions.
    """
    target = run.path / "control"
    if target.exists():
        return target
    torch.set_num_threads(config.bootstrap.threads)
    buffer = load_demonstrations(config, run.demonstrations)
    state, manifest = load_training(run.training / "000000", chosen_device(config.compute))
    rng = np.random.default_rng([config.seed, 2])
    generator = torch.Generator().manual_seed(config.seed * 100_003 + 70_000)
    for index in range(updates):
        batch = buffer.sample(config.adapt.batch_size, rng, {Source.DEMONSTRATION: 1.0})
        update = train_batch(state, batch, config.adapt.learning_rate, generator)
        if index % 20 == 0:
            progress(index, updates, f"rank {state.rank}, loss {update.loss:.4f}")
    progress(updates, updates, "control trained")
    save(target, replace(manifest, figures={}), state.acting_weights())
    return target


def bootstrap_figures(version: Path) -> BootstrapFigures:
    """Return what the bootstrap of a published version 0 gave. Raises PolicyError if it is damaged."""
    manifest = load_manifest(version)
    figures = manifest.figures
    return BootstrapFigures(
        demonstrations=int(manifest.data["demonstrations"]),
        updates=int(figures["updates"]),
        training_seconds=float(figures["training_seconds"]),
        batch_seconds=float(np.mean(figures["batch_seconds"])),
        loss=float(figures["losses"][-1]),
        ranks=[int(rank) for rank in figures["ranks"]],
    )


def _resume(
    run: RunFolder, buffer: ReplayBuffer, config: Config, optimizer: OptimizerConfig, device: torch.device
) -> tuple[int, TrainingState, dict[str, Any]]:
    """Return the next epoch, the training state and the figures so far."""
    saved = [*sorted(run.bootstrap.glob("[0-9]*")), *run.training.glob("000000")]
    if saved:
        state, manifest = load_training(saved[-1], device)
        begun = manifest.method, manifest.epochs, manifest.config
        if begun != (config.method, config.bootstrap.epochs, policy_config(config)):
            raise UserError(
                f"{saved[-1]} was begun with another method, policy or number of epochs; remove it to begin anew."
            )
        return manifest.epoch, state, dict(manifest.figures)
    torch.manual_seed(config.seed)
    policy = DiffusionPolicy(policy_config(config))
    if config.bootstrap.vision_weights is not None:
        _load_vision(policy, config.bootstrap.vision_weights)
    windows = buffer.select(Source.DEMONSTRATION)
    chosen = np.random.default_rng(config.seed).permutation(windows)[:NORMALISER_WINDOWS]
    batch = buffer.gather(np.sort(chosen), pictures=False)  # of many windows they fill the memory
    policy.fit_normalizer(observation_of(batch), torch.from_numpy(batch.actions))
    state = TrainingState.create(
        policy.to(device), optimizer, scope=config.rank.scope, allocation=config.rank.allocation
    )
    return 0, state, {"updates": 0, "ranks": [], "losses": [], "training_seconds": 0.0, "batch_seconds": []}


def _load_vision(policy: DiffusionPolicy, path: Path) -> None:
    """Let the cameras' encoders begin with weights of torchvision's ResNet-18. Raises UserError."""
    try:
        weights = load_file(path)
        for trunk in policy.modules():
            if isinstance(trunk, ResNet18):
                trunk.load_torchvision(weights)
    except (OSError, SafetensorError, PolicyError) as error:
        raise UserError(
            f"'bootstrap.vision_weights': {path} is no safetensors file of a ResNet-18 ({error})."
        ) from error


def _forget_older(folder: Path, newest: Path) -> None:
    """Remove the states that a newer one replaces."""
    for old in folder.glob("[0-9]*"):
        if old != newest:
            rmtree(old)
