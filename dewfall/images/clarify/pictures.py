"""A dataset of pictures (application/x-image), what the model is sent of them, and what it answers.

image/jpeg, image/png    a picture a request (height × width × RGB, also of a grey file)
application/x-npy        as many as a payload takes, (n, height, width, 3) bytes
classification           per picture an array of scores, a class each
detection                per picture rows of class, score, xmin, ymin, xmax, ymax; the box in fractions of the picture's size
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.builtin import pictures as files
from dewfall.images.clarify import config, requests
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.requests import Form
from dewfall.images.contract import UserError

SUFFIXES = (".jpg", ".jpeg", ".png")
MANIFESTS = (".manifest", ".json", ".jsonl")
FORMATS = {"image/jpeg": "JPEG", "image/jpg": "JPEG", "image/png": "PNG"}
NPY = "application/x-npy"
PAYLOAD = 5 * 1024 * 1024  # bytes of a request; AWS's limit is 6 MB
QUALITY = 95
DETECTION = 6  # values of one
FAR = 2.0  # a coordinate beyond it is no fraction
BROKEN = (ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
Pixels = NDArray[np.uint8]
Fetch = Callable[[str], list[tuple[str, bytes]]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of the dataset; `stem` begins the names of the files about it."""

    name: str
    stem: str
    body: bytes

    def pixels(self) -> Pixels:
        """(height, width, 3). Raises UserError where the file is no picture."""
        try:
            return files.decode(self.body)
        except BROKEN:
            raise UserError(f"The image file {self.name} cannot be decoded: it is neither JPEG nor PNG, or it is damaged.") from None


def load(analysis: Analysis, folder: Path, fetch: Fetch) -> list[Picture]:
    """The dataset's pictures in the order of their names. Raises UserError where there is none."""
    uri = analysis.get("dataset_uri")
    if uri:
        bodies = fetch(uri)
        if len(bodies) == 1 and uri.lower().endswith(MANIFESTS):
            bodies = [one for listed in _listed(uri, bodies[0][1]) for one in fetch(listed)]
    else:
        bodies = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [(name, body) for name, body in bodies if name.lower().endswith(SUFFIXES)]
    if not found:
        others = f" It has {len(bodies)} other files, such as {bodies[0][0]}." if bodies else ""
        raise UserError(f"The dataset has no image files with the extension {', '.join(SUFFIXES)}.{others}")
    stems: dict[str, int] = {}
    return [Picture(name, unused(PurePosixPath(name).stem, stems), body) for name, body in found]


def unused(name: str, used: dict[str, int]) -> str:
    """The name, with a number where it is used already; the result is in `used`, which holds the last number of each name, from then on."""
    found = name
    while found in used:
        used[name] += 1
        found = f"{name}_{used[name]}"
    used[found] = 1
    return found


def _listed(uri: str, body: bytes) -> list[str]:
    """What an image manifest names: S3's own form (a prefix and the names behind it), or a line with source-ref per picture."""
    try:
        text = body.decode()
        if text.lstrip().startswith("["):
            first, *names = json.loads(text)
            return [first["prefix"] + name for name in names]
        return [json.loads(line)["source-ref"] for line in text.splitlines() if line.strip()]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"The image manifest {uri} is neither a list with a prefix nor lines with source-ref.") from None


def baseline(given: Any, fetch: Fetch, seed: int) -> Callable[[tuple[int, ...]], Pixels]:
    """What masks a picture of a height and width: the given picture resized to it, else white noise. Raises UserError where it is no picture."""
    if given is None:
        return lambda shape: np.random.default_rng(seed).integers(0, 256, (*shape[:2], 3), dtype=np.uint8)
    if not isinstance(given, str):
        raise UserError("shap: the baseline of images must be the S3 URI of an image.")
    bodies = fetch(given)
    if not bodies:
        raise UserError(f"shap: there is no baseline at {given}.")
    from PIL import Image

    mask = Image.fromarray(Picture(given, "", bodies[0][1]).pixels())
    return lambda shape: np.asarray(mask.resize((shape[1], shape[0])), np.uint8)


def check_content_type(kind: str) -> None:
    """UserError for a kind that pictures are not sent in."""
    if kind not in (*FORMATS, NPY):
        raise UserError(f"predictor: content_type {kind} is not supported for images: {', '.join([*FORMATS, NPY])} are.")


