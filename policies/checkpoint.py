"""Policies on disk: a folder with plain safetensors and a manifest that names and hashes every file.

`policy.safetensors` holds what acts (the averaged, merged, plain weights and the normalisers); the optional
`training.safetensors` holds what training needs to go on at its rank. Never pickle. What a version means to a
session (promotion, quarantine) is not known here.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load
from safetensors.torch import save as serialise
from torch import Tensor

from policies.alarm import Alarm
from policies.allocation import Allocation
from policies.errors import PolicyError, UnusableHereError
from policies.methods import Form, Phase
from policies.optimizer import OptimizerConfig, set_learning_rate
from policies.policy import DiffusionPolicy, PolicyConfig
from policies.rank import modulated_layers, set_ranks
from policies.training import Scope, TrainingState

FORMAT = 1
POLICY_FILE = "policy.safetensors"
TRAINING_FILE = "training.safetensors"
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_TENSOR_BYTES = 16 * 2**30

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Training:
    """Where training stood: what `training.safetensors` cannot say by itself."""

    excluded: tuple[str, ...]
    optimizer: OptimizerConfig
    learning_rate: Annotated[float, Field(ge=0)]
    average_decay: Annotated[float, Field(ge=0, le=1)]
    average_updates: Count
    form: Form = "modulated"
    scope: Scope = "backbone"
    allocation: Allocation = "uniform"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Manifest:
    """What a checkpoint is: its version and parent, how it was trained, on what, and the sha256 of every file.

    `alarm` is how its chunks are judged; None in a version that was published without a threshold.
    """

    version: Count
    parent: Count | None
    method: str
    rank: Annotated[int, Field(ge=1)]
    epoch: Count
    epochs: Count
    config: PolicyConfig
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: Training | None = None
    alarm: Alarm | None = None
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    format: int = FORMAT


_MANIFESTS = TypeAdapter(Manifest)


def save(
    folder: Path, manifest: Manifest, weights: Mapping[str, Tensor], training: TrainingState | None = None
) -> Manifest:
    """Write a checkpoint, whole or not at all; return its manifest as written, with the hashes.

    `weights` is the plain state dict that acts (`TrainingState.acting_weights`); with `training` the checkpoint can
    be trained further. Raises PolicyError if the folder exists or a weight is unfit.
    """
    if folder.exists():
        raise PolicyError(f"checkpoint {folder} exists already; a version is never overwritten.")
    check(weights, _described(manifest.config), str(folder))
    contents, described = {POLICY_FILE: _serialise(weights)}, None
    if training is not None:
        contents[TRAINING_FILE] = _serialise(_training_tensors(training))
        manifest, described = dataclasses.replace(manifest, rank=training.rank), _describe(training)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = dataclasses.replace(manifest, training=described, files=hashes)
    contents[MANIFEST_FILE] = _MANIFESTS.dump_json(manifest, indent=2)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        staging.chmod(0o755)
        for name, content in contents.items():
            _write(staging / name, content)
        _sync_folder(staging)
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync_folder(folder.parent)
    return manifest


def load_manifest(folder: Path) -> Manifest:
    """Read and validate a manifest. Raises PolicyError if it is missing, unreadable or of another format."""
    path = folder / MANIFEST_FILE
    try:
        found = json.loads(_read(path, MAX_MANIFEST_BYTES))
    except OSError as error:
        raise _unread(folder, MANIFEST_FILE, error) from error
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"checkpoint {folder}: {MANIFEST_FILE} cannot be read ({error}).") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise PolicyError(f"checkpoint {folder}: its format is not {FORMAT}, the one that this version reads.")
    try:
        manifest = _MANIFESTS.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise PolicyError(f"checkpoint {folder}: {MANIFEST_FILE}, key {key}: {first['msg']}.") from error
    if manifest.alarm is not None and max(manifest.alarm.timesteps) >= manifest.config.train_timesteps:
        raise PolicyError(f"checkpoint {folder}: {MANIFEST_FILE}, key alarm.timesteps: the policy has fewer steps.")
    if unknown := manifest.files.keys() - {POLICY_FILE, TRAINING_FILE}:
        raise PolicyError(f"checkpoint {folder}: {MANIFEST_FILE} lists {min(unknown)!r}, which is no part of one.")
    return manifest


def load_policy(folder: Path, device: torch.device | str = "cpu") -> tuple[DiffusionPolicy, Manifest]:
    """Return the policy that acts, plain and in evaluation mode, with its manifest; hashes and tensors are checked."""
    manifest = load_manifest(folder)
    state = _load_tensors(folder, manifest, POLICY_FILE)
    check(state, _described(manifest.config), str(folder))
    policy = DiffusionPolicy(manifest.config)
    policy.load_state_dict(state)
    return policy.to(device).eval(), manifest


def load_training(folder: Path, device: torch.device | str = "cpu") -> tuple[TrainingState, Manifest]:
    """Return the training state as it was saved, in its form and rank, with factors, moments and average.

    Raises PolicyError if the checkpoint can act but holds no training state.
    """
    manifest = load_manifest(folder)
    training = manifest.training
    if training is None:
        raise PolicyError(f"checkpoint {folder} holds no training state; it can act but not be trained further.")
    tensors = _load_tensors(folder, manifest, TRAINING_FILE)
    held, size = _numbers(tensors), _numbers(_described(manifest.config))
    if size > held:
        raise PolicyError(f"checkpoint {folder}: {TRAINING_FILE} has {held} numbers, fewer than the policy's {size}.")
    policy = DiffusionPolicy(manifest.config).to(device)
    state = TrainingState.create(policy, training.optimizer, training.average_decay, training.excluded, training.scope)
    state.enter(Phase(training.form), manifest.rank)
    state.allocation = training.allocation
    model = _group(tensors, "model.")
    layers = dict(modulated_layers(policy))
    ranks = {n: model[f"{n}.s"].numel() if f"{n}.s" in model else layer.max_rank for n, layer in layers.items()}
    if any(layer.rank != ranks[name] for name, layer in layers.items()):  # allotted by spectra, or by another release
        set_ranks(policy, state.optimizer, ranks)
    check(model, policy.state_dict(), str(folder))
    policy.load_state_dict(model)
    average = _group(tensors, "average.")
    check(average, state.average.parameters(), str(folder))
    state.average.restore(average, training.average_updates)
    set_learning_rate(state.optimizer, training.learning_rate)
    for name, parameter in policy.named_parameters():
        moments = _group(tensors, f"optimizer.{name}.")
        if moments:
            check(moments, {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}, str(folder))
            state.optimizer.state[parameter] = {key: value.to(device) for key, value in moments.items()}
    return state, manifest


def check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Raise PolicyError unless the tensors have exactly the expected names and shapes, and are finite."""
    if missing := expected.keys() - tensors.keys():
        raise PolicyError(f"{what}: {min(missing)} is missing.")
    if unknown := tensors.keys() - expected.keys():
        raise PolicyError(f"{what}: {min(unknown)} does not belong to this policy.")
    for name, value in tensors.items():
        if value.shape != expected[name].shape:
            raise PolicyError(f"{what}: {name} has shape {tuple(value.shape)}, not {tuple(expected[name].shape)}.")
        if not bool(torch.isfinite(value).all()):
            raise PolicyError(f"{what}: {name} holds values that are not finite.")


