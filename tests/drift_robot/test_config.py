"""Configuration files: what is valid is read back as it was written, and each mistake is one helpful sentence."""

from pathlib import Path

import pytest

from drift_robot.config import Config, config_from_dict, config_to_dict, load_config
from drift_robot.errors import UserError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


def sentence(tmp_path: Path, text: str) -> str:
    """Return what is said about a file with this text, without the file's name, which comes first."""
    path = tmp_path / "cell.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_config(path)
    words = str(caught.value)
    assert words.startswith(f"{path}: ")
    assert "\n" not in words
    assert words.endswith((".", "?"))
    return words.removeprefix(f"{path}: ")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_an_empty_file_is_the_default_configuration(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "empty.yaml") == Config()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_configuration_is_the_same_after_a_trip_through_json(path: Path) -> None:
    config = load_config(path)
    assert config_from_dict(config_to_dict(config), "stored") == config


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("cel: {}", "cel", "cell"),
        ("cell: {tsk: lift}", "cell.tsk", "task"),
        ("cell: {cameras: {front: {heigt: 30}}}", "cell.cameras.front.heigt", "height"),
        ("adapt: {batches_per_rounds: 3}", "adapt.batches_per_rounds", "batches_per_round"),
        ("simulated_expert: {cosine_belo: 0.1}", "simulated_expert.cosine_belo", "cosine_below"),
        ("task: lift", "task", "cell.task"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(tmp_path: Path, text: str, key: str, near: str) -> None:
    assert sentence(tmp_path, text) == f"unknown key '{key}'; did you mean '{near}'?"


def test_an_unknown_key_like_no_other_is_answered_with_all_valid_ones(tmp_path: Path) -> None:
    assert sentence(tmp_path, "evaluate: {zzz: 1}") == "unknown key 'evaluate.zzz'; valid keys here: episodes."
    assert sentence(tmp_path, "cell: {cameras: {top: {}}}") == (
        "unknown key 'cell.cameras.top'; the simulated cell has front and wrist."
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("collect: {episodes: many}", "key 'collect.episodes' should be a valid integer, but is 'many'."),
        ("cell: {track_objects: perhaps}", "key 'cell.track_objects' should be a valid boolean, but is 'perhaps'."),
        ("operator: 3", "key 'operator' should be a valid string, but is 3."),
        (
            "cell: {task: lfit}",
            "key 'cell.task' should be one of lift, pick_and_place, stacking, microwave, drawer_assembling, "
            "drawer_interaction, robosuite_lift, robosuite_can in simulation, but is 'lfit'.",
        ),
        (
            "cell: {task: robosuite_can, cameras: {front: {}}}",
            "the task robosuite_can is run without cameras; remove 'cell.cameras'.",
        ),
        (
            "simulated_expert: {cosine_below_of: {robosuite_lift: 0.94, cans: 0.95}}",
            "key 'simulated_expert.cosine_below_of' should hold tasks (lift, pick_and_place, stacking, microwave, "
            "drawer_assembling, drawer_interaction, robosuite_lift, robosuite_can), but holds 'cans'.",
        ),
        ("evaluate: 3", "key 'evaluate' should be a section of keys (episodes), but is 3."),
        ("evaluate:", "key 'evaluate' should be a section of keys (episodes), but is None."),
        ("- 1", "expected a mapping of sections such as 'cell:' and 'policy:', got [1]."),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_was_expected(tmp_path: Path, text: str, expected: str) -> None:
    assert sentence(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("collect: {episodes: 0}", "key 'collect.episodes' should be greater than or equal to 1, but is 0."),
        ("bootstrap: {learning_rate: -1}", "key 'bootstrap.learning_rate' should be greater than 0, but is -1."),
        ("bootstrap: {learning_rate: .inf}", "key 'bootstrap.learning_rate' should be a finite number, but is inf."),
        ("adapt: {intervention_share: 1.5}", "key 'adapt.intervention_share' should be less than or equal to 1"),
        ("rank: {steepness: 1.0e-20}", "key 'rank.steepness' should be greater than or equal to 0.000001"),
        ("policy: {transformer_dim: 2}", "key 'policy.transformer_dim' should be greater than or equal to 4"),
        (
            "cell: {cameras: {front.left: {}}}",
            "in 'cell.cameras' a name is letters, digits, - and _, but 'front.left' is not.",
        ),
        ("cell: {deployment_offset_m: [0.1, 0]}", "key 'cell.deployment_offset_m' has too few values: [0.1, 0]."),
        (
            "cell: {deployment_offset_m: [0.1, 0, 0, 0]}",
            "key 'cell.deployment_offset_m' should have 3 values, but is [0.1, 0, 0, 0].",
        ),
    ],
)
def test_a_value_out_of_range_is_named_with_the_range(tmp_path: Path, text: str, expected: str) -> None:
    assert sentence(tmp_path, text).startswith(expected)


@pytest.mark.parametrize(
    ("text", "key", "unit", "value"),
    [
        ("cell: {deployment_offset_m: [30, 0, 0]}", "cell.deployment_offset_m", "metres", "30"),
        ("limits: {workspace_max_m: [800, 500, 600]}", "limits.workspace_max_m", "metres", "800"),
        ("limits: {max_speed_m_s: 250}", "limits.max_speed_m_s", "metres per second", "250"),
        ("limits: {leash_rad: 30}", "limits.leash_rad", "radians", "30"),
        ("limits: {command_timeout_s: 200}", "limits.command_timeout_s", "seconds", "200"),
        ("simulated_expert: {deviation_m: 8}", "simulated_expert.deviation_m", "metres", "8"),
    ],
)
def test_a_value_in_another_unit_is_refused(tmp_path: Path, text: str, key: str, unit: str, value: str) -> None:
    assert sentence(tmp_path, text).startswith(f"key '{key}' is in {unit}, where {value} is implausible")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("policy_period_s: 0.105", ("policy_period_s", "cell.servo_period_s")),
        ("cell: {physics_step_s: 0.003}", ("cell.servo_period_s", "cell.physics_step_s")),
        ("policy: {action_horizon: 16}", ("policy.action_horizon", "inference_steps", "policy.pred_horizon")),
        ("policy: {sample_steps: 200}", ("policy.sample_steps", "policy.train_timesteps")),
        ("policy: {freeze_vision: true}", ("policy.freeze_vision", "bootstrap.vision_weights")),
        (
            "{policy: {vision: small_cnn}, bootstrap: {vision_weights: resnet18.safetensors}}",
            ("bootstrap.vision_weights", "policy.vision"),
        ),
        ("policy: {pred_horizon: 15}", ("policy.pred_horizon", "policy.unet_dims")),
        ("policy: {unet_dims: [30]}", ("policy.unet_dims",)),
        (
            "policy: {backbone: transformer, transformer_heads: 3}",
            ("policy.transformer_dim", "policy.transformer_heads"),
        ),
        ("policy: {object_dim: 3}", ("policy.object_dim", "cell")),
        ("rank: {r_min: 9, r_max: 8}", ("rank.r_min", "rank.r_max")),
        ("adapt: {intervention_share: 0.6, autonomous_share: 0.6}", ("adapt.intervention_share",)),
        ("cell: {track_objects: false}", ("cell.track_objects", "cell.cameras")),
        ("limits: {workspace_min_m: [0.9, 0, 0]}", ("limits", "workspace_min_m")),
        ("gate: {mode: collect}", ("gate.mode",)),
    ],
)
def test_values_that_do_not_go_together_are_named(tmp_path: Path, text: str, keys: tuple[str, ...]) -> None:
    words = sentence(tmp_path, text)
    assert all(key in words for key in keys), words