def encode(pictures: Pixels, kind: str) -> Iterator[tuple[bytes, int]]:
    """Bodies of requests for pictures (m, h, w, 3), each with their number in it. Raises UserError (content_type)."""
    if kind == NPY:
        size = max(1, PAYLOAD // max(1, pictures[0].nbytes))
        for start in range(0, len(pictures), size):
            file = io.BytesIO()
            np.save(file, pictures[start : start + size], allow_pickle=False)
            yield file.getvalue(), len(pictures[start : start + size])
        return
    check_content_type(kind)
    from PIL import Image

    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, FORMATS[kind], **({"quality": QUALITY} if FORMATS[kind] == "JPEG" else {}))
        yield file.getvalue(), 1


def scores(form: Form, body: bytes, kind: str, count: int) -> NDArray[np.float64]:
    """Scores (count, k) of a classifier's answer. Raises UserError saying what it lacks."""
    if (kind or form.accept).split(";")[0].strip().lower() != config.JSON:
        found = requests.read_answer(form, body, kind, count).scores
        if found is None:
            raise UserError("predictor: probability must be set, because explanations need the scores of the classes.")
        return found
    answer = _answer(form, body)
    try:
        table = np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"The model's answer {_short(answer)} is not an array of scores: set the predictor's probability.") from None
    if table.size == 0 or table.size % count or (count > 1 and table.squeeze().shape[:1] != (count,)):
        raise UserError(f"The model returned scores of shape {table.shape} for {count} images.")
    if table.squeeze().ndim > 2 or (count == 1 and table.squeeze().ndim > 1):
        raise UserError(f"The model returned scores of shape {table.shape} for {count} images; an array of scores per image is needed.")
    if not np.isfinite(table).all():
        raise UserError("The model returned scores that are not finite.")
    return table.reshape(count, -1)


def names(form: Form, body: bytes) -> list[str]:
    """What the answer calls the classes, where the predictor's label finds that; else nothing."""
    if form.label is None:
        return []
    import jmespath

    try:
        found = jmespath.search(str(form.label), json.loads(body))
    except (ValueError, jmespath.exceptions.JMESPathError):
        return []
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    return [str(one) for one in found] if isinstance(found, list) else []


def detections(form: Form, body: bytes, count: int) -> list[NDArray[np.float64]]:
    """What a detector found in each of `count` pictures: rows (n, 6). Raises UserError saying what the answer lacks."""
    answer = _answer(form, body)
    held = [answer] if count == 1 else answer
    if not isinstance(held, list) or len(held) != count:
        raise UserError(f"The model returned detections of {len(held) if isinstance(held, list) else 0} images for {count} images.")
    return [_rows(one) for one in held]


def _rows(found: Any) -> NDArray[np.float64]:
    while isinstance(found, list) and len(found) == 1 and isinstance(found[0], list) and (not found[0] or isinstance(found[0][0], list)):
        found = found[0]
    if isinstance(found, list) and found and not isinstance(found[0], list):
        found = [found]
    try:
        rows = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        rows = np.zeros((1, 0))
    if rows.size == 0 and not isinstance(found, dict) and found is not None and rows.ndim <= 2 and not any(found):
        return np.zeros((0, DETECTION))
    if rows.ndim != 2 or rows.shape[1] != DETECTION or not np.isfinite(rows).all():
        raise UserError(
            f"The model's answer {_short(found)} is no list of detections: each must have the six numbers "
            "[class, score, xmin, ymin, xmax, ymax]. Set the predictor's probability to find them."
        )
    rows = rows[rows[:, 0] >= 0]  # -1 fills up batches
    if (np.abs(rows[:, 2:]) > FAR).any():
        raise UserError(f"The model's boxes must be fractions of the image's width and height, but it returned {_short(rows[0, 2:].tolist())}.")
    return rows


def _answer(form: Form, body: bytes) -> Any:
    import jmespath

    try:
        document = json.loads(body)
    except ValueError as error:
        raise UserError(f"The model's answer is not valid JSON: {error}: {body[:100].decode('utf-8', 'replace')}") from None
    if form.probability is None:
        return document["prediction"] if isinstance(document, dict) and "prediction" in document else document
    try:
        found = jmespath.search(str(form.probability), document)
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"predictor: probability '{form.probability}' is not a JMESPath expression: {error}") from None
    if found is None:
        raise UserError(f"predictor: probability '{form.probability}' finds nothing in the model's answer {_short(document)}.")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
