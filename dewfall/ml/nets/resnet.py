"""Residual networks under torchvision's names of weights, so that checkpoints go both ways (He et al. 2015).

Depths 18 … 200 are for pictures as in ImageNet, 20 … 110 for small ones: three stages of 16, 32 and 64 channels.
"""

from typing import Any

import torch
from torch import nn

BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
SMALL = (20, 32, 44, 56, 110)


class Basic(nn.Module):
    """Two 3 × 3 convolutions, added to what came in."""

    expansion = 1

    def __init__(self, inside: int, width: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(inside, width, stride)

    def forward(self, seen: Any) -> Any:
        found = torch.relu(self.bn1(self.conv1(seen)))
        found = self.bn2(self.conv2(found))
        return torch.relu(found + (seen if self.downsample is None else self.downsample(seen)))


class Bottleneck(nn.Module):
    """1 × 1 to fewer channels, 3 × 3, 1 × 1 to four times as many."""

    expansion = 4

    def __init__(self, inside: int, width: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _downsample(inside, 4 * width, stride)

    def forward(self, seen: Any) -> Any:
        found = torch.relu(self.bn1(self.conv1(seen)))
        found = torch.relu(self.bn2(self.conv2(found)))
        found = self.bn3(self.conv3(found))
        return torch.relu(found + (seen if self.downsample is None else self.downsample(seen)))


def _downsample(inside: int, outside: int, stride: int) -> Any:
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))


class ResNet(nn.Module):
    """Pictures (n, channels, height, width) → scores (n, classes); `dilated` keeps the last two stages as fine as the second."""

    def __init__(self, depth: int, classes: int, *, channels: int = 3, dilated: bool = False) -> None:
        super().__init__()
        self.is_small = depth in SMALL
        block: Any = Bottleneck if depth in BOTTLENECK else Basic
        counts = ((depth - 2) // 6,) * 3 if self.is_small else BASIC.get(depth) or BOTTLENECK[depth]
        first = 16 if self.is_small else 64
        size, stride, padding = (3, 1, 1) if self.is_small else (7, 2, 3)
        self.conv1 = nn.Conv2d(channels, first, size, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.stages = [f"layer{place + 1}" for place in range(len(counts))]
        inside, dilation = first, 1
        for place, (name, count) in enumerate(zip(self.stages, counts, strict=True)):
            steps = 1 if place == 0 else 2
            before = dilation
            if dilated and place >= 2:
                steps, dilation = 1, dilation * 2
            width = first * 2**place
            blocks = [block(inside, width, steps, before), *(block(width * block.expansion, width, 1, dilation) for _ in range(count - 1))]
            self.add_module(name, nn.Sequential(*blocks))
            inside = width * block.expansion
        self.width = inside
        self.fc = nn.Linear(inside, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def features(self, pictures: Any) -> list[Any]:
        """What each stage gives."""
        seen = torch.relu(self.bn1(self.conv1(pictures)))
        if not self.is_small:
            seen = nn.functional.max_pool2d(seen, 3, 2, 1)
        found = []
        for name in self.stages:
            seen = getattr(self, name)(seen)
            found.append(seen)
        return found

    def forward(self, pictures: Any) -> Any:
        return self.fc(self.features(pictures)[-1].mean((2, 3)))


def load_matching(network: Any, weights: dict[str, Any], *, without: tuple[str, ...] = ()) -> int:
    """Take over the weights whose names and shapes match, but those that begin with one of `without`; returns how many were taken."""
    own = network.state_dict()
    fits = [name for name, value in weights.items() if name in own and own[name].shape == value.shape]
    taken = {name: weights[name] for name in fits if not (without and name.startswith(without))}
    network.load_state_dict(own | taken)
    return len(taken)
