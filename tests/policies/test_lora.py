import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from policies import lora
from policies.errors import PolicyError

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: nn.Conv1d(6, 10, 5, padding=2), (3, 6, 8)),
    "strided convolution": (lambda: nn.Conv1d(8, 8, 3, 2, 1), (3, 8, 8)),
    "transposed convolution": (lambda: nn.ConvTranspose1d(8, 6, 4, 2, 1), (3, 8, 5)),
    "linear": (lambda: nn.Linear(12, 9), (4, 5, 12)),
}


def adapted(name: str) -> tuple[nn.Sequential, nn.Sequential, torch.Tensor]:
    """An adapted layer in a container, the plain one that it was, and an input."""
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    plain = nn.Sequential(make())
    network = copy.deepcopy(plain)
    lora.adapt(network, 3)
    return network, plain, torch.randn(shape)


@pytest.mark.parametrize("name", LAYERS)
def test_a_new_path_changes_nothing(name: str) -> None:
    network, plain, x = adapted(name)
    assert torch.allclose(network(x), plain(x))


@pytest.mark.parametrize("name", LAYERS)
def test_training_moves_the_path_and_the_bias_but_not_the_weight(name: str) -> None:
    network, plain, x = adapted(name)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-2)
    before = copy.deepcopy(network.state_dict())
    for _ in range(2):  # A has a gradient once B is no longer zero
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()
    after = network.state_dict()
    assert torch.equal(after["0.plain.weight"], plain.get_parameter("0.weight"))
    assert all(not torch.equal(after[f"0.{key}"], before[f"0.{key}"]) for key in ("a", "b", "plain.bias"))


@pytest.mark.parametrize("name", LAYERS)
def test_merging_gives_a_plain_layer_with_the_same_output(name: str) -> None:
    network, plain, x = adapted(name)
    with torch.no_grad():
        for _, layer in lora.adapted_layers(network):
            layer.b.normal_()
    expected = network(x)
    assert not torch.allclose(expected, plain(x))
    lora.merge(network)
    assert type(network[0]) is type(plain[0])
    assert torch.allclose(network(x), expected, atol=1e-5)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_layer_whose_maximum_is_smaller_uses_its_maximum_and_layers_are_excluded_by_name() -> None:
    network = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 2))
    assert lora.adapt(network, 6, exclude=["2"]) == ["0", "1"]
    layers = [layer for _, layer in lora.adapted_layers(network)]
    assert [layer.rank for layer in layers] == [4, 6]
    assert type(network[2]) is nn.Linear
    for layer in layers:  # the scale is 1 in both
        layer.b.data.normal_()
        x = torch.randn(5, layer.plain.weight.shape[1])
        assert torch.allclose(layer(x), layer.plain(x) + x @ layer.a.T @ layer.b.T, atol=1e-5)


def test_a_wrong_rank_or_name_is_an_error() -> None:
    with pytest.raises(PolicyError, match="at least 1"):
        lora.adapt(nn.Sequential(nn.Linear(4, 4)), 0)
    with pytest.raises(PolicyError, match="no layer"):
        lora.adapt(nn.Sequential(nn.Linear(4, 4)), 2, exclude=["7"])
    with pytest.raises(PolicyError, match="not supported"):
        lora.adapt(nn.Sequential(nn.Conv1d(4, 4, 3, groups=2)), 2)
