"""The configuration: one YAML file, validated into frozen typed models.

Each part of the project defines its own section beside its code; this module composes them, reads the file and
turns every mistake in it into one sentence that names file, key, what was expected and the nearest valid key.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from calibration.config import CalibrationConfig
from drift_robot.alarm import AlarmConfig
from drift_robot.compute import DeviceChoice
from drift_robot.errors import UserError
from drift_robot.figures import LoggingConfig
from drift_robot.gate import GateConfig
from drift_robot.gating import SimulatedExpertGatingConfig
from drift_robot.remote.store import url_fault
from drift_robot.seeds import SEED_LIMIT
from hardware.arms.limits import ArmLimits
from hardware.devices import DevicesConfig
from hardware.input_devices import DeviceName
from hardware.input_devices.mapping import MappingChange
from policies.allocation import Allocation
from policies.methods import MethodName
from policies.policy import PolicyConfig
from policies.schedules import RankScheduleConfig
from policies.training import Scope

STRICT = ConfigDict(extra="forbid")
TASK_NAMES = ("lift", "pick_and_place", "stacking", "microwave", "drawer_assembling", "drawer_interaction")
ROBOSUITE_TASK_NAMES = ("robosuite_lift", "robosuite_can")
"""Those that need robosuite, an extra; they run in lock-step and without cameras."""
LOCKSTEP_TASK_NAMES = (*TASK_NAMES, *ROBOSUITE_TASK_NAMES)
CAMERA_NAMES = ("front", "wrist")
PLAUSIBLE = (
    ("_m", 3.0, "metres"),
    ("_m_s", 3.0, "metres per second"),
    ("_rad", 2 * math.pi, "radians"),
    ("_rad_s", 4 * math.pi, "radians per second"),
    ("_period_s", 1.0, "seconds"),
    ("timeout_s", 10.0, "seconds"),
)
"""Ends of keys, the largest plausible magnitude of their values, and the unit that it is in."""

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
CameraName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class Picture:
    """The size in pixels at which a camera is recorded."""

    height: Annotated[int, Field(ge=16, le=2160)] = 240
    width: Annotated[int, Field(ge=16, le=3840)] = 320


@dataclass(frozen=True, config=STRICT)
class CellConfig:
    """What is done and what is observed, in the simulated cell unless there is a section `devices`.

    `cameras` are the policy's, by name, with the size at which their pictures are recorded. `deployment_offset_m` is a
    deployment shift of the simulated cell: in adapt and evaluate tracked objects, and all that the fixed camera sees,
    appear displaced by it, as if a camera had moved since the demonstrations.
    """

    task: str = "lift"
    servo_period_s: Annotated[float, Field(ge=0.002, le=0.02)] = 0.01
    physics_step_s: Annotated[float, Field(ge=0.001, le=0.005)] = 0.005
    track_objects: bool = True
    cameras: dict[CameraName, Picture] = dataclasses.field(default_factory=dict)
    deployment_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def perception_offset_m(self, mode: str) -> tuple[float, float, float]:
        """Return how far what is perceived appears displaced when collecting, adapting or evaluating."""
        return (0.0, 0.0, 0.0) if mode == "collect" else self.deployment_offset_m


@dataclass(frozen=True, config=STRICT)
class InputConfig:
    """What the operator drives with, and what is otherwise than in that device's ready map.

    Without a device the simulated cell's scripted expert drives, as fast as the machine allows. In a real cell the
    scripted expert can drive an emulated one only.
    """

    device: DeviceName | None = None
    mapping: MappingChange = MappingChange()


@dataclass(frozen=True, config=STRICT)
class WindowConfig:
    """The operator window: whether it is heard, and the folder of an episode to rebuild the scene of.

    Its keys mute it and choose other episodes at any time.
    """

    sound: bool = True
    overlay: Path | None = None


@dataclass(frozen=True, config=STRICT)
class CollectConfig:
    """Offline demonstrations."""

    episodes: Count = 100


@dataclass(frozen=True, config=STRICT)
class BootstrapConfig:
    """The offline phase: supervised training with the rank schedule; the learning rate warms up, then falls.

    `vision_weights` is a safetensors file of torchvision's ResNet-18, with which the cameras' encoders begin.
    """

    epochs: Count = 20
    batches_per_epoch: Count = 100
    batch_size: Count = 128
    learning_rate: Positive = 2e-3
    warmup_batches: Annotated[int, Field(ge=0)] = 100
    threads: Count = 2
    vision_weights: Path | None = None


@dataclass(frozen=True, config=STRICT)
class RankConfig(RankScheduleConfig):
    """The trainable rank: its schedule, and three options beyond the paper, off unless they are asked for.

    `allocation` "spectrum" gives each layer a rank of its own, by how its singular values fall off. `scope` "policy"
    modulates the vision encoder and the condition's network as well. With `rises_at` the online rank doubles, up to
    r_max, as long as the loss on the newest interventions is that many times the loss on demonstrations.
    """

    allocation: Allocation = "uniform"
    scope: Scope = "backbone"
    rises_at: Positive | None = None


@dataclass(frozen=True, config=STRICT)
class AdaptConfig:
    """The online phase.

    `pace` "episode" trains one round an episode, reproducibly; "free" trains round after round. Every `hold_out`-th
    episode with interventions is kept from training, to check candidates on; 0 keeps none. With a `store`, a shared
    folder or a URL such as s3://bucket/run, the trainer runs elsewhere: `drift-robot train` on another machine.
    """

    episodes: Count = 30
    pace: Literal["episode", "free"] = "episode"
    batches_per_round: Count = 100
    batch_size: Count = 128
    learning_rate: Positive = 7e-4
    intervention_share: Share = 0.5
    autonomous_share: Share = 0.0
    candidate_labels: Count = 100
    candidate_episodes: Count = 3
    hold_out: Annotated[int, Field(ge=0)] = 8
    threads: Count = 1
    store: str | None = None


@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """Rollouts without learning, on starts that no other phase uses."""

    episodes: Count = 50


@dataclass(frozen=True, config=STRICT)
class Config:
    """Everything that one session needs to know.

    `method` is how the policy is trained, one of policies/methods.py. `compute` is where the policy acts and learns:
    "auto" takes a GPU if there is one. With `compile_policy` a session compiles the policy that acts at its start.
    """

    cell: CellConfig = CellConfig()
    devices: DevicesConfig | None = None
    input: InputConfig = InputConfig()
    window: WindowConfig = WindowConfig()
    policy: PolicyConfig = PolicyConfig()
    method: MethodName = "D(RR)"
    rank: RankConfig = RankConfig()
    limits: ArmLimits = ArmLimits()
    calibration: CalibrationConfig = CalibrationConfig()
    gate: GateConfig = GateConfig()
    gating: Literal["human", "simulated_expert", "none"] = "simulated_expert"
    simulated_expert: SimulatedExpertGatingConfig = SimulatedExpertGatingConfig()
    alarm: AlarmConfig = AlarmConfig()
    collect: CollectConfig = CollectConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    adapt: AdaptConfig = AdaptConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    logging: LoggingConfig = LoggingConfig()
    compute: DeviceChoice = "auto"
    compile_policy: bool = False
    policy_period_s: Annotated[float, Field(ge=0.02, le=1.0)] = 0.1
    inference_steps: Annotated[int, Field(ge=0, le=7)] = 1
    camera_timeout_s: Annotated[float, Field(gt=0)] = 0.5
    operator: str = "scripted expert"
    seed: Annotated[int, Field(ge=0, lt=SEED_LIMIT)] = 0


def load_config(path: Path) -> Config:
    """Read and validate a YAML file.

    Raises UserError, one sentence, for a missing file, broken YAML, an unknown key or a value out of place.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give the path of a YAML configuration.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}); mend that line.") from error
    return config_from_dict({} if content is None else content, str(path))


