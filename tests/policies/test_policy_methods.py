"""Every method of the table: what a step changes and what it leaves, what acts, and that training goes on from disk."""

import copy
import dataclasses
from pathlib import Path

import policy_samples as samples
import pytest
import torch
from torch import nn

from policies.checkpoint import Manifest, load_policy, load_training, save
from policies.lora import adapted_layers
from policies.methods import METHODS, MethodName, Phase
from policies.policy import DiffusionPolicy
from policies.quantization import BLOCK, MAX_ERROR, dequantize, quantize
from policies.rank import merged_parameters, merged_state_dict, modulated_layers, orthonormalise
from policies.training import TrainingState

RANK = 4
PHASES = list(dict.fromkeys(p for method in METHODS.values() for p in (method.offline, method.online) if p is not None))
every_phase = pytest.mark.parametrize("phase", PHASES, ids=[str(tuple(vars(phase).values())) for phase in PHASES])
with_online_phase = pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.online])


def entered(phase: Phase) -> tuple[TrainingState, samples.Observation, torch.Tensor]:
    """A policy that was trained a little at full rank, and has just entered a phase."""
    state, observation, actions = samples.some_training(batch=8)
    samples.train(state, observation, actions, 2)
    state.enter(phase, RANK)
    return state, observation, actions


def step(state: TrainingState, observation: samples.Observation, actions: torch.Tensor, updates: int = 1) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        share = state.phase.denoising_share
        mask = torch.ones(actions.shape[:2])
        state.update(state.policy.loss(observation, actions, mask, generator, denoising_share=share).mean())


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def frozen(name: str) -> bool:
    """Whether a tensor of a backbone's state is one that no form trains."""
    return name.endswith((".frozen", ".plain.weight")) or ".parametrizations." in name


@every_phase
def test_a_step_changes_all_that_is_trained_and_nothing_that_is_frozen(phase: Phase) -> None:
    state, observation, actions = entered(phase)
    samples.train(
        state, observation, actions, 1
    )  # an adapter's first factor has no gradient before the second has moved
    before = tensors(state.policy.backbone)
    step(state, observation, actions)
    changed = {key for key, value in state.policy.backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if not frozen(key)}
    assert any(frozen(key) for key in before) == (phase.form != "dense")


@every_phase
def test_the_optimiser_holds_what_is_trained_and_only_that(phase: Phase) -> None:
    state, observation, actions = entered(phase)
    step(state, observation, actions)
    held = [id(parameter) for group in state.optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in state.policy.parameters() if p.requires_grad)
    assert {id(parameter) for parameter in state.optimizer.state} == set(held)


def test_low_rank_forms_train_fewer_numbers_than_the_dense_one() -> None:
    counts = {phase.form: entered(phase)[0].trainable_parameters() for phase in map(Phase, ("dense", "modulated"))}
    counts["lora"] = entered(Phase("lora"))[0].trainable_parameters()
    assert counts["modulated"] < counts["dense"]
    assert counts["lora"] < counts["dense"]
    assert counts["lora"] == entered(Phase("qlora"))[0].trainable_parameters()


@every_phase
def test_the_merged_plain_network_has_the_same_output(phase: Phase) -> None:
    state, observation, actions = entered(phase)
    step(state, observation, actions, updates=3)
    plain = DiffusionPolicy(state.policy.config)
    plain.load_state_dict(merged_state_dict(state.policy))
    inputs = torch.randn(3, 16, 10), torch.tensor([0, 5, 30]), torch.randn(3, plain.condition_dim)
    with torch.no_grad():
        torch.testing.assert_close(state.policy.backbone(*inputs), plain.backbone(*inputs), rtol=0, atol=1e-5)


