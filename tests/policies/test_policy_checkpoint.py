import dataclasses
import errno
import json
from pathlib import Path

import policy_samples as samples
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies import checkpoint
from policies.alarm import Alarm
from policies.checkpoint import Manifest, check, load_manifest, load_policy, load_training, save
from policies.errors import PolicyError, UnusableHereError
from policies.rank import modulated_layers, set_ranks
from policies.training import TrainingState


def manifest_of(state: TrainingState) -> Manifest:
    return Manifest(
        version=3,
        parent=2,
        method="drift",
        rank=state.rank,
        epoch=4,
        epochs=10,
        config=state.policy.config,
        data={"demonstrations": 12},
        figures={"loss": 0.25},
    )


def saved(folder: Path, rank: int = 8, with_training: bool = True) -> tuple[TrainingState, Path]:
    state, observation, actions = samples.some_training(batch=8)
    samples.train(state, observation, actions, 2)
    state.set_rank(rank)
    samples.train(state, observation, actions, 2)
    path = folder / "000003"
    save(path, manifest_of(state), state.acting_weights(), state if with_training else None)
    return state, path


@pytest.mark.parametrize("rank", [8, 1000])
def test_a_checkpoint_written_at_a_rank_loads_and_goes_on_exactly_at_that_rank(tmp_path: Path, rank: int) -> None:
    state, path = saved(tmp_path, rank)
    resumed, manifest = load_training(path)
    assert resumed.rank == manifest.rank == rank
    assert resumed.trainable_parameters() == state.trainable_parameters()
    _, observation, actions = samples.some_training(batch=8)
    torch.testing.assert_close(
        samples.train(resumed, observation, actions, 3),
        samples.train(state, observation, actions, 3),
        rtol=1e-6,
        atol=0,
    )
    for name, value in state.acting_weights().items():
        torch.testing.assert_close(resumed.acting_weights()[name], value)
    assert resumed.average.updates == state.average.updates


def test_ranks_that_this_release_would_not_choose_are_gone_on_with(tmp_path: Path) -> None:
    state, observation, actions = samples.some_training(batch=8)
    state.set_rank(8)
    ranks = {name: min(layer.max_rank, 3 + n % 4) for n, (name, layer) in enumerate(modulated_layers(state.policy))}
    set_ranks(state.policy, state.optimizer, ranks)
    samples.train(state, observation, actions, 2)
    save(tmp_path / "000003", manifest_of(state), state.acting_weights(), state)
    resumed, _ = load_training(tmp_path / "000003")
    assert {name: layer.rank for name, layer in modulated_layers(resumed.policy)} == ranks
    one, two = (samples.train(each, observation, actions, 3) for each in (resumed, state))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=0)


def test_ranks_that_follow_from_spectra_and_a_modulated_encoder_are_gone_on_with_exactly(tmp_path: Path) -> None:
    cameras = {"front": (24, 32)}
    state, observation, actions = samples.some_training(batch=8, scope="policy", allocation="spectrum", cameras=cameras)
    samples.train(state, observation, actions, 2)
    state.set_rank(6)
    samples.train(state, observation, actions, 2)
    ranks = {name: layer.rank for name, layer in modulated_layers(state.policy)}
    assert len(set(ranks.values()) - {layer.max_rank for _, layer in modulated_layers(state.policy)}) > 1
    save(tmp_path / "000003", manifest_of(state), state.acting_weights(), state)
    resumed, _ = load_training(tmp_path / "000003")
    assert {name: layer.rank for name, layer in modulated_layers(resumed.policy)} == ranks
    one, two = (samples.train(each, observation, actions, 3) for each in (resumed, state))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=0)
    resumed.set_rank(3)
    state.set_rank(3)
    assert [layer.rank for _, layer in modulated_layers(resumed.policy)] == [
        layer.rank for _, layer in modulated_layers(state.policy)
    ]


def test_what_acts_is_the_plain_average_and_the_manifest_tells_all(tmp_path: Path) -> None:
    state, path = saved(tmp_path)
    policy, manifest = load_policy(path)
    assert not policy.training
    assert all(torch.equal(value, state.acting_weights()[name]) for name, value in policy.state_dict().items())
    assert manifest.config == state.policy.config
    assert (manifest.version, manifest.parent, manifest.rank, manifest.epoch, manifest.epochs) == (3, 2, 8, 4, 10)
    assert (manifest.data, manifest.figures) == ({"demonstrations": 12}, {"loss": 0.25})
    assert set(manifest.files) == {"policy.safetensors", "training.safetensors"}


def test_how_its_chunks_are_judged_is_kept_with_a_version_and_older_ones_have_nothing(tmp_path: Path) -> None:
    state, path = saved(tmp_path)
    assert load_manifest(path).alarm is None
    alarm = Alarm(0.0125, 0.99, 512, (6, 18, 31))
    save(tmp_path / "judged", dataclasses.replace(manifest_of(state), alarm=alarm), state.acting_weights())
    assert load_manifest(tmp_path / "judged").alarm == alarm
    old = json.loads((path / "manifest.json").read_text())
    del old["alarm"]
    (path / "manifest.json").write_text(json.dumps(old))
    assert load_manifest(path).alarm is None