def config_from_dict(content: Any, source: str) -> Config:
    """Validate a mapping as read from YAML or JSON. `source` is named in errors. Raises UserError."""
    if not isinstance(content, dict):
        raise UserError(f"{source}: expected a mapping of sections such as 'cell:' and 'policy:', got {content!r}.")
    try:
        config = TypeAdapter(Config).validate_python(content)
    except ValidationError as error:
        raise UserError(_sentence(error, source)) from error
    _check_units(dataclasses.asdict(config), source)
    check_together(config, source)
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """Return the configuration as plain JSON values, to be stored with data and policies."""
    plain: dict[str, Any] = json.loads(TypeAdapter(Config).dump_json(config))
    return plain


def _check_units(values: Any, source: str, key: str = "") -> None:
    """Refuse infinities, and magnitudes that no cell has, as of millimetres or degrees; keys end with their unit."""
    if isinstance(values, dict):
        for name, value in values.items():
            _check_units(value, source, f"{key}.{name}" if key else name)
    elif isinstance(values, list | tuple):
        for value in values:
            _check_units(value, source, key)
    elif isinstance(values, int | float):
        if not math.isfinite(values):
            raise UserError(f"{source}: key '{key}' should be a finite number, but is {values}.")
        bound, unit = next(((bound, unit) for end, bound, unit in PLAUSIBLE if key.endswith(end)), (math.inf, ""))
        if abs(values) > bound:
            raise UserError(f"{source}: key '{key}' is in {unit}, where {values:g} is implausible (at most {bound:g}).")


