import copy
from collections.abc import Callable
from typing import get_args

import policy_samples as samples
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from policies import rank
from policies.allocation import Allocation
from policies.convolution import Conv1d
from policies.errors import PolicyError
from policies.methods import Form, Phase
from policies.optimizer import OptimizerConfig, make_optimizer
from policies.policy import DiffusionPolicy
from policies.rank import RankModulated, merged_parameters, merged_state_dict, modulate, modulated_layers, set_rank
from policies.unet import ConditionalUnet1d

WIDE = 256
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: nn.Conv1d(6, 10, 5, padding=2), (3, 6, 8)),
    "strided convolution": (lambda: nn.Conv1d(8, 8, 3, 2, 1), (3, 8, 8)),
    "pointwise convolution without bias": (lambda: nn.Conv1d(6, 9, 1, bias=False), (3, 6, 8)),
    "wide convolution": (lambda: nn.Conv1d(12, WIDE, 5, padding=2), (3, 12, 8)),
    "transposed convolution": (lambda: nn.ConvTranspose1d(8, 6, 4, 2, 1), (3, 8, 5)),
    "wide transposed convolution": (lambda: nn.ConvTranspose1d(WIDE, 6, 4, 2, 1), (3, 256, 5)),
    "picture convolution": (lambda: nn.Conv2d(3, 10, 5, 2, 2), (2, 3, 9, 12)),
    "picture convolution without bias": (lambda: nn.Conv2d(6, 8, 3, 1, 1, bias=False), (2, 6, 5, 4)),
    "linear": (lambda: nn.Linear(12, 9), (4, 12)),
    "linear over tokens": (lambda: nn.Linear(12, 9), (4, 5, 12)),
}


def modulated(name: str, trainable: int, seed: int = 0) -> tuple[nn.Sequential, nn.Module, Tensor]:
    """A modulated layer in a container, the plain layer that it was, and an input."""
    torch.manual_seed(seed)
    make, shape = LAYERS[name]
    plain = make()
    network = nn.Sequential(copy.deepcopy(plain))
    modulate(network)
    set_rank(network, None, trainable)
    return network, plain, torch.randn(shape)


