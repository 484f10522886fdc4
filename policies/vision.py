"""Image encoders, one per camera: ResNet-18 with GroupNorm, and a small network for CPUs.

Both end in spatial softmax key points (Levine et al., 2016; Chi et al., 2023): where things are is what counts.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from policies.errors import PolicyError
from policies.shares import WHOLE, Share

VisionKind = Literal["resnet18", "small_cnn"]
KEYPOINTS = 32
CROP = 0.9
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al., 2016); the norms are GroupNorms with torchvision's names."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = _norm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + shortcut)


class ResNet18(nn.Module):
    """The convolutional part of ResNet-18; parameter names are torchvision's, BatchNorm is GroupNorm."""

    channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = _norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 512, h / 32, w / 32) for (N, 3, h, w)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        y: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return y

    def load_torchvision(self, state: Mapping[str, Tensor]) -> None:
        """Load a torchvision ResNet-18 state dict; the classifier and BatchNorm's running statistics are left out.

        Raises PolicyError if a weight is missing or of another shape.
        """
        own = self.state_dict()
        for name, value in own.items():
            if name not in state or state[name].shape != value.shape:
                raise PolicyError(f"ResNet-18 weights: {name} of shape {tuple(value.shape)} is missing.")
        self.load_state_dict({name: state[name] for name in own})


class SmallCnn(nn.Sequential):
    """Four strided convolutions, for training on a CPU."""

    channels = 64

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 5, 2, 2),
            nn.GroupNorm(4, 16),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.GroupNorm(8, 32),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.GroupNorm(8, 64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, 1, 1),
            nn.GroupNorm(8, 64),
            nn.ReLU(inplace=True),
        )


class SpatialSoftmax(nn.Module):
    """Channels mapped to key points: the expected image position, in [-1, 1], under each map's softmax."""

    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, keypoints, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 2 * keypoints), horizontal then vertical, for (N, channels, h, w)."""
        maps = self.maps(x)
        height, width = maps.shape[-2:]
        attention = maps.flatten(2).softmax(-1).unflatten(2, (height, width))
        across = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype)
        down = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)
        return torch.cat([attention.sum(2) @ across, attention.sum(3) @ down], dim=-1)


class ImageEncoder(nn.Module):
    """One camera's encoder: uint8 pictures (B, To, h, w, 3) in, features (B, To, feature_dim) out.

    Frozen, its convolutions stay as they are loaded, and only where key points are looked for is learned.
    """

    feature_dim = 2 * KEYPOINTS
    mean: Tensor
    std: Tensor

    def __init__(self, kind: VisionKind, size: tuple[int, int], frozen: bool) -> None:
        super().__init__()
        self.size = size
        self.crop_size = (round(size[0] * CROP), round(size[1] * CROP))
        self.trunk = ResNet18() if kind == "resnet18" else SmallCnn()
        self.keypoints = SpatialSoftmax(self.trunk.channels, KEYPOINTS)
        self.register_buffer("mean", 255 * torch.tensor(_IMAGENET_MEAN, device="cpu")[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(_IMAGENET_STD, device="cpu")[:, None, None], persistent=False)
        if frozen:
            self.trunk.requires_grad_(False)

    def forward(self, images: Tensor, generator: torch.Generator | None = None, share: Share = WHOLE) -> Tensor:
        """Encode the random crops drawn from `generator` (training), or the central ones without it (acting)."""
        batch, steps, height, width, _ = images.shape
        if (height, width) != self.size:
            raise PolicyError(f"images are {height}x{width} but the policy was made for {self.size[0]}x{self.size[1]}.")
        cropped = self._crop(images, generator, share).flatten(0, 1).permute(0, 3, 1, 2)
        normalised = (cropped.to(self.mean.dtype) - self.mean) / self.std
        features: Tensor = self.keypoints(self.trunk(normalised))
        return features.view(batch, steps, -1)

    def _crop(self, images: Tensor, generator: torch.Generator | None, share: Share = WHOLE) -> Tensor:
        """Return (B, To, crop h, crop w, 3); all pictures of a sample share their crop."""
        spare_h, spare_w = self.size[0] - self.crop_size[0], self.size[1] - self.crop_size[1]
        if generator is None:
            top, left = spare_h // 2, spare_w // 2
            return images[:, :, top : top + self.crop_size[0], left : left + self.crop_size[1]]
        batch = images.shape[0]
        draws = torch.rand((2, share.count * batch, 1), generator=generator, device=generator.device)
        draw = share.of(draws, dim=1).to(images.device)
        tops, lefts = (draw[0] * (spare_h + 1)).long(), (draw[1] * (spare_w + 1)).long()
        rows = tops + torch.arange(self.crop_size[0], device=images.device)
        columns = lefts + torch.arange(self.crop_size[1], device=images.device)
        sample = torch.arange(batch, device=images.device)[:, None, None]
        return images.transpose(0, 1)[:, sample, rows[:, :, None], columns[:, None, :]].transpose(0, 1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // 16, channels)