def check_together(config: Config, source: str) -> None:
    """Raise UserError, one sentence that names the source, if values do not go with each other."""
    if config.devices is None:
        _check_simulated_cell(config, source)
    else:
        _check_devices(config.cell, config.devices, source)
    _check_policy(config.policy, source)
    _check_vision(config, source)
    if config.gate.mode != GateConfig.mode:
        raise UserError(f"{source}: 'gate.mode' follows from the command that is run; remove it.")
    executed = config.policy.action_horizon + config.inference_steps
    if executed > config.policy.pred_horizon:
        raise UserError(
            f"{source}: 'policy.action_horizon' + 'inference_steps' is {executed}, more than the "
            f"{config.policy.pred_horizon} actions of 'policy.pred_horizon'; lower one of them."
        )
    if config.rank.r_min > config.rank.r_max:
        raise UserError(
            f"{source}: 'rank.r_min' ({config.rank.r_min}) is above 'rank.r_max' ({config.rank.r_max}); swap them."
        )
    if config.adapt.intervention_share + config.adapt.autonomous_share > 1:
        raise UserError(
            f"{source}: 'adapt.intervention_share' + 'adapt.autonomous_share' is above 1; the rest of a batch is "
            "demonstrations, so lower one of them."
        )
    if config.adapt.store is not None and (fault := url_fault(config.adapt.store)):
        raise UserError(f"{source}: key 'adapt.store': {fault}")
    for task in config.simulated_expert.cosine_below_of:
        if task not in LOCKSTEP_TASK_NAMES:
            raise UserError(
                f"{source}: key 'simulated_expert.cosine_below_of' should hold tasks "
                f"({', '.join(LOCKSTEP_TASK_NAMES)}), but holds '{task}'."
            )
    if not config.cell.track_objects and not config.cell.cameras:
        raise UserError(
            f"{source}: the policy would see no objects; set 'cell.track_objects: true' or name a camera in "
            "'cell.cameras'."
        )


def _check_simulated_cell(config: Config, source: str) -> None:
    cell = config.cell
    _check_task(cell.task, LOCKSTEP_TASK_NAMES, "in simulation", source)
    if cell.task in ROBOSUITE_TASK_NAMES and cell.cameras:
        raise UserError(f"{source}: the task {cell.task} is run without cameras; remove 'cell.cameras'.")
    for name in cell.cameras:
        if name not in CAMERA_NAMES:
            raise UserError(
                f"{source}: unknown key 'cell.cameras.{name}'; the simulated cell has {' and '.join(CAMERA_NAMES)}."
            )
    ticks = config.policy_period_s / cell.servo_period_s
    if abs(ticks - round(ticks)) > 1e-6:
        raise UserError(
            f"{source}: 'policy_period_s' ({config.policy_period_s}) must be a whole multiple of 'cell.servo_period_s' "
            f"({cell.servo_period_s}); change one of them."
        )
    substeps = cell.servo_period_s / cell.physics_step_s
    if abs(substeps - round(substeps)) > 1e-6:
        raise UserError(
            f"{source}: 'cell.servo_period_s' ({cell.servo_period_s}) must be a whole multiple of "
            f"'cell.physics_step_s' ({cell.physics_step_s}); change one of them."
        )


def _check_devices(cell: CellConfig, devices: DevicesConfig, source: str) -> None:
    if cell.track_objects:
        raise UserError(f"{source}: a real cell tracks no objects; set 'cell.track_objects: false'.")
    if any(cell.deployment_offset_m):
        raise UserError(f"{source}: 'cell.deployment_offset_m' is for the simulated cell; remove it.")
    if unequal := set(cell.cameras) ^ set(devices.cameras):
        raise UserError(
            f"{source}: 'cell.cameras' and 'devices.cameras' should name the same cameras, but differ in "
            f"{', '.join(sorted(unequal))}."
        )
    if devices.emulator is not None:
        _check_task(cell.task, TASK_NAMES, "with an emulated arm", source)


def _check_task(task: str, names: Sequence[str], where: str, source: str) -> None:
    if task not in names:
        raise UserError(f"{source}: key 'cell.task' should be one of {', '.join(names)} {where}, but is '{task}'.")


