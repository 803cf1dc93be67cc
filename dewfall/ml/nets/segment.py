"""Segmentation: a class for every pixel, by FCN, PSP or DeepLabV3 on a residual network that stays fine (Long 2015, Zhao 2017, Chen 2017).

FCN and DeepLab name their weights as torchvision does (`backbone.*`, `classifier.*`).
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from dewfall.ml.nets.resnet import ResNet

ALGORITHMS = ("fcn", "psp", "deeplab")
RATES = (12, 24, 36)
BINS = (1, 2, 3, 6)


class Segmenter(nn.Module):
    """Pictures (n, 3, height, width) → scores (n, classes, height, width)."""

    def __init__(self, algorithm: str, depth: int, classes: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth, 1, dilated=True)
        self.backbone.fc = nn.Identity()
        width = self.backbone.width
        heads = {"fcn": fcn_head, "psp": psp_head, "deeplab": deeplab_head}
        self.classifier = heads[algorithm](width, classes)

    def forward(self, pictures: Any) -> Any:
        scores = self.classifier(self.backbone.features(pictures)[-1])
        return interpolate(scores, size=pictures.shape[-2:], mode="bilinear", align_corners=False)


def fcn_head(width: int, classes: int) -> Any:
    inner = width // 4
    return nn.Sequential(*_layer(width, inner, 3), nn.Dropout(0.1), nn.Conv2d(inner, classes, 1))


def deeplab_head(width: int, classes: int) -> Any:
    return nn.Sequential(Pyramid(width), *_layer(256, 256, 3), nn.Conv2d(256, classes, 1))


def psp_head(width: int, classes: int) -> Any:
    return nn.Sequential(Pools(width), *_layer(2 * width, width // 4, 3), nn.Dropout(0.1), nn.Conv2d(width // 4, classes, 1))


def _layer(inside: int, outside: int, size: int, dilation: int = 1) -> list[Any]:
    padding = dilation * (size // 2)
    return [nn.Conv2d(inside, outside, size, padding=padding, dilation=dilation, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]


class Pyramid(nn.Module):
    """DeepLab's: the same map seen through holes of several sizes, and as a whole."""

    def __init__(self, width: int) -> None:
        super().__init__()
        holes = [nn.Sequential(*_layer(width, 256, 3, rate)) for rate in RATES]
        whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_layer(width, 256, 1)[::2])
        self.convs = nn.ModuleList([nn.Sequential(*_layer(width, 256, 1)), *holes, whole])
        self.project = nn.Sequential(*_layer(5 * 256, 256, 1), nn.Dropout(0.5))

    def forward(self, seen: Any) -> Any:
        parts = [convolution(seen) for convolution in self.convs]
        parts[-1] = parts[-1].expand(-1, -1, *seen.shape[-2:])
        return self.project(torch.cat(parts, dim=1))


class Pools(nn.Module):
    """PSP's: means over 1, 2, 3 and 6 parts a side, beside the map itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width // 4, 1, bias=False), nn.ReLU()) for _ in BINS)

    def forward(self, seen: Any) -> Any:
        size = seen.shape[-2:]
        pooled = [layer(nn.functional.adaptive_avg_pool2d(seen, bins)) for layer, bins in zip(self.layers, BINS, strict=True)]
        return torch.cat([seen, *(interpolate(part, size=size, mode="bilinear", align_corners=False) for part in pooled)], dim=1)


def confusion(truth: Any, guess: Any, classes: int) -> Any:
    """(classes, classes) counts of pixels by true and guessed class; pixels of no class are left out.

    >>> confusion(torch.tensor([0, 1, 255]), torch.tensor([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 0]]
    """
    known = truth < classes
    return torch.bincount(truth[known] * classes + guess[known], minlength=classes**2).reshape(classes, classes)


def scores(table: Any) -> tuple[float, float]:
    """(mean intersection over union of the classes that occur, share of right pixels) of a confusion table.

    >>> scores(torch.tensor([[1, 0], [1, 0]]))
    (0.25, 0.5)
    """
    right = table.diagonal().double()
    union = table.sum(0) + table.sum(1) - right
    there = union > 0
    return float((right[there] / union[there]).mean()), float(right.sum() / table.sum().clamp(min=1))