def _described(config: PolicyConfig) -> dict[str, Tensor]:
    """Return the state dict that a policy of this configuration has, without its memory, which may be absurd."""
    with torch.device("meta"):
        return DiffusionPolicy(config).state_dict()


def _numbers(tensors: Mapping[str, Tensor]) -> int:
    return sum(value.numel() for value in tensors.values())


def _training_tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value for name, value in state.policy.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.parameters().items()}
    for name, parameter in state.policy.named_parameters():
        moments = state.optimizer.state.get(parameter, {})
        tensors |= {f"optimizer.{name}.{key}": value for key, value in moments.items()}
    return tensors


def _load_tensors(folder: Path, manifest: Manifest, name: str) -> dict[str, Tensor]:
    """Read one file of a checkpoint, if it is small enough and its hash is the manifest's."""
    if name not in manifest.files:
        raise PolicyError(f"checkpoint {folder}: the manifest does not list {name}.")
    path = folder / name
    try:
        content = _read(path, MAX_TENSOR_BYTES)
    except OSError as error:
        raise _unread(folder, name, error) from error
    if hashlib.sha256(content).hexdigest() != manifest.files[name]:
        raise PolicyError(f"checkpoint {folder}: {name} does not match its hash; it is damaged or was changed.")
    try:
        return load(content)
    except SafetensorError as error:
        raise PolicyError(f"checkpoint {folder}: {name} is not a safetensors file ({error}).") from error


def _serialise(tensors: Mapping[str, Tensor]) -> bytes:
    return serialise({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _describe(state: TrainingState) -> Training:
    return Training(
        excluded=state.excluded,
        optimizer=state.optimizer_config,
        learning_rate=state.optimizer.param_groups[0]["lr"],
        average_decay=state.average.decay,
        average_updates=state.average.updates,
        form=state.phase.form,
        scope=state.scope,
        allocation=state.allocation,
    )


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _unread(folder: Path, name: str, error: OSError) -> PolicyError:
    """Return what to raise when a file cannot be read: only one that is not there is the checkpoint's fault."""
    kind = PolicyError if isinstance(error, FileNotFoundError | NotADirectoryError) else UnusableHereError
    return kind(f"checkpoint {folder}: {name} cannot be read ({error.strerror}).")


def _read(path: Path, limit: int) -> bytes:
    """Return what is in a file. Raises OSError; PolicyError if it is a link, no file, or larger than the limit."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise PolicyError(f"checkpoint {path.parent}: {path.name} is a link, or no file; copy the checkpoint itself.")
    if status.st_size > limit:
        raise PolicyError(f"checkpoint {path.parent}: {path.name} is larger than {limit} bytes.")
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