def _check_policy(policy: PolicyConfig, source: str) -> None:
    default = PolicyConfig()
    if policy.cameras != default.cameras or policy.object_dim != default.object_dim:
        raise UserError(
            f"{source}: 'policy.cameras' and 'policy.object_dim' follow from the 'cell' section; remove them."
        )
    if policy.sample_steps > policy.train_timesteps:
        raise UserError(
            f"{source}: 'policy.sample_steps' ({policy.sample_steps}) must not be above 'policy.train_timesteps' "
            f"({policy.train_timesteps}); change one of them."
        )
    if policy.backbone == "transformer":
        if policy.transformer_dim % policy.transformer_heads:
            raise UserError(
                f"{source}: 'policy.transformer_dim' ({policy.transformer_dim}) must be a multiple of "
                f"'policy.transformer_heads' ({policy.transformer_heads}); change one of them."
            )
        return
    if not policy.unet_dims or any(size % 8 for size in policy.unet_dims):
        raise UserError(
            f"{source}: 'policy.unet_dims' should be one or more multiples of 8, but is {list(policy.unet_dims)}."
        )
    shrink = 2 ** (len(policy.unet_dims) - 1)
    if policy.pred_horizon % shrink:
        raise UserError(
            f"{source}: 'policy.pred_horizon' ({policy.pred_horizon}) must be a multiple of {shrink}, because "
            f"'policy.unet_dims' has {len(policy.unet_dims)} sizes; change one of them."
        )


def _check_vision(config: Config, source: str) -> None:
    weights = config.bootstrap.vision_weights
    if weights is not None and config.policy.vision != "resnet18":
        raise UserError(f"{source}: 'bootstrap.vision_weights' are for 'policy.vision: resnet18'; remove one of them.")
    if config.policy.freeze_vision and weights is None:
        raise UserError(
            f"{source}: 'policy.freeze_vision' would keep encoders that have learned nothing; set "
            "'bootstrap.vision_weights' to a file of weights, or remove it."
        )


def _sentence(error: ValidationError, source: str) -> str:
    """Say the first mistake that validation found in one sentence."""
    errors = error.errors()
    first = next((item for item in errors if item["type"] == "unexpected_keyword_argument"), errors[0])
    path = _path([str(part) for part in first["loc"]])
    if first["type"] == "unexpected_keyword_argument":
        return f"{source}: unknown key '{'.'.join(path)}'; {_nearest(path[-1], _valid_keys(path[:-1]))}"
    if first["type"] == "string_pattern_mismatch":
        return (
            f"{source}: in '{'.'.join(path[:-2])}' a name is letters, digits, - and _, but '{first['input']}' is not."
        )
    if path[-1] == "[key]":
        return f"{source}: unknown key '{'.'.join(path[:-1])}'; valid keys here: {first['ctx']['expected']}."
    key, value = ".".join(path), first["input"]
    if first["type"] == "dataclass_type":
        return f"{source}: key '{key}' should be a section of keys ({', '.join(_valid_keys(path))}), but is {value!r}."
    if first["type"] == "value_error":
        return f"{source}: section '{key}': {first['ctx']['error']}."
    if first["type"] == "missing":
        if path[-1].isdigit():
            return f"{source}: key '{'.'.join(path[:-1])}' has too few values: {value!r}."
        return f"{source}: section '{'.'.join(path[:-1])}' lacks the key '{path[-1]}'; add it."
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        valid = ", ".join(sorted(_drivers(path)))
        return f"{source}: section '{key}' should say which device it is, 'driver' one of {valid}, but is {value!r}."
    if first["type"] == "too_long":
        return f"{source}: key '{key}' should have {first['ctx']['max_length']} values, but is {value!r}."
    expected = first["msg"].removeprefix("Input ").split(", unable")[0]
    expected = expected[0].lower() + expected[1:]
    return f"{source}: key '{key}' {expected}, but is {value!r}."


def _nearest(key: str, valid: list[str]) -> str:
    for section in dataclasses.fields(Config):
        if key in _valid_keys([section.name]):
            return f"did you mean '{section.name}.{key}'?"
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"valid keys here: {', '.join(valid)}."


def _path(loc: list[str]) -> list[str]:
    """Return where a mistake is as the file has it, without what validation adds for one of several types."""
    path: list[str] = []
    for part in loc:
        if part not in _drivers(path) and not part.startswith("str-enum["):
            path.append(part)
    return path


def _drivers(path: list[str]) -> dict[str, Any]:
    """Return the models among which a section's key `driver` decides, by its value; empty where it decides nothing."""
    return {get_args(get_type_hints(m)["driver"])[0]: m for m in _models(path) if "driver" in get_type_hints(m)}


def _models(path: list[str]) -> list[Any]:
    """Return the dataclasses that a section may be."""
    models: list[Any] = [Config]
    for part in path:
        hints = [get_type_hints(model).get(part) for model in models if dataclasses.is_dataclass(model)]
        values = [get_args(model)[1] for model in models if get_origin(model) is dict]
        models = [kind for hint in hints + values for kind in _alternatives(hint)]
    return [model for model in models if dataclasses.is_dataclass(model)]


def _alternatives(hint: Any) -> list[Any]:
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    return [kind for part in get_args(hint) for kind in _alternatives(part)] if _is_union(hint) else [hint]


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


def _valid_keys(path: list[str]) -> list[str]:
    return list(dict.fromkeys(field.name for model in _models(path) for field in dataclasses.fields(model)))
