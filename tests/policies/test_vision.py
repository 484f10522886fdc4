import itertools

import policy_samples  # noqa: F401  (sets the number of threads)
import pytest
import torch

from policies.errors import PolicyError
from policies.vision import ImageEncoder, ResNet18, SpatialSoftmax


def torchvision_names() -> set[str]:
    """The parameters of torchvision.models.resnet18 without its classifier, written down from its source."""
    names = {"conv1.weight", "bn1.weight", "bn1.bias"}
    for layer, block, part in itertools.product(range(1, 5), range(2), (1, 2)):
        at = f"layer{layer}.{block}"
        names |= {f"{at}.conv{part}.weight", f"{at}.bn{part}.weight", f"{at}.bn{part}.bias"}
    for layer in range(2, 5):
        at = f"layer{layer}.0.downsample"
        names |= {f"{at}.0.weight", f"{at}.1.weight", f"{at}.1.bias"}
    return names


def test_the_resnets_parameters_have_torchvisions_names_and_number() -> None:
    network = ResNet18()
    assert set(network.state_dict()) == torchvision_names()
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_689_512 - (512 * 1000 + 1000)


def test_torchvision_weights_load_without_the_classifier_and_the_running_statistics() -> None:
    source = {name: torch.randn_like(value) for name, value in ResNet18().state_dict().items()}
    network = ResNet18()
    network.load_torchvision(source | {"fc.weight": torch.zeros(1000, 512), "bn1.running_mean": torch.zeros(64)})
    assert all(torch.equal(value, source[name]) for name, value in network.state_dict().items())


def test_weights_of_another_network_are_refused_by_name() -> None:
    state = dict(ResNet18().state_dict())
    del state["layer3.1.conv2.weight"]
    with pytest.raises(PolicyError, match=r"layer3\.1\.conv2\.weight"):
        ResNet18().load_torchvision(state)


def test_no_batch_norm_is_left() -> None:
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in ResNet18().modules())


def test_the_resnet_encodes_uint8_pictures() -> None:
    encoder = ImageEncoder("resnet18", (96, 128), frozen=False)
    images = torch.randint(0, 256, (2, 2, 96, 128, 3), dtype=torch.uint8)
    assert encoder(images).shape == (2, 2, encoder.feature_dim)


def test_spatial_softmax_finds_where_a_map_is_bright() -> None:
    layer = SpatialSoftmax(1, 1)
    with torch.no_grad():
        layer.maps.weight.fill_(1.0)
        layer.maps.bias.zero_()
    picture = torch.zeros(1, 1, 5, 9)
    picture[0, 0, 0, 8] = 50.0
    torch.testing.assert_close(layer(picture), torch.tensor([[1.0, -1.0]]))


def test_all_pictures_of_a_sample_share_their_crop_and_samples_differ() -> None:
    encoder = ImageEncoder("small_cnn", (40, 60), frozen=False)
    ramp = torch.arange(40 * 60).view(1, 1, 40, 60, 1).expand(6, 2, 40, 60, 3)
    crops = encoder._crop(ramp, torch.Generator().manual_seed(0))
    assert crops.shape == (6, 2, 36, 54, 3)
    assert torch.equal(crops[:, 0], crops[:, 1])
    corners = crops[:, 0, 0, 0, 0]
    assert len(set(corners.tolist())) > 1
    assert bool(((corners // 60 <= 4) & (corners % 60 <= 6)).all())
    assert int(encoder._crop(ramp, None)[0, 0, 0, 0, 0]) == 2 * 60 + 3
