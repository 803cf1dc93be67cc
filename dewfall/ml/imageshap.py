"""Which patches of a picture moved a prediction: Kernel SHAP whose players are superpixels that a baseline picture replaces.

What is explained may be a class's score, or a detected object's: the best score of the same class whose box still lies on the object's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.explain import Explanation, kernel_shap

AT_ONCE = 24_000_000  # numbers of the pictures that exist at a time
Pictures = NDArray[np.uint8]
Predict = Callable[[Pictures], Any]
Numbers = NDArray[np.float64]
SCORE, BOX = 1, slice(2, 6)  # of a detection: class, score, xmin, ymin, xmax, ymax


def superpixel_shap(
    predict: Predict,
    image: Any,
    baseline: Any,
    segments: Any,
    *,
    players: Any = None,
    num_samples: int | None = None,
    use_logit: bool = False,
    seed: int = 0,
) -> Explanation:
    """Shapley values (1, p, k) of a picture's patches, so that expected (k,) + values.sum(axis=1) = predictions (1, k).

    predict: (m, h, w, 3) pictures → (m,) or (m, k) finite numbers. image, baseline: (h, w, 3) bytes. segments: (h, w) from 0. players: (p,)
    numbers of the segments that take part, default all; the others are the baseline's always, and `predictions` is of such a picture.
    num_samples, use_logit, seed: as kernel_shap. Raises ValueError naming the argument.

    >>> white, black, halves = np.full((2, 2, 3), 200, np.uint8), np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [0, 1]])
    >>> found = superpixel_shap(lambda many: many[:, :, 0].mean(axis=(1, 2)), white, black, halves)
    >>> found.values[0, :, 0].round(9).tolist(), found.expected.tolist(), found.predictions.tolist()
    ([200.0, 0.0], [0.0], [[200.0]])
    """
    picture, mask, labels = _checked(image, baseline, segments)
    taking = np.arange(labels.max() + 1) if players is None else np.asarray(players, dtype=np.int64)
    if taking.ndim != 1 or not taking.size:
        raise ValueError("players: at least one segment is needed")
    place = np.full(labels.max() + 2, len(taking))
    place[taking] = np.arange(len(taking))
    where = place[labels]  # of each pixel its player, or the one that is always out

    def asked(rows: NDArray[Any]) -> Numbers:
        stays = np.concatenate([rows > 0.5, np.zeros((len(rows), 1), dtype=bool)], axis=1)
        size = max(1, AT_ONCE // picture.size)
        parts = [stays[start : start + size][:, where] for start in range(0, len(rows), size)]
        answers = [np.asarray(predict(np.where(part[..., None], picture, mask)), dtype=np.float64) for part in parts]
        if any(len(answer) != len(part) for answer, part in zip(answers, parts, strict=True)):
            raise ValueError("predict: returned another number of predictions than it was given pictures")
        return np.concatenate([answer.reshape(len(answer), -1) for answer in answers])

    everyone, nobody = np.ones((1, len(taking))), np.zeros((1, len(taking)))
    return kernel_shap(asked, everyone, nobody, num_samples=num_samples, use_logit=use_logit, seed=seed)


def overlap(box: Any, boxes: Any) -> Numbers:
    """Intersection over union (n,) in [0, 1] of a box (4,) with boxes (n, 4), each xmin, ymin, xmax, ymax.

    >>> overlap([0, 0, 1, 1], [[0, 0, 1, 1], [0.5, 0, 1.5, 1], [2, 2, 3, 3]]).round(4).tolist()
    [1.0, 0.3333, 0.0]
    """
    one, many = np.asarray(box, dtype=np.float64), np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    sides = np.clip(np.minimum(one[2:], many[:, 2:]) - np.maximum(one[:2], many[:, :2]), 0, None)
    shared = sides.prod(axis=1)
    areas = np.clip(many[:, 2:] - many[:, :2], 0, None).prod(axis=1)
    whole = np.clip(one[2:] - one[:2], 0, None).prod() + areas - shared
    return np.asarray(np.divide(shared, whole, out=np.zeros(len(many)), where=whole > 0))


def object_score(found: Any, detections: Any, iou_threshold: float = 0.5) -> float:
    """How sure a model still is of an object: the best score of its class where the boxes overlap by at least iou_threshold, else 0.

    found: (6,) the object as class, score, xmin, ymin, xmax, ymax. detections: (n, 6) what the model finds now.

    >>> object_score([1, 0.9, 0, 0, 1, 1], [[1, 0.7, 0, 0, 1, 0.9], [1, 0.8, 0.9, 0.9, 1, 1], [2, 0.95, 0, 0, 1, 1]])
    0.7
    """
    one, many = np.asarray(found, dtype=np.float64), np.asarray(detections, dtype=np.float64).reshape(-1, 6)
    same = many[(many[:, 0] == one[0]) & (overlap(one[BOX], many[:, BOX]) >= iou_threshold)]
    return float(same[:, SCORE].max()) if len(same) else 0.0


def within(segments: Any, box: Any, context: float = 1.0) -> NDArray[np.int64]:
    """The segments that touch a box (4,) of fractions after each of its sides moved by `context`, 0 to 1, of its way to the picture's edge.

    Raises ValueError (context).

    >>> within(np.array([[0, 1, 2, 3]]), [0.25, 0, 0.5, 1], 0.0).tolist(), within(np.array([[0, 1, 2, 3]]), [0.25, 0, 0.5, 1], 1.0).tolist()
    ([1], [0, 1, 2, 3])
    """
    if not 0 <= context <= 1:
        raise ValueError("context: must be between 0 and 1")
    labels = np.asarray(segments)
    height, width = labels.shape
    left, top, right, bottom = np.clip(np.asarray(box, dtype=np.float64), 0, 1).tolist()
    left, top = left * (1 - context), top * (1 - context)
    right, bottom = right + (1 - right) * context, bottom + (1 - bottom) * context
    return np.unique(labels[_pixels(top, bottom, height), _pixels(left, right, width)]).astype(np.int64)


def _pixels(begin: float, end: float, size: int) -> slice:
    """The pixels that a stretch of fractions touches, at least one."""
    first = min(int(begin * size), size - 1)
    return slice(first, max(first + 1, math.ceil(end * size)))


def _checked(image: Any, baseline: Any, segments: Any) -> tuple[Pictures, Pictures, NDArray[np.int64]]:
    picture, mask, labels = np.asarray(image), np.asarray(baseline), np.asarray(segments)
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"image: expected height × width × 3, got shape {picture.shape}")
    if mask.shape != picture.shape:
        raise ValueError(f"baseline: expected shape {picture.shape}, got {mask.shape}")
    if labels.shape != picture.shape[:2] or labels.min() < 0:
        raise ValueError(f"segments: expected numbers from 0 of shape {picture.shape[:2]}, got shape {labels.shape}")
    return picture, mask, labels.astype(np.int64)