@with_online_phase
def test_going_online_keeps_what_the_policy_does_and_what_acts(name: MethodName) -> None:
    method = METHODS[name]
    assert method.online is not None
    state, observation, actions = entered(method.offline)
    step(state, observation, actions, updates=2)
    before, loss = merged_parameters(state.policy), samples.fixed_loss(state, observation, actions)
    before, acting = {key: value.clone() for key, value in before.items()}, state.acting_weights()
    state.enter(method.online, RANK)
    after = merged_parameters(state.policy)
    assert after.keys() == before.keys()
    assert all(torch.equal(value, acting[key]) for key, value in state.acting_weights().items())
    if method.online.form == "qlora":
        return
    assert samples.fixed_loss(state, observation, actions) == pytest.approx(loss, rel=1e-5)
    for key, value in after.items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=1e-5)


@every_phase
def test_a_checkpoint_goes_on_exactly(phase: Phase, tmp_path: Path) -> None:
    state, observation, actions = entered(phase)
    step(state, observation, actions, updates=2)
    manifest = Manifest(0, None, "some method", state.rank, 1, 1, state.policy.config)
    save(tmp_path / "000000", manifest, state.acting_weights(), state)
    resumed, manifest = load_training(tmp_path / "000000")
    assert (resumed.rank, resumed.phase.form) == (state.rank, phase.form)
    resumed.enter(phase, RANK)
    for which in (state, resumed):
        step(which, observation, actions, updates=2)
    for key, value in state.policy.state_dict().items():
        torch.testing.assert_close(resumed.policy.state_dict()[key], value, rtol=1e-6, atol=1e-7)
    for key, value in state.acting_weights().items():
        torch.testing.assert_close(resumed.acting_weights()[key], value, rtol=1e-6, atol=1e-7)
    acts, _ = load_policy(tmp_path / "000000")
    assert not list(adapted_layers(acts))
    assert not list(modulated_layers(acts))


@with_online_phase
def test_the_average_goes_on_through_the_change_of_phase(name: MethodName) -> None:
    method = METHODS[name]
    assert method.online is not None
    state, observation, actions = entered(method.offline)
    step(state, observation, actions)
    state.enter(method.online, RANK)
    before = {key: value.clone() for key, value in state.average.parameters().items()}
    step(state, observation, actions)
    decay = min(state.average.decay, (1 + state.average.updates) / (10 + state.average.updates))
    for key, value in merged_parameters(state.policy).items():
        torch.testing.assert_close(state.average.parameters()[key], decay * before[key] + (1 - decay) * value)


def test_adapters_at_a_new_rank_are_merged_and_begin_anew_and_at_the_same_rank_stay() -> None:
    state, observation, actions = entered(METHODS["D(LR)"].offline)
    step(state, observation, actions, updates=3)
    before = {key: value.clone() for key, value in merged_parameters(state.policy).items()}
    same = dict(adapted_layers(state.policy.backbone))
    state.enter(state.phase, RANK)
    assert dict(adapted_layers(state.policy.backbone)) == same
    state.enter(state.phase, RANK - 1)
    for key, value in merged_parameters(state.policy).items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=1e-6)
    for _, layer in adapted_layers(state.policy.backbone):
        assert layer.rank <= RANK - 1
        assert not layer.b.any()


def test_an_excluded_layer_is_dense_in_every_form() -> None:
    plain, _, _ = samples.some_training(batch=8)
    excluded = next(name for name, _ in modulated_layers(plain.policy.backbone))
    for form in ("modulated", "lora", "qlora", "dense"):
        state = TrainingState.create(DiffusionPolicy(plain.policy.config), plain.optimizer_config, excluded=[excluded])
        state.enter(Phase(form), RANK)
        assert state.policy.backbone.get_submodule(excluded).weight.requires_grad
        assert excluded not in dict(adapted_layers(state.policy.backbone))


def test_any_form_can_follow_any_other() -> None:
    state, observation, actions = samples.some_training(batch=8)
    order = ("lora", "modulated", "qlora", "dense", "lora", "qlora", "modulated", "dense", "qlora", "lora")
    for form in order:
        state.enter(Phase(form), RANK)
        step(state, observation, actions)
        assert state.phase.form == form
        held = sum(len(group["params"]) for group in state.optimizer.param_groups)
        assert held == sum(parameter.requires_grad for parameter in state.policy.parameters())


