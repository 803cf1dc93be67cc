"""Training pictures that are not as they should be: the message says which, and what to change."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from dewfall.images.builtin.masks import Scenes
from dewfall.images.builtin.pictures import Pictures, pack, read_list, read_records
from dewfall.images.contract import Channel, UserError
from dewfall.images.recordio import frame

Image = pytest.importorskip("PIL.Image")


def png(mode: str = "RGB") -> bytes:
    body = io.BytesIO()
    Image.new(mode, (4, 4)).save(body, "PNG")
    return body.getvalue()


def channel(folder: Path, name: str, files: dict[str, bytes]) -> Channel:
    (folder / name).mkdir()
    for path, body in files.items():
        (folder / name / path).write_bytes(body)
    return Channel(name, folder / name)


@pytest.mark.parametrize("body", [b"nothing", png()[:45], b""], ids=["text", "cut", "empty"])
def test_a_broken_picture_is_named(tmp_path: Path, body: bytes) -> None:
    images = channel(tmp_path, "train", {"a.png": png(), "b.png": body})
    found = Pictures(list(images.files()), [0, 1])
    assert found.pixels(0).shape == (4, 4, 3)
    with pytest.raises(UserError, match=r"neither JPEG nor PNG: b\.png of channel 'train'\. Please replace it"):
        found.pixels(1)
    with pytest.raises(UserError, match="record 1 of its channel"):
        Pictures([body], [0]).pixels(0)


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    masks = channel(tmp_path, "train_annotation", {"a.png": b"nothing"})
    with pytest.raises(UserError, match=r"The annotation a\.png of channel 'train_annotation' is not a PNG image"):
        Scenes([png()], list(masks.files()), np.arange(256, dtype=np.uint8), 2).pair(0)


@pytest.mark.parametrize("line", ["0\tcat\ta.png", "0\t1\tb.png", "0 1 a.png", "0\ta.png", "\udcff"])
def test_a_wrong_line_of_a_list_is_named(tmp_path: Path, line: str) -> None:
    images = channel(tmp_path, "train", {"a.png": png()})
    listed = channel(tmp_path, "train_lst", {"x.lst": f"0\t1\ta.png\n{line}\n".encode("utf-8", "surrogateescape")})
    with pytest.raises(UserError, match=r"Line 2 of x\.lst must have an index, a label and the path"):
        read_list(images, listed)


def test_labels_of_a_manifest_are_json_or_text(tmp_path: Path) -> None:
    bodies = [png(), b'"7"', png(), b"[1,", png(), b'"0x"', png(), b'"[1, 2]"']
    records = channel(tmp_path, "train", {"a": b"".join(frame(body) for body in bodies), "b": frame(pack(2.0, png()))})
    assert read_records(records).labels == [7, "[1,", "0x", [1, 2], 2.0]
