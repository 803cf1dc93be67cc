"""Pictures with a mask of classes each: channels of files with label maps, or an augmented manifest's stream; and crops of both together."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import channels as inputs
from dewfall.images.builtin import pictures
from dewfall.images.contract import UserError

NOTHING = 255  # the class of pixels that do not count
SMALLEST, LARGEST = 0.5, 2.0
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scenes:
    """Pictures and their masks, either encoded or as paths; `table` maps a mask's values to classes."""

    images: list[bytes | Path]
    masks: list[bytes | Path]
    table: Pixels
    classes: int

    def __len__(self) -> int:
        return len(self.images)

    def pair(self, place: int) -> tuple[Pixels, Pixels]:
        """(picture (height, width, 3), classes (height, width)). UserError when sizes differ or a class is out of range."""
        picture, mask = pictures.opened(self.images[place], place), self.table[_plain(self.masks[place], place)]
        name = pictures.name_of(self.images[place], place)
        if mask.shape != picture.shape[:2]:
            raise UserError(f"The annotation of {name} has size {mask.shape}, the image {picture.shape[:2]}.")
        if ((mask >= self.classes) & (mask != NOTHING)).any():
            raise UserError(f"The annotation of {name} has labels that are not below num_classes, {self.classes}.")
        return picture, mask


def read_scenes(name: str, classes: int) -> Scenes:
    """What channels `name`, `name`_annotation and label_map hold."""
    channels = contract.channels()
    if name not in channels:
        raise inputs.missing(name)
    table = _table(name)
    if f"{name}_annotation" not in channels:
        found = pictures.read_records(channels[name])
        if not all(isinstance(label, bytes) for label in found.labels):
            raise UserError(f"Channel '{name}' needs channel '{name}_annotation', or a manifest's stream of images and annotation images.")
        return Scenes(found.sources, found.labels, table, classes)
    masks = {path.stem: path for path in channels[f"{name}_annotation"].files() if path.suffix.lower() == ".png"}
    images = [path for path in channels[name].files() if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    missing = [path.name for path in images if path.stem not in masks]
    if missing or not images:
        raise UserError(f"Channel '{name}' has no images." if not images else f"No annotation found for the image {missing[0]} of channel '{name}'.")
    return Scenes(list(images), [masks[path.stem] for path in images], table, classes)


def _table(name: str) -> Pixels:
    """From a mask's value to its class: as they are, divided by `scale`, or by `map`, which names the value of each class."""
    channels = contract.channels()
    places = [channels[place].path / f"{name}_label_map.json" for place in ("label_map",) if place in channels]
    places += [channels[place].path / "label_map.json" for place in (f"{name}_annotation",) if place in channels]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return np.arange(256, dtype=np.uint8)
    try:
        document = json.loads(path.read_text())
        if "map" in document:
            table = np.full(256, NOTHING, np.uint8)
            for label, value in document["map"].items():
                table[int(value)] = int(label)
            return table
        return np.floor(np.arange(256) / float(document["scale"])).astype(np.uint8)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise UserError(f"{path.name} must be a JSON object with 'scale' or 'map'.") from None


def _plain(source: bytes | Path, place: int) -> Pixels:
    """A mask's values, of an indexed or grey picture."""
    import io

    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(source if isinstance(source, bytes) else source.read_bytes()))
        return np.asarray(picture if picture.mode in ("P", "L") else picture.convert("L"), np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise UserError(f"The annotation {pictures.name_of(source, place)} is not a PNG image.") from None


def cropped(picture: Pixels, mask: Pixels, base: int, size: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """A square of both, at a random scale and place, perhaps mirrored; what lies outside counts for nothing."""
    from PIL import Image

    ratio = base * rng.uniform(SMALLEST, LARGEST) / max(mask.shape)
    shape = (max(1, round(mask.shape[1] * ratio)), max(1, round(mask.shape[0] * ratio)))
    seen: Any = np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.BILINEAR))
    known: Any = np.asarray(Image.fromarray(mask).resize(shape, Image.Resampling.NEAREST))
    lacks = [max(0, size - side) for side in known.shape]
    seen = np.pad(seen, ((0, lacks[0]), (0, lacks[1]), (0, 0)))
    known = np.pad(known, ((0, lacks[0]), (0, lacks[1])), constant_values=NOTHING)
    top, left = (int(rng.integers(0, side - size + 1)) for side in known.shape)
    seen, known = seen[top : top + size, left : left + size], known[top : top + size, left : left + size]
    return (seen[:, ::-1], known[:, ::-1]) if rng.random() < 0.5 else (seen, known)
