import pytest
import torch
from torch import Tensor, nn

from policies.convolution import PRODUCTS_FROM_ROWS, Conv1d, ConvTranspose1d, pays
from policies.unet import ConditionalUnet1d

WIDE = PRODUCTS_FROM_ROWS
PAIRS: dict[str, tuple[nn.Module, nn.Module, tuple[int, ...]]] = {
    "convolution": (Conv1d(12, WIDE, 5, padding=2), nn.Conv1d(12, WIDE, 5, padding=2), (3, 12, 8)),
    "strided": (Conv1d(12, WIDE, 3, 2, 1), nn.Conv1d(12, WIDE, 3, 2, 1), (3, 12, 8)),
    "strided, odd length": (Conv1d(12, WIDE, 3, 2, 1), nn.Conv1d(12, WIDE, 3, 2, 1), (3, 12, 7)),
    "strided, with a rest": (Conv1d(12, WIDE, 4, 2, 1), nn.Conv1d(12, WIDE, 4, 2, 1), (3, 12, 7)),
    "pointwise, no bias": (Conv1d(12, WIDE, 1, bias=False), nn.Conv1d(12, WIDE, 1, bias=False), (3, 12, 8)),
    "transposed": (ConvTranspose1d(WIDE, 6, 4, 2, 1), nn.ConvTranspose1d(WIDE, 6, 4, 2, 1), (3, WIDE, 5)),
    "narrow": (Conv1d(12, 16, 5, padding=2), nn.Conv1d(12, 16, 5, padding=2), (3, 12, 8)),
}


def results(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """What a layer gives, and the gradients of its input and parameters."""
    x = x.clone().requires_grad_(True)
    y = layer(x)
    (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    assert x.grad is not None
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters() if p.grad is not None)]


@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients_are_those_of_torch(name: str) -> None:
    ours, torchs, shape = PAIRS[name]
    ours.load_state_dict(torchs.state_dict())
    torch.manual_seed(0)
    x = torch.randn(shape)
    for mine, reference in zip(results(ours, x), results(torchs, x), strict=True):
        assert mine.shape == reference.shape
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4)


def test_products_are_for_wide_layers_on_a_cpu() -> None:
    weight = torch.empty(WIDE, 1, 1, device="meta")
    assert pays(torch.empty(1), weight)
    assert not pays(torch.empty(1), weight[1:])
    assert not pays(torch.empty(1, device="meta"), weight)


def test_the_unet_gives_the_same_noise_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = ConditionalUnet1d(10, 8, (64, WIDE)).eval()
    inputs = (torch.randn(2, 16, 10), torch.tensor([3, 90]), torch.randn(2, 8))
    with torch.no_grad():
        products = network(*inputs)
        monkeypatch.setattr("policies.convolution.PRODUCTS_FROM_ROWS", WIDE + 1)
        torch.testing.assert_close(products, network(*inputs), rtol=0, atol=1e-4)
