"""Pictures brought to the size of the network, and changed a little in training so that it sees more of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLORS = 36  # how far brightness moves, of 255
ANGLE, SHEAR = 10.0, 0.1
Pixels = NDArray[np.uint8]


def fit_to(picture: Any, shape: Sequence[int], resize: int | None) -> Any:
    """A PIL picture with its shorter side at `resize` where that is given, and no side shorter than the network's."""
    _, height, width = shape
    ratio = resize / min(picture.size) if resize else 1.0
    ratio = max(ratio, height / picture.size[1], width / picture.size[0])
    if ratio == 1:
        return picture
    return picture.resize((max(width, round(picture.size[0] * ratio)), max(height, round(picture.size[1] * ratio))))


def changed(pixels: Pixels, shape: Sequence[int], kind: str | None, rng: np.random.Generator) -> Pixels:
    """Cut to the network's size: from the middle, or as augmentation_type says from anywhere, mirrored, in other colours, turned."""
    _, height, width = shape
    if kind == "crop_color_transform":
        pixels = _turned(pixels, rng)
    top, left = pixels.shape[0] - height, pixels.shape[1] - width
    if not kind:
        return pixels[top // 2 : top // 2 + height, left // 2 : left // 2 + width]
    top, left = int(rng.integers(0, top + 1)), int(rng.integers(0, left + 1))
    found = pixels[top : top + height, left : left + width]
    found = found[:, ::-1] if rng.random() < 0.5 else found
    if kind == "crop":
        return found
    moved = found.astype(np.int16) + rng.integers(-COLORS, COLORS + 1, (1, 1, found.shape[2]))
    return moved.clip(0, 255).astype(np.uint8)


def _turned(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    from PIL import Image

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    shear = float(rng.uniform(-SHEAR, SHEAR))
    picture = picture.rotate(float(rng.uniform(-ANGLE, ANGLE)), Image.Resampling.BILINEAR)
    found = np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, (1, shear, -shear * picture.size[1] / 2, 0, 1, 0)), np.uint8)
    return found.reshape(pixels.shape)