def test_qr_keeps_the_factors_orthonormal_and_without_it_they_are_not() -> None:
    off = {}
    for name in ("QR", "D(RR)"):
        state, observation, actions = entered(METHODS[name].offline)
        step(state, observation, actions, updates=5)
        worst = 0.0
        for _, layer in modulated_layers(state.policy.backbone):
            factors = layer.factors()
            for factor in (factors.u, factors.v) if factors else ():
                worst = max(worst, float((factor.T @ factor - torch.eye(factor.shape[1])).detach().abs().max()))
        off[name] = worst
    assert off["QR"] < 1e-5 < off["D(RR)"]


def test_making_factors_orthonormal_does_not_change_the_weight() -> None:
    state, observation, actions = entered(METHODS["D(RR)"].offline)
    step(state, observation, actions, updates=5)
    loss = samples.fixed_loss(state, observation, actions)
    twin = copy.deepcopy(state.policy)
    orthonormalise(twin.backbone, None)
    assert samples.fixed_loss(dataclasses.replace(state, policy=twin), observation, actions) == pytest.approx(
        loss, rel=1e-5
    )


def test_dsr_trains_only_at_the_last_tenth_of_the_denoising_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = METHODS["DSR"].online
    assert phase is not None
    state, observation, actions = entered(phase)
    seen: list[torch.Tensor] = []
    noised = state.policy.diffusion.q_sample
    monkeypatch.setattr(
        state.policy.diffusion, "q_sample", lambda clean, t, noise: (seen.append(t), noised(clean, t, noise))[1]
    )
    step(state, observation, actions, updates=20)
    steps = torch.cat(seen)
    assert int(steps.max()) == 0.1 * state.policy.config.train_timesteps - 1
    assert int(steps.min()) == 0


@pytest.mark.parametrize("size", [(3, 5), (64,), (17, 13, 5)])
def test_four_bits_are_off_by_at_most_half_a_level_of_their_block(size: tuple[int, ...]) -> None:
    weight = torch.randn(size, generator=torch.Generator().manual_seed(0)) * 0.1
    codes, scales = quantize(weight)
    assert codes.dtype == torch.uint8
    assert codes.numel() == len(scales) * BLOCK // 2
    error = (dequantize(codes, scales, weight.shape) - weight).abs().flatten()
    bound = MAX_ERROR * scales.repeat_interleave(BLOCK)[: weight.numel()] + 1e-7
    assert bool((error <= bound).all())
    again = dequantize(*quantize(dequantize(codes, scales, weight.shape)), weight.shape)
    torch.testing.assert_close(again, dequantize(codes, scales, weight.shape))


def test_a_block_of_zeros_stays_zero() -> None:
    assert not dequantize(*quantize(torch.zeros(4, 4)), torch.Size((4, 4))).any()


def test_a_quantised_layer_stores_bytes_and_its_output_is_within_the_bound() -> None:
    state, _, _ = entered(Phase("lora"))
    plain = {name: layer.plain.weight.clone() for name, layer in adapted_layers(state.policy.backbone)}
    state.enter(Phase("qlora"), RANK)
    for name, layer in adapted_layers(state.policy.backbone):
        stored = dict(layer.plain.named_parameters())
        assert stored["parametrizations.weight.original0"].dtype == torch.uint8
        assert "weight" not in stored
        off = (layer.plain.weight - plain[name]).flatten(1)
        assert float(off.abs().max()) <= MAX_ERROR * float(plain[name].abs().max()) + 1e-7
        if isinstance(layer.plain, nn.Linear):
            x = torch.randn(5, off.shape[1])
            error = (layer.plain(x).detach() - nn.functional.linear(x, plain[name], layer.plain.bias.detach())).abs()
            assert float(error.max()) <= float(x.abs().sum(1).max() * MAX_ERROR * plain[name].abs().max())
        assert layer.a.dtype == layer.b.dtype == torch.float32
