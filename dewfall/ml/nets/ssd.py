"""SSD: boxes and their classes read off feature maps of several sizes in one pass (Liu et al. 2016).

picture → base network → maps of 1/8 or 1/16, 1/32 … the size → at each place a few prior boxes: class scores, offsets
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dewfall.ml.nets.resnet import ResNet

VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # channels; 0 is a pool
CONV4_3 = 23  # layers of `features` up to conv4_3's ReLU
SCALES = (0.1, 0.2, 0.375, 0.55, 0.725, 0.9, 1.05)
RATIOS = ((2.0,), (2.0, 3.0), (2.0, 3.0), (2.0, 3.0), (2.0,), (2.0,))
VARIANCES = (0.1, 0.2)
MATCH, NEGATIVES = 0.5, 3
FEWEST, MOST = 0.01, 400


class Detector(nn.Module):
    """Pictures (n, 3, size, size) → class scores (n, priors, classes + 1), the first one for nothing, and offsets (n, priors, 4)."""

    def __init__(self, base: str, classes: int) -> None:
        super().__init__()
        self.classes = classes
        if base == "vgg-16":
            self.features, widths = vgg_features(), [512, 1024]
            wide = [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()]
            self.after = nn.Sequential(nn.MaxPool2d(3, 1, 1), *wide)
        else:
            self.backbone = ResNet(int(base.removeprefix("resnet-")), 1)
            self.backbone.fc = nn.Identity()
            widths = [self.backbone.width // 2, self.backbone.width]
        self.extras = nn.ModuleList()
        inside = widths[-1]
        for outside in (512, 256, 256, 256):
            half = outside // 2
            parts = [nn.Conv2d(inside, half, 1), nn.BatchNorm2d(half), nn.ReLU()]
            parts += [nn.Conv2d(half, outside, 3, 2, 1), nn.BatchNorm2d(outside), nn.ReLU()]
            self.extras.append(nn.Sequential(*parts))
            widths.append(outside)
            inside = outside
        self.counts = [2 + 2 * len(ratios) for ratios in RATIOS]
        self.scores = nn.ModuleList(nn.Conv2d(width, count * (classes + 1), 3, 1, 1) for width, count in zip(widths, self.counts, strict=True))
        self.offsets = nn.ModuleList(nn.Conv2d(width, count * 4, 3, 1, 1) for width, count in zip(widths, self.counts, strict=True))

    def maps(self, pictures: Any) -> list[Any]:
        """The six feature maps, from fine to coarse."""
        if hasattr(self, "backbone"):
            found = self.backbone.features(pictures)[-2:]
        else:
            fine = self.features[:CONV4_3](pictures)
            found = [nn.functional.normalize(fine, dim=1) * 20, self.after(self.features[CONV4_3:](fine))]
        for extra in self.extras:
            found.append(extra(found[-1]))
        return found

    def forward(self, pictures: Any) -> tuple[Any, Any, Any]:
        """(scores, offsets, priors (priors, 4) as centre and size in shares of the picture)."""
        maps = self.maps(pictures)
        found = [(self.scores, self.classes + 1), (self.offsets, 4)]
        scores, offsets = (
            torch.cat([layer(seen).permute(0, 2, 3, 1).reshape(len(pictures), -1, width) for layer, seen in zip(layers, maps, strict=True)], dim=1)
            for layers, width in found
        )
        return scores, offsets, priors([tuple(seen.shape[-2:]) for seen in maps])


def vgg_features() -> Any:
    """VGG-16's convolutions, numbered as in torchvision, without the last pool."""
    layers: list[Any] = []
    inside = 3
    for width in VGG:
        layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2, 2, ceil_mode=True)]
        inside = width or inside
    return nn.Sequential(*layers)


def priors(shapes: Sequence[tuple[int, ...]]) -> Any:
    """(count, 4) centres and sizes: at each place a square, a larger one, and the ratios' boxes lying and standing."""
    boxes = []
    for level, (rows, columns) in enumerate(shapes):
        small, next_one = SCALES[level], SCALES[level + 1]
        sizes = [(small, small), (math.sqrt(small * next_one),) * 2]
        for ratio in RATIOS[level]:
            root = math.sqrt(ratio)
            sizes += [(small * root, small / root), (small / root, small * root)]
        y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
        centers = torch.stack([x, y], dim=2).reshape(-1, 1, 2).expand(-1, len(sizes), 2)
        boxes.append(torch.cat([centers, torch.tensor(sizes).expand(rows * columns, -1, 2)], dim=2).reshape(-1, 4))
    return torch.cat(boxes)


