"""Settings and files that algorithms had stumbled over: each is the customer's error, and says what to change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dewfall.images.builtin import algorithm, boxes, deepar_series, pretrained
from dewfall.images.contract import Channel, UserError
from dewfall.images.datasets import Table

from .conftest import OptMl

BOX = {"class_id": 0, "left": 1, "top": 1, "width": 2, "height": 2}


@pytest.mark.parametrize("text", ["a,b", "1;2", "1.5"])
def test_lists_of_whole_numbers(text: str) -> None:
    assert algorithm.whole_numbers("lr_scheduler_step", "10, 20,") == [10, 20]
    assert algorithm.whole_numbers("lr_scheduler_step", None) == []
    with pytest.raises(UserError, match=f"lr_scheduler_step must be whole numbers with commas between them, such as 10,20; it is '{text}'"):
        algorithm.whole_numbers("lr_scheduler_step", text)


def test_a_record_without_label_is_counted() -> None:
    with pytest.raises(UserError, match="record 2 has no label"):
        algorithm.labels_of(Table(np.zeros((2, 1)), np.array([1, np.nan])), "train")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"image_size": [{"width": 0, "height": 4}], "annotations": [BOX]}, "An annotation needs image_size"),
        ({"image_size": [{"width": 4, "height": 4}], "annotations": [{**BOX, "class_id": float("nan")}]}, "An annotation needs image_size"),
        ("a cat", "The label of an image record must be"),
    ],
)
def test_boxes(label: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        boxes._rows(label)


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("a.json.gz", b"\x1f\x8bnothing", "a.json.gz of channel 'train': it is compressed with gzip, but cannot be unpacked"),
        ("a.parquet", b"PAR1nothing", "it is not Parquet"),
        ("a.json", b"{", "line 1 is not a JSON object"),
    ],
)
def test_files_of_series(tmp_path: Path, name: str, body: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(UserError, match=message):
        deepar_series.read_channel(Channel("train", tmp_path))


def test_an_archive_that_is_cut_off(opt_ml: OptMl) -> None:
    opt_ml.write({}, {"model": b""})
    (opt_ml.home / "input/data/model/model.tar.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(UserError, match=r"model\.tar\.gz of channel 'model' is not an archive"):
        pretrained.read(wanted=True, off="0")
