"""Colours for a picture's Shapley values: blue where a patch speaks for the prediction, red where it speaks against it.

Why here: which pixel gets which colour is arithmetic and can be tested without looking; writing files is others' work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.ml.superpixels import borders

Pixels = NDArray[np.uint8]
FOR, AGAINST = np.array([8.0, 69.0, 160.0]), np.array([178.0, 24.0, 43.0])
LINE = np.array([255, 210, 0], np.uint8)
FAINT, STRONG = 0.35, 0.85  # share of the grey picture that shines through, and of the colour at the largest value


def heatmap(image: Any, segments: Any, values: Any, *, largest: float | None = None) -> Pixels:
    """The picture (h, w, 3) in faint grey under its patches' colours, as strong as |value| / largest.

    image: (h, w, 3) bytes. segments: (h, w) numbers of patches. values: (p,) one per patch. largest: the value of the strongest colour, default
    the largest |value|. Raises ValueError naming the argument.

    >>> blue, red = heatmap(np.full((1, 2, 3), 255, np.uint8), [[0, 1]], [2.0, -2.0])[0].astype(int)
    >>> bool(blue[2] > blue[0]), bool(red[0] > red[2])
    (True, True)
    """
    picture, labels, held = np.asarray(image), np.asarray(segments), np.asarray(values, dtype=np.float64)
    if picture.shape[:2] != labels.shape or picture.shape[2:] != (3,):
        raise ValueError(f"image: expected shape {(*labels.shape, 3)}, got {picture.shape}")
    if held.ndim != 1 or not np.isfinite(held).all() or (labels.size and labels.max() >= len(held)):
        raise ValueError("values: expected a finite number for every segment")
    strength = held / (largest or np.abs(held).max() or 1.0)
    share = np.clip(np.abs(strength), 0, 1)[labels][..., None] * STRONG
    colour = np.where(strength[labels][..., None] >= 0, FOR, AGAINST)
    grey = 255 - (255 - picture.astype(np.float64).mean(axis=2, keepdims=True)) * FAINT
    return np.asarray((grey * (1 - share) + colour * share).round().astype(np.uint8))


def outlined(image: Any, segments: Any) -> Pixels:
    """The picture (h, w, 3) with the borders of its patches (h, w) drawn in yellow.

    >>> outlined(np.zeros((1, 3, 3), np.uint8), np.array([[0, 0, 1]]))[0].tolist()
    [[0, 0, 0], [255, 210, 0], [0, 0, 0]]
    """
    return np.where(borders(np.asarray(segments))[..., None], LINE, np.asarray(image)).astype(np.uint8)


def scale(height: int) -> Pixels:
    """The colours (height, 1, 3) from the largest positive value above to the largest negative one below.

    >>> scale(3)[1, 0].tolist()
    [255, 255, 255]
    """
    column = np.arange(height)[:, None]
    return heatmap(np.full((height, 1, 3), 255, np.uint8), column, np.linspace(1.0, -1.0, height))
