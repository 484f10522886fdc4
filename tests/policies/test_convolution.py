import policy_samples as samples
import pytest
import torch
from torch import Tensor, nn

from policies import convolution
from policies.convolution import Conv1d, ConvTranspose1d
from policies.unet import ConditionalUnet1d

WIDE = 64
NEVER = 1 << 20
WAYS = {"library": (NEVER, NEVER), "gradients by products": (NEVER, WIDE), "products": (WIDE, WIDE)}
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


def choose(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Let layers with at least WIDE rows go a way."""
    both, gradients = WAYS[way]
    monkeypatch.setattr(convolution, "PRODUCTS_FROM_ROWS", both)
    monkeypatch.setattr(convolution, "PRODUCT_GRADIENTS_FROM_ROWS", gradients)


@pytest.mark.parametrize(
    ("capability", "vendor", "library"),
    [
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
        ("AVX2", "GenuineIntel", False),
        ("DEFAULT", "", False),
    ],
)
def test_the_library_is_faster_where_products_leave_avx512_unused(capability: str, vendor: str, library: bool) -> None:
    assert convolution.library_is_faster(capability, vendor) == library


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("way", WAYS)
def test_outputs_and_gradients_are_those_of_torch(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, way)
    ours, torchs, shape = PAIRS[name]
    ours.load_state_dict(torchs.state_dict())
    ours.zero_grad()
    torchs.zero_grad()
    torch.manual_seed(0)
    x = torch.randn(shape)
    for mine, reference in zip(results(ours, x), results(torchs, x), strict=True):
        assert mine.shape == reference.shape
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("way", "forward", "backward"),
    [("library", 0, 0), ("gradients by products", 0, 1), ("products", 1, 2)],
)
def test_wide_layers_go_by_products_where_these_are_faster(
    way: str, forward: int, backward: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, way)
    for rows, counted in ((WIDE, (forward, backward)), (WIDE - 8, (0, 0))):
        layer = Conv1d(12, rows, 5, padding=2)
        x = torch.randn(3, 12, 8, requires_grad=True)
        with samples.Recorder() as forwards:
            y = layer(x)
        with samples.Recorder() as backwards:
            y.sum().backward()
        assert (forwards.count("mm"), backwards.count("mm")) == counted


def test_the_unet_gives_the_same_noise_by_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = ConditionalUnet1d(10, 8, (32, WIDE)).eval()
    inputs = (torch.randn(2, 16, 10), torch.tensor([3, 90]), torch.randn(2, 8))
    noise = []
    with torch.no_grad():
        for way in WAYS:
            choose(monkeypatch, way)
            noise.append(network(*inputs))
    torch.testing.assert_close(noise[0], noise[2], rtol=0, atol=1e-4)
