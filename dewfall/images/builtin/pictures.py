"""Pictures of a channel with their labels: files with a list, MXNet's RecordIO, or an augmented manifest's stream; decoded when asked for.

.rec             frame: header (flag, label, id, id2), labels when flag > 0, then the encoded picture
manifest stream  frame: the encoded picture, frame: its label as text, …
"""

import io
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.contract import Channel, UserError
from dewfall.images.recordio import RecordError, frames

HEADER = struct.Struct("<IfQQ")
X_IMAGE = "application/x-image"
TYPES = (X_IMAGE, "image/png", "image/jpeg")
STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"RIFF")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
CACHE = 512 << 20
Pixels = NDArray[np.uint8]


@dataclass(slots=True)
class Pictures:
    """Encoded pictures or their paths, and a label each: numbers, or what a manifest says."""

    sources: list[bytes | Path]
    labels: list[Any]
    kept: dict[int, Pixels] = field(default_factory=dict)
    size: int = 0

    def __len__(self) -> int:
        return len(self.sources)

    def pixels(self, place: int, channels: int = 3, fit: Callable[[Any], Any] | None = None) -> Pixels:
        """(height, width, channels) of a picture, after `fit` where it is given; kept in memory while there is room. UserError: see `opened`."""
        found = self.kept.get(place)
        if found is None:
            found = opened(self.sources[place], place, channels, fit)
            if self.size + found.nbytes <= CACHE:
                self.kept[place] = found
                self.size += found.nbytes
        return found


def opened(source: bytes | Path, place: int, channels: int = 3, fit: Callable[[Any], Any] | None = None) -> Pixels:
    """A picture of the training data. UserError names the one that cannot be decoded."""
    try:
        return decode(source if isinstance(source, bytes) else source.read_bytes(), channels, fit)
    except ValueError as error:
        raise UserError(f"{error}: {name_of(source, place)}. Please replace it, or remove it from the training data.") from None


def name_of(source: bytes | Path, place: int) -> str:
    """What a message calls a picture."""
    return f"record {place + 1} of its channel" if isinstance(source, bytes) else f"{source.name} of channel '{source.parent.name}'"


def decode(body: bytes, channels: int = 3, fit: Callable[[Any], Any] | None = None) -> Pixels:
    """ValueError when the bytes are no picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(body)).convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("Unable to decode the image: it is neither JPEG nor PNG") from None
    found = np.asarray(picture if fit is None else fit(picture), np.uint8)
    return found[:, :, None] if found.ndim == 2 else found


def read_frames(channel: Channel) -> Iterable[memoryview]:
    """Every RecordIO frame of a channel. UserError when the files are not RecordIO."""
    try:
        for body in channel.bodies():
            yield from frames(body)
    except RecordError as error:
        raise UserError(f"Unable to read channel '{channel.name}' as RecordIO: {error}")


def read_records(channel: Channel) -> Pictures:
    """Of a .rec file or a manifest's stream."""
    sources: list[bytes | Path] = []
    labels: list[Any] = []
    waiting: bytes | None = None
    for frame in read_frames(channel):
        body = bytes(frame)
        if waiting is not None:
            sources.append(waiting)
            labels.append(_said(body))
            waiting = None
        elif body.startswith(STARTS):
            waiting = body
        else:
            label, picture = unpack(body)
            sources.append(picture)
            labels.append(label)
    if not sources:
        raise UserError(f"No images found in channel '{channel.name}'. Please verify the S3 location of the channel.")
    return Pictures(sources, labels)


def unpack(body: bytes) -> tuple[Any, bytes]:
    """(label or labels, encoded picture) of a .rec frame."""
    if len(body) < HEADER.size:
        raise UserError("A record is shorter than the header of an image record.")
    flag, label, _, _ = HEADER.unpack_from(body)
    if not flag:
        return label, body[HEADER.size :]
    end = HEADER.size + 4 * flag
    return np.frombuffer(body[HEADER.size : end], "<f4").tolist(), body[end:]


def pack(label: float | Sequence[float], picture: bytes, number: int = 0) -> bytes:
    """The payload of a .rec frame, as unpack reads it."""
    if isinstance(label, (int, float)):
        return HEADER.pack(0, label, number, 0) + picture
    return HEADER.pack(len(label), 0.0, number, 0) + np.asarray(label, "<f4").tobytes() + picture


def _said(body: bytes) -> Any:
    """A manifest's label: JSON, else the text, else bytes (an annotation image)."""
    if body.startswith(STARTS):
        return body
    found: Any = body.decode("utf-8", "replace")
    for _ in range(2):  # JSON may be a text in JSON
        try:
            found = json.loads(found) if isinstance(found, str) else found
        except ValueError:
            break
    return found


def read_list(images: Channel, listed: Channel) -> Pictures:
    """Files of `images` that the .lst file of the other channel names: index, labels, relative path, separated by tabs."""
    sources: list[bytes | Path] = []
    labels: list[Any] = []
    for path in listed.files():
        if path.suffix != ".lst":
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            cells = line.split("\t")
            if not line.strip():
                continue
            file = images.path / cells[-1].strip()
            try:
                numbers = [float(cell) for cell in cells[1:-1]]
            except ValueError:
                numbers = []
            if not numbers or not file.is_file():
                message = f"Line {number} of {path.name} must have an index, a label and the path of an image in channel '{images.name}',"
                raise UserError(f"{message} separated by tabs, the label a number; it is {line[:100]!r}.")
            sources.append(file)
            labels.append(numbers[0] if len(numbers) == 1 else numbers)
    if not sources:
        raise UserError(f"Channel '{listed.name}' has no .lst file that names images.")
    return Pictures(sources, labels)


def is_files(channel: Channel) -> bool:
    """The channel holds single pictures rather than RecordIO."""
    kind = channel.content_type.partition(";")[0].strip().lower()
    return kind in TYPES or (not kind and any(path.suffix.lower() in (".jpg", ".jpeg", ".png") for path in channel.files()))


def normalized(pixels: Sequence[Pixels]) -> NDArray[np.float32]:
    """(n, channels, height, width) around zero."""
    stack = np.stack(pixels).astype(np.float32) / 255
    scaled = (stack - MEAN) / SPREAD if stack.shape[3] == 3 else (stack - 0.5) / 0.5
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