def corners(boxes: Any) -> Any:
    """Centre and size → (left, top, right, bottom)."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], dim=-1)


def overlaps(first: Any, second: Any) -> Any:
    """(n, m) intersection over union of boxes given by corners.

    >>> overlaps(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 0.5]])).tolist()
    [[0.5]]
    """
    inner = (torch.minimum(first[:, None, 2:], second[None, :, 2:]) - torch.maximum(first[:, None, :2], second[None, :, :2])).clamp(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return inner / (areas[0][:, None] + areas[1][None] - inner).clamp(min=1e-9)


def matched(given: Any, truth: Any, labels: Any) -> tuple[Any, Any]:
    """(class of each prior, 0 for nothing; offsets to its true box (priors, 4)); each true box has its best prior, and those that overlap it well."""
    if not len(truth):
        return torch.zeros(len(given), dtype=torch.long), torch.zeros(len(given), 4)
    shares = overlaps(corners(given), truth)
    best, which = shares.max(1)
    own = shares.argmax(0)
    best[own], which[own] = 2.0, torch.arange(len(truth))
    target = truth[which]
    center, size = (target[:, :2] + target[:, 2:]) / 2, (target[:, 2:] - target[:, :2]).clamp(min=1e-6)
    offsets = torch.cat([(center - given[:, :2]) / given[:, 2:] / VARIANCES[0], torch.log(size / given[:, 2:]) / VARIANCES[1]], dim=1)
    return torch.where(best > MATCH, labels[which] + 1, torch.zeros(())).long(), offsets


def losses(found: tuple[Any, Any, Any], truths: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """(cross entropy, smooth L1) per matched prior; of the priors for nothing only the three times as many that are hardest count."""
    scores, offsets, given = found
    made = [matched(given, boxes, labels) for boxes, labels in truths]
    classes, wanted = torch.stack([one for one, _ in made]), torch.stack([one for _, one in made])
    there = classes > 0
    count = there.sum().clamp(min=1)
    entropy = nn.functional.cross_entropy(scores.flatten(0, 1), classes.flatten(), reduction="none").reshape(classes.shape)
    hardness = entropy.detach().masked_fill(there, -1)
    rank = hardness.argsort(1, descending=True).argsort(1)
    kept = there | (rank < (NEGATIVES * there.sum(1, keepdim=True)).clamp(min=NEGATIVES))
    return (entropy * kept).sum() / count, nn.functional.smooth_l1_loss(offsets[there], wanted[there], reduction="sum") / count


def detections(scores: Any, offsets: Any, given: Any, threshold: float) -> list[list[float]]:
    """[class, score, left, top, right, bottom] of one picture, the surest first; boxes of a class overlap by at most `threshold`."""
    center = given[:, :2] + offsets[:, :2] * VARIANCES[0] * given[:, 2:]
    boxes = corners(torch.cat([center, given[:, 2:] * torch.exp((offsets[:, 2:] * VARIANCES[1]).clamp(max=4))], dim=1)).clamp(0, 1)
    sure, classes = torch.softmax(scores, dim=1)[:, 1:].max(1)
    order = sure.argsort(descending=True)[:MOST]
    order = order[sure[order] > FEWEST]
    shares = overlaps(boxes[order], boxes[order])
    same = classes[order][:, None] == classes[order][None]
    kept: list[int] = []
    for place in range(len(order)):
        if not any(same[place, other] and shares[place, other] > threshold for other in kept):
            kept.append(place)
    return [[float(classes[order[place]]), float(sure[order[place]]), *boxes[order[place]].tolist()] for place in kept]


def mean_precision(found: Sequence[Sequence[Sequence[float]]], truths: Sequence[tuple[Any, Any]], classes: int, overlap: float) -> float:
    """Mean over the classes that occur of the area under precision by recall; a detection is right when it overlaps a free true box enough."""
    areas = []
    for kind in range(classes):
        total = sum(int((labels == kind).sum()) for _, labels in truths)
        if total:
            areas.append(_precision(found, truths, kind, overlap, total))
    return sum(areas) / max(len(areas), 1)


def _precision(found: Sequence[Sequence[Sequence[float]]], truths: Sequence[tuple[Any, Any]], kind: int, overlap: float, total: int) -> float:
    listed = sorted(((row[1], place, row[2:]) for place, rows in enumerate(found) for row in rows if int(row[0]) == kind), key=lambda one: -one[0])
    taken: set[tuple[int, int]] = set()
    right: list[bool] = []
    for _, place, box in listed:
        boxes, labels = truths[place]
        wanted = torch.nonzero(labels == kind).flatten().tolist()
        shares = overlaps(torch.tensor([box]), boxes[wanted])[0].tolist() if wanted else []
        best = max(range(len(wanted)), key=lambda one: shares[one], default=-1)
        hit = best >= 0 and shares[best] >= overlap and (place, wanted[best]) not in taken
        taken |= {(place, wanted[best])} if hit else set()
        right.append(hit)
    hits = torch.tensor(right, dtype=torch.float).cumsum(0)
    if not len(hits):
        return 0.0
    precision = hits / torch.arange(1, len(hits) + 1)
    precision = precision.flip(0).cummax(0).values.flip(0)
    return float((precision * torch.tensor(right, dtype=torch.float)).sum() / total)