@pytest.mark.parametrize("threshold", [0.0, -1.0, "nan", None])
def test_a_threshold_that_is_none_is_refused(tmp_path: Path, threshold: object) -> None:
    _, path = saved(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["alarm"] = {"threshold": threshold, "quantile": 0.99, "windows": 512, "timesteps": [6]}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PolicyError, match=r"manifest\.json, key alarm\.threshold"):
        load_manifest(path)


def test_a_checkpoint_that_only_acts_says_that_it_cannot_be_trained(tmp_path: Path) -> None:
    _, path = saved(tmp_path, with_training=False)
    load_policy(path)
    with pytest.raises(PolicyError, match="no training state"):
        load_training(path)


def test_nothing_but_the_whole_folder_is_ever_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, content: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "_write", full_disk)
    with pytest.raises(OSError, match="no space"):
        saved(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    state, path = saved(tmp_path)
    with pytest.raises(PolicyError, match="exists already"):
        save(path, manifest_of(state), state.acting_weights())


@pytest.mark.parametrize("name", ["policy.safetensors", "training.safetensors"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    _, path = saved(tmp_path)
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(PolicyError, match=f"{name} does not match its hash"):
        load_policy(path) if name.startswith("policy") else load_training(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    (path / "policy.safetensors").unlink()
    with pytest.raises(PolicyError, match=r"policy\.safetensors cannot be read"):
        load_policy(path)
    with pytest.raises(PolicyError, match=r"manifest\.json cannot be read"):
        load_manifest(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_now_says_nothing_against_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = saved(tmp_path)

    def too_many_files(self: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", too_many_files)
    for load in (load_policy, load_training, load_manifest):
        with pytest.raises(UnusableHereError, match=r"cannot be read \(Too many open files\)"):
            load(path)


def test_without_a_training_state_the_manifest_speaks_of_none(tmp_path: Path) -> None:
    state, path = saved(tmp_path)
    trained = load_manifest(path)
    assert trained.training is not None
    acting = save(tmp_path / "acting", trained, state.acting_weights())
    assert acting.training is None
    with pytest.raises(PolicyError, match="holds no training state"):
        load_training(tmp_path / "acting")


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = saved(tmp_path)
    monkeypatch.setattr(checkpoint, "MAX_TENSOR_BYTES", 100)
    with pytest.raises(PolicyError, match="larger than 100 bytes"):
        load_policy(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format"),
        ("rank", 0, "rank"),
        ("surprise", 1, "surprise"),
        ("files", {"../../policy.safetensors": "0"}, "no part"),
        ("alarm", {"threshold": 1.0, "quantile": 0.9, "windows": 5, "timesteps": []}, r"alarm\.timesteps"),
        ("alarm", {"threshold": 1.0, "quantile": 0.9, "windows": 5, "timesteps": [5000]}, r"alarm\.timesteps"),
    ],
)
def test_a_manifest_that_is_not_as_it_should_be_is_one_sentence(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    _, path = saved(tmp_path)
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(PolicyError, match=message) as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_no_json_is_one_sentence(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    (path / "manifest.json").write_bytes(b"\xff{")
    with pytest.raises(PolicyError, match="cannot be read"):
        load_manifest(path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    state, _ = saved(tmp_path)
    other = dataclasses.replace(manifest_of(state), config=samples.small_config(unet_dims=(16, 48)))
    with pytest.raises(PolicyError, match="shape"):
        save(tmp_path / "other", other, state.acting_weights())


def test_check_names_what_is_missing_unknown_misshapen_or_not_finite() -> None:
    expected = {"a": torch.zeros(2), "b": torch.zeros(3)}
    good = {"a": torch.ones(2), "b": torch.ones(3)}
    check(good, expected, "it")
    for tensors, message in (
        ({"a": torch.ones(2)}, "b is missing"),
        (good | {"c": torch.ones(1)}, "c does not belong"),
        (good | {"a": torch.ones(3)}, "a has shape"),
        (good | {"b": torch.tensor([0.0, float("inf"), 0.0])}, "not finite"),
    ):
        with pytest.raises(PolicyError, match=message):
            check(tensors, expected, "it")


def test_tensors_are_checked_even_if_the_hash_is_right(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    file, manifest_file = path / "policy.safetensors", path / "manifest.json"
    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, file)
    manifest = json.loads(manifest_file.read_text())
    manifest["files"][file.name] = checkpoint.hashlib.sha256(file.read_bytes()).hexdigest()
    manifest_file.write_text(json.dumps(manifest))
    with pytest.raises(PolicyError, match="not finite"):
        load_policy(path)
