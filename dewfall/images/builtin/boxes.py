"""Pictures with boxes: JSON annotations beside images, .rec files, or an augmented manifest's stream."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import pictures
from dewfall.images.builtin.channels import missing
from dewfall.images.builtin.pictures import Pictures
from dewfall.images.contract import UserError

Boxes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Annotated:
    """Pictures; boxes (n, 4): left, top, right, bottom as shares of the picture; classes (n,)."""

    pictures: Pictures
    boxes: list[Boxes]
    classes: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.pictures)


def read_annotated(name: str, classes: int) -> Annotated:
    """What channels `name` and `name`_annotation hold."""
    channels = contract.channels()
    if name not in channels:
        raise missing(name)
    if f"{name}_annotation" in channels:
        found = _read_files(channels[name].path, channels[f"{name}_annotation"].files())
    else:
        found = pictures.read_records(channels[name])
    rows = [_rows(label) for label in found.labels]
    marks = [row[:, 0].astype(np.int64) for row in rows]
    if any(((mark < 0) | (mark >= classes)).any() for mark in marks):
        raise UserError(f"A class_id of channel '{name}' is not from 0 to num_classes - 1, {classes - 1}.")
    return Annotated(found, [row[:, 1:5].clip(0, 1) for row in rows], marks)


def _read_files(folder: Path, files: list[Path]) -> Pictures:
    sources: list[bytes | Path] = []
    labels: list[Any] = []
    for path in files:
        if path.suffix != ".json":
            continue
        try:
            document = json.loads(path.read_text())
            image = folder / document["file"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"The annotation {path.name} must be a JSON object with file, image_size and annotations.") from None
        if not image.is_file():
            raise UserError(f"The image {document['file']} that annotation {path.name} names is not in the channel.")
        sources.append(image)
        labels.append(document)
    if not sources:
        raise UserError("No annotations found. Please verify the S3 location of the annotation channels.")
    return Pictures(sources, labels)


def _rows(label: Any) -> Boxes:
    """(n, 5) class, left, top, right, bottom, of an annotation's document, or of the numbers in a .rec header."""
    if isinstance(label, dict):
        try:
            size = label["image_size"][0]
            scale = np.array([1, size["width"], size["height"], size["width"], size["height"]], np.float32)
            names = ("class_id", "left", "top", "width", "height")
            found = np.array([[float(one[name]) for name in names] for one in label["annotations"]], np.float32).reshape(-1, 5)
            if not (scale > 0).all() or not np.isfinite(found).all():
                raise ValueError
        except (KeyError, TypeError, ValueError, IndexError):
            raise UserError("An annotation needs image_size (width, height) and annotations with class_id, left, top, width, height.") from None
        found[:, 3:] += found[:, 1:3]
        return found / scale
    try:
        numbers = np.asarray(label, np.float32).ravel()
    except (TypeError, ValueError):
        numbers = np.zeros(0, np.float32)
    if len(numbers) < 2 or not 2 <= numbers[0] <= len(numbers) or numbers[1] < 5:
        raise UserError("The label of an image record must be: length of the header, length of an object, …, then class_id, xmin, ymin, xmax, ymax.")
    head, width = int(numbers[0]), int(numbers[1])
    found = numbers[head : head + (len(numbers) - head) // width * width].reshape(-1, width)[:, :5]
    return found[found[:, 0] >= 0]
