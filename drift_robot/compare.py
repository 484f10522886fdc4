"""Comparing two versions: beginning or resuming a comparison, and running it in the simulated cell in lock-step.

In lock-step every episode is reproducible by itself, whatever ran before it. In real time a session runs it.
"""

import secrets
from functools import lru_cache
from pathlib import Path

import torch

from data.files import read_json, write_json
from drift_robot.actor import Actor
from drift_robot.collect import Progress, noted, store_episode
from drift_robot.comparison import Comparison, Contender, Side
from drift_robot.comparison_report import is_established
from drift_robot.compute import chosen_device
from drift_robot.config import Config
from drift_robot.errors import UserError
from drift_robot.evaluate import open_rollouts
from drift_robot.fitting import require_fitting_policy
from drift_robot.lockstep import EpisodeLog, LockstepCell, episode_layout, run_episodes
from drift_robot.run_folder import RunFolder
from drift_robot.workers import shared_out
from policies.checkpoint import POLICY_FILE, load_manifest

PLAN_FILE = "comparison.json"


def open_comparison(config: Config, run: RunFolder, names: tuple[str, str], pairs: int) -> Comparison:
    """Begin a comparison of two versions, or go on with it.

    A name is the number of a version of the run, or the path of a checkpoint. Raises UserError if there is no such
    version, it does not fit the configuration, or the comparison was begun with something else.
    """
    contenders = (_contender(config, run, names[0]), _contender(config, run, names[1]))
    if contenders[0].sha256 == contenders[1].sha256:
        raise UserError(f"{names[0]} and {names[1]} are the same policy; name two different ones.")
    folder = run.comparisons / "-".join(_label(contender, run) for contender in contenders)
    path = folder / PLAN_FILE
    plan = {"seed": config.seed, "A": contenders[0].sha256, "B": contenders[1].sha256}
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {**plan, "order": secrets.randbits(32)})
    begun = read_json(path)
    order = begun.pop("order", None)
    if begun != plan or not isinstance(order, int):
        raise UserError(f"{path} was begun with another seed or other weights; move {folder} away to begin anew.")
    return Comparison(folder, contenders, pairs, config.seed, order)


def _contender(config: Config, run: RunFolder, name: str) -> Contender:
    versions = run.versions()
    if name.isdecimal():
        folder, shown = versions.able(int(name)), f"version {int(name)}"
    else:
        folder, shown = Path(name), name
        if not folder.is_dir():
            raise UserError(f"{name} is neither a version's number in {versions.folder} nor a checkpoint's folder.")
    manifest = load_manifest(folder)
    require_fitting_policy(config, manifest, shown)
    return Contender(shown, folder.resolve(), manifest.files[POLICY_FILE])


def _label(contender: Contender, run: RunFolder) -> str:
    """Return a part of a folder's name that tells versions of several runs apart."""
    folder = contender.checkpoint
    own = folder.parent == run.versions().folder.resolve()
    return folder.name if own else f"{folder.name}@{contender.sha256[:8]}"


def compare(config: Config, comparison: Comparison, workers: int, progress: Progress) -> None:
    """Record the episodes that are missing from a comparison, until it is done or its difference is established."""
    session, layout = open_rollouts(config, comparison.folder), episode_layout(config)
    missing = [] if is_established(comparison) else comparison.missing()
    jobs = [
        (config, comparison.scene_seed(turn.pair), comparison.checkpoint(turn.side), turn.pair, turn.side)
        for turn in missing
    ]
    total = 2 * comparison.pairs
    with noted(session, "evaluate", total) as events, shared_out(_run_turn, jobs, workers) as finished:
        for done, (log, pair, side) in enumerate(finished, total - len(missing) + 1):
            store_episode(session, layout, log, events, {"pair": pair, "side": side})
            progress(done, total, f"pair {pair + 1} of {comparison.pairs}")
            if is_established(comparison):
                break


def _run_turn(config: Config, seed: int, checkpoint: Path, pair: int, side: Side) -> tuple[EpisodeLog, int, Side]:
    torch.set_num_threads(1)
    actor = _actor(checkpoint, chosen_device(config.compute))
    actor.reseed(seed)
    (log,) = run_episodes([LockstepCell(config, "evaluate")], actor, [seed])
    return log, pair, side


@lru_cache(2)
def _actor(checkpoint: Path, device: torch.device) -> Actor:
    """Return the version of a checkpoint; a worker loads each of the two once."""
    actor = Actor.load(checkpoint, 0, device)
    actor.alarm = None  # nobody looks
    return actor