def layer_of(network: nn.Sequential) -> RankModulated:
    layer = network[0]
    assert isinstance(layer, RankModulated)
    return layer


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two tensors agree relative to the size of the second."""
    return float((a - b).detach().abs().max()) <= tolerance * float(b.detach().abs().max())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("trainable", [1000, 4])
def test_a_modulated_layer_equals_the_original_with_its_bias(name: str, trainable: int) -> None:
    network, plain, x = modulated(name, trainable)
    assert close(network(x), plain(x))
    with torch.no_grad():
        assert close(network(x), plain(x))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["factored", "dense"])
def test_gradients_equal_a_float64_autograd_oracle(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "FACTORED_FLOP_COST", 0.0)
    monkeypatch.setattr(rank, "FACTORED_FROM_ROWS", 0 if form == "factored" else 1000)
    network, _, x = modulated(name, 3)
    layer = layer_of(network)
    with torch.no_grad():  # away from orthonormal factors, as after some steps
        for factor in (layer.u, layer.s, layer.v):
            assert factor is not None
            factor.add_(0.1 * torch.randn_like(factor))
    x.requires_grad_(True)
    y = network(x)
    g = torch.randn_like(y)
    y.backward(g)

    assert layer.frozen is not None
    oracle = {n: p.detach().double().requires_grad_(True) for n, p in layer.named_parameters()}
    x64 = x.detach().double().requires_grad_(True)
    weight = layer.frozen.double() + (oracle["u"] * oracle["s"]) @ oracle["v"].T
    layer.operate(x64, weight.view(layer.shape), oracle.get("bias")).backward(g.double())
    assert x.grad is not None
    assert x64.grad is not None
    assert close(x.grad, x64.grad)
    for parameter_name, parameter in layer.named_parameters():
        expected = oracle[parameter_name].grad
        assert parameter.grad is not None
        assert expected is not None
        assert close(parameter.grad, expected), parameter_name


@pytest.mark.parametrize("name", LAYERS)
def test_one_step_changes_every_trainable_factor_and_nothing_frozen(name: str) -> None:
    network, _, x = modulated(name, 3)
    layer = layer_of(network)
    optimizer = make_optimizer(network, OptimizerConfig())
    before = copy.deepcopy(network.state_dict())
    network(x).square().sum().backward()
    optimizer.step()
    for key, value in network.state_dict().items():
        part = key.removeprefix("0.")
        if part == "frozen":
            assert torch.equal(value, before[key])
        else:
            assert bool((value != before[key]).any(dim=0).all()), f"{part} has entries that did not move"
    assert layer.rank == 3


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(get_args(Allocation))), min_size=1, max_size=5),
    st.integers(0, 100),
)
@settings(max_examples=12)
def test_the_output_is_unchanged_across_every_rank_change(ranks: list[tuple[int, Allocation]], seed: int) -> None:
    torch.manual_seed(seed)
    network = ConditionalUnet1d(3, 4, (16, 32), 8)  # narrower, a group norm sees one channel and amplifies rounding
    modulate(network)
    optimizer = make_optimizer(network, OptimizerConfig(learning_rate=1e-2))
    inputs = (torch.randn(4, 8, 3), torch.arange(4), torch.randn(4, 4))
    for trainable, allocation in ranks:
        before = network(*inputs).detach()
        set_rank(network, optimizer, trainable, allocation)
        assert close(network(*inputs), before)
        network(*inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", LAYERS)
def test_frozen_and_trainable_parts_sum_to_the_weight_and_share_its_rank(name: str) -> None:
    network, plain, _ = modulated(name, 3)
    layer = layer_of(network)
    weight = plain.get_parameter("weight").detach()
    for trainable in (3, 2, 3):
        set_rank(network, None, trainable)
        assert layer.u is not None
        assert layer.s is not None
        assert layer.v is not None
        assert layer.frozen is not None
        trained = (layer.u * layer.s) @ layer.v.T
        assert close((layer.frozen + trained).detach().view(layer.shape), weight)
        assert layer.frozen.numel() == weight.numel()
        frozen_rank = int(torch.linalg.matrix_rank(layer.frozen.double(), rtol=1e-5))
        assert frozen_rank == layer.max_rank - trainable
        assert sum(p.numel() for n, p in layer.named_parameters() if n != "bias") == trainable * (
            sum(layer.frozen.shape) + 1
        )


def test_the_frozen_part_stays_of_constant_size_through_training_at_a_rank() -> None:
    state, observation, actions = samples.some_training()
    state.set_rank(8)
    frozen = {n: layer.frozen for n, layer in modulated_layers(state.policy) if layer.frozen is not None}
    before = {n: value.clone() for n, value in frozen.items()}
    samples.train(state, observation, actions, 20)
    assert frozen
    assert all(torch.equal(value, before[n]) for n, value in frozen.items())


@pytest.mark.parametrize("name", ["convolution", "wide convolution", "transposed convolution"])
def test_the_forward_pass_is_a_single_operation(name: str) -> None:
    network, plain, x = modulated(name, 3)
    network(x)
    with samples.Recorder() as factored:
        network(x)
    with samples.Recorder() as dense:
        plain(x)
    assert factored.count("convolution", "mm", "svd") == dense.count("convolution", "mm", "svd") == 1


@pytest.mark.parametrize("name", ["convolution", "wide convolution", "transposed convolution", "linear"])
def test_at_low_rank_the_factored_form_never_forms_the_weight_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank, "FACTORED_FROM_ROWS", 0)
    network, plain, _ = modulated(name, 1)
    layer = layer_of(network)
    shape = LAYERS[name][1]
    x = torch.randn((64, *shape[1:]))
    y = network(x)
    with samples.Recorder() as recorder:
        y.sum().backward()
    weight_size = plain.get_parameter("weight").numel()
    assert layer.s is not None
    assert layer.s.grad is not None
    assert all(weight_size not in sizes for _, sizes in recorder.calls)


@pytest.mark.parametrize(
    ("rows", "rank", "trained_at"), [(128, 32, 128), (128, 31, 31), (120, 100, 120), (120, 99, 99)]
)
def test_a_wide_layer_is_dense_where_factors_would_cost_more_time_and_a_narrow_one_only_where_they_save_nothing(
    rows: int, rank: int, trained_at: int
) -> None:
    network = nn.Sequential(nn.Conv1d(rows, rows, 5))
    modulate(network)
    set_rank(network, None, rank)
    assert layer_of(network).rank == trained_at


@pytest.mark.parametrize(("name", "forms_it"), [("convolution", True), ("wide convolution", False)])
def test_a_narrow_layer_takes_torchs_own_gradient_and_a_wide_one_does_not(name: str, forms_it: bool) -> None:
    network, plain, _ = modulated(name, 1)
    y = network(torch.randn((64, *LAYERS[name][1][1:])))
    with samples.Recorder() as recorder:
        y.sum().backward()
    weight_size = plain.get_parameter("weight").numel()
    assert any(weight_size in sizes for _, sizes in recorder.calls) == forms_it


def test_the_merged_weight_is_rebuilt_only_when_a_factor_has_changed() -> None:
    network, _, x = modulated("convolution", 3)
    for factory in (
        lambda: make_optimizer(network, OptimizerConfig()),
        lambda: torch.optim.AdamW(network.parameters()),
    ):
        optimizer = factory()
        network(x).sum().backward()
        with torch.no_grad(), samples.Recorder() as idle:
            network(x)
            network(x)
        assert idle.count("addmm") == 0
        optimizer.step()
        layer = layer_of(network)
        with torch.no_grad(), samples.Recorder() as stepped:
            y = network(x)
            network(x)
        assert stepped.count("addmm") == 1
        factors = layer.factors()
        assert factors is not None
        assert layer.frozen is not None
        with torch.no_grad():
            weight = (layer.frozen + (factors.u * factors.s) @ factors.v.T).view(layer.shape)
            assert close(y, layer.operate(x, weight, layer.bias))


def test_a_deep_copy_goes_its_own_way() -> None:
    network, _, x = modulated("linear", 3)
    twin = copy.deepcopy(network)
    before = network(x).detach()
    with torch.no_grad():
        factor = layer_of(twin).s
        assert factor is not None
        factor.mul_(2)
    assert not close(twin(x), before)
    assert torch.equal(network(x), before)


def test_layers_are_excluded_by_name() -> None:
    network = ConditionalUnet1d(3, 4, (8, 16), 8)
    excluded = ["final.1", "down.0.first.film"]
    names = modulate(network, excluded)
    assert type(network.get_submodule("final.1")) is Conv1d
    assert type(network.get_submodule("down.0.first.film")) is nn.Linear
    assert isinstance(network.get_submodule("down.0.second.film"), RankModulated)
    assert set(names).isdisjoint(excluded)
    assert {"down.0.resample", "up.0.resample", "middle.1.first.0"} <= set(names)


def test_excluding_a_layer_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(PolicyError, match=r"final\.7"):
        modulate(ConditionalUnet1d(3, 4, (8, 16), 8), ["final.7"])


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(4, 4, 3, groups=2), nn.Conv1d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 3, groups=2)]
)
def test_convolutions_of_unsupported_kinds_are_refused(layer: nn.Module) -> None:
    with pytest.raises(PolicyError, match="not supported"):
        modulate(nn.Sequential(layer))


def test_a_rank_below_one_is_an_error() -> None:
    network, _, _ = modulated("linear", 3)
    with pytest.raises(PolicyError, match="at least 1"):
        set_rank(network, None, 0)


def test_a_layer_whose_maximum_is_smaller_uses_its_maximum() -> None:
    network = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 16))
    modulate(network)
    set_rank(network, None, 6)
    assert [layer.rank for _, layer in modulated_layers(network)] == [4, 6]
    assert set(network.state_dict()) == {"0.weight", "0.bias", "1.u", "1.s", "1.v", "1.frozen", "1.bias"}


def test_the_optimizer_always_holds_exactly_the_trainable_parameters_in_their_groups() -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    modulate(network)
    first, second = network
    optimizer = torch.optim.AdamW(
        [{"params": list(first.parameters()), "lr": 1e-3}, {"params": list(second.parameters()), "lr": 1e-4}]
    )
    for trainable in (3, 5, 8, 2):
        set_rank(network, optimizer, trainable)
        for group, layer in zip(optimizer.param_groups, network, strict=True):
            assert {id(p) for p in group["params"]} == {id(p) for p in layer.parameters()}
        assert set(optimizer.state) <= set(network.parameters())


def test_the_merged_state_dict_loads_into_the_plain_network_with_the_same_output() -> None:
    torch.manual_seed(0)
    network = ConditionalUnet1d(3, 4, (8, 16), 8)
    plain_names = set(network.state_dict())
    modulate(network)
    set_rank(network, None, 4)
    merged = merged_state_dict(network)
    assert set(merged) == plain_names
    assert set(merged_parameters(network)) <= plain_names
    plain = ConditionalUnet1d(3, 4, (8, 16), 8)
    plain.load_state_dict(merged)
    inputs = (torch.randn(4, 8, 3), torch.arange(4), torch.randn(4, 4))
    assert close(plain(*inputs), network(*inputs))


def first_moments(steps_dense: int, trainable: int, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Adam's state of a layer that did some steps dense and the rest at a rank, with weights that do not move."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(12, 9))
    modulate(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, betas=(0.95, 0.999))
    for i, x in enumerate(inputs):
        if i == steps_dense:
            set_rank(network, optimizer, trainable)
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    if steps_dense == len(inputs):
        set_rank(network, optimizer, trainable)
    return {
        f"{name}.{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def test_first_moments_after_a_rank_change_are_what_they_had_been_at_that_rank_from_the_start() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(5, 12) for _ in range(6)]
    expected = first_moments(0, 4, inputs)
    for change_at in (3, 6):
        found = first_moments(change_at, 4, inputs)
        assert set(found) == set(expected)
        for key, value in expected.items():
            if key.endswith("exp_avg") or key.endswith("step"):
                assert close(found[key], value, 1e-4), key


@pytest.mark.parametrize("backbone", ["unet", "transformer"])
def test_a_rank_change_in_training_leaves_no_spike_and_learning_goes_on(backbone: str) -> None:
    state, observation, actions = samples.some_training(backbone=backbone)
    samples.train(state, observation, actions, 60)
    at_first_change = samples.fixed_loss(state, observation, actions)
    for seed, trainable in enumerate((16, 4), start=1):
        before = samples.fixed_loss(state, observation, actions)
        state.set_rank(trainable)
        assert samples.fixed_loss(state, observation, actions) == pytest.approx(before, rel=1e-5)
        for part in range(4):
            samples.train(state, observation, actions, 5, 10 * seed + part)
            assert samples.fixed_loss(state, observation, actions) < 1.15 * before
    samples.train(state, observation, actions, 20, seed=99)
    assert samples.fixed_loss(state, observation, actions) < 0.9 * at_first_change


@pytest.mark.parametrize(("trainable", "found"), [(5, 5), (6, 8), (7, 8), (8, 8)])
def test_a_layer_whose_factors_would_be_no_fewer_numbers_is_dense(trainable: int, found: int) -> None:
    network = nn.Sequential(nn.Conv1d(4, 8, 5, padding=2))  # 8 x 20: 160 numbers, a triplet 29
    modulate(network)
    set_rank(network, None, trainable)
    assert layer_of(network).rank == found


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (7, 7)])
def test_leading_factors_are_those_of_an_svd(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    found = rank.leading_factors(matrix, 4)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(found.s, s[:4])
    torch.testing.assert_close((found.u * found.s) @ found.v.T, (u[:, :4] * s[:4]) @ vh[:4])
    for side in (found.u, found.v):
        torch.testing.assert_close(side.T @ side, torch.eye(4, dtype=torch.float64))


def test_leading_factors_of_a_weight_without_full_rank_are_orthonormal_all_the_same() -> None:
    matrix = torch.zeros(5, 9, dtype=torch.float64)
    matrix[0, 0] = 2.0
    found = rank.leading_factors(matrix, 3)
    torch.testing.assert_close(found.s, torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(found.v.T @ found.v, torch.eye(3, dtype=torch.float64))


def test_all_of_a_policy_is_modulated_but_for_what_is_frozen() -> None:
    state, _, _ = samples.some_training(scope="policy", cameras={"front": (24, 32)})
    names = {name for name, _ in modulated_layers(state.policy)}
    assert {"condition_encoder.0", "encoders.front.trunk.0", "encoders.front.keypoints.maps"} <= names
    assert any(name.startswith("backbone.") for name in names)
    frozen, _, _ = samples.some_training(scope="policy", cameras={"front": (24, 32)}, freeze_vision=True)
    trunk = frozen.policy.encoders["front"].trunk
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    frozen.set_rank(2)
    assert {name for name, _ in modulated_layers(frozen.policy)} == {n for n in names if ".trunk." not in n}
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())


@pytest.mark.parametrize("form", ["modulated", "lora", "dense"])
def test_all_of_a_policy_learns_in_every_form_and_acts_as_a_plain_one(form: Form) -> None:
    state, observation, actions = samples.some_training(batch=8, scope="policy", cameras={"front": (24, 32)})
    state.enter(Phase(form), 4)
    before = {name: value.clone() for name, value in merged_parameters(state.policy).items()}
    samples.train(state, observation, actions, 2)
    after = merged_parameters(state.policy)
    assert all(not torch.equal(value, before[name]) for name, value in after.items())
    DiffusionPolicy(state.policy.config).load_state_dict(state.acting_weights())