def test_broken_yaml_is_named_with_its_place(tmp_path: Path) -> None:
    assert "line 2" in sentence(tmp_path, "cell: {}\npolicy: [")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None], ids=["not text", "missing"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gone.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"gone\.yaml: cannot be read .* give the path of a YAML configuration\."):
        load_config(path)


REAL = """
cell: {{track_objects: false, cameras: {{front: {{}}}}{cell}}}
devices:
  arm: {{{arm}}}
  gripper: {{{gripper}}}
  cameras: {{front: {{{camera}}}}}
"""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arm": ""}, "section 'devices.arm' lacks the key 'host'; add it."),
        ({"arm": "hots: 1.2.3.4"}, "unknown key 'devices.arm.hots'; did you mean 'host'?"),
        (
            {"gripper": "driver: robotic"},
            "section 'devices.gripper' should say which device it is, 'driver' one of none, robotiq, ur_output, "
            "but is {'driver': 'robotic'}.",
        ),
        ({"gripper": "driver: robotiq, sped: 3"}, "unknown key 'devices.gripper.sped'; did you mean 'speed'?"),
        ({"camera": "driver: realsense"}, "section 'devices.cameras.front' lacks the key 'serial'; add it."),
        (
            {"camera": "driver: realsense, serial: 42"},
            "key 'devices.cameras.front.serial' should be a valid string, but is 42.",
        ),
        (
            {"cell": ", task: fold"},
            "key 'cell.task' should be one of lift, pick_and_place, stacking, microwave, drawer_assembling, "
            "drawer_interaction with an emulated arm, but is 'fold'.",
        ),
    ],
)
def test_a_mistake_about_a_device_is_named_where_it_is(tmp_path: Path, changes: dict[str, str], expected: str) -> None:
    right = {"cell": "", "arm": "host: 127.0.0.2", "gripper": "driver: none", "camera": "driver: webcam, source: 0"}
    (tmp_path / "right.yaml").write_text(REAL.format(**right))
    assert load_config(tmp_path / "right.yaml").devices is not None
    assert sentence(tmp_path, REAL.format(**(right | changes))) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("devices: {arm: {host: 1.2.3.4}}", "a real cell tracks no objects"),
        ("cell: {track_objects: false, cameras: {top: {}}}\ndevices: {arm: {host: 1.2.3.4}}", "differ in top"),
        ("input: {mapping: {buttons: {a: takover}}}", "key 'input.mapping.buttons.a' should be 'takeover'"),
        ("input: {mapping: {buttons: {a: [takeover, dance]}}}", "key 'input.mapping.buttons.a' should be 'takeover'"),
        ("window: {sound: loud}", "key 'window.sound' should be a valid boolean, but is 'loud'"),
    ],
)
def test_devices_and_cell_have_to_fit_together(tmp_path: Path, text: str, words: str) -> None:
    assert words in sentence(tmp_path, text)


@pytest.mark.parametrize(("host", "emulator"), [("127.0.0.2", "127.0.0.2"), ("192.168.1.10", None), ("ur5e.lab", None)])
def test_a_loopback_address_is_an_emulated_cells(host: str, emulator: str | None) -> None:
    devices = config_from_dict(
        {"cell": {"track_objects": False, "cameras": {"front": {}}},
         "devices": {"arm": {"host": host}, "cameras": {"front": {"driver": "webcam", "source": 0}}}},
        "test",
    ).devices  # fmt: skip
    assert devices is not None
    assert devices.emulator == emulator
