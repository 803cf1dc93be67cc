"""Object Detection: squares found and told apart; annotations in every format; AWS's answers."""

import doctest
import io
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from dewfall.images.builtin import object_detection, pictures
from dewfall.images.builtin.boxes import read_annotated
from dewfall.images.catalog.hyperparameters import validate
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import frame
from dewfall.ml.nets import ssd
from tests.images.builtin.conftest import OptMl

GIVEN = {"num_classes": "2", "num_training_samples": "32", "use_pretrained_model": "0"}
RNG = np.random.default_rng(4)
REC = "application/x-recordio"


def png(pixels: Any) -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    return body.getvalue()


def scene() -> tuple[bytes, list[float]]:
    """A red or a green box on dark noise, and its label as .rec files have it."""
    pixels, kind = RNG.integers(0, 60, (32, 32, 3)).astype(np.uint8), int(RNG.integers(0, 2))
    left, top, size = (int(number) for number in (*RNG.integers(0, 16, 2), RNG.integers(10, 16)))
    pixels[top : top + size, left : left + size, kind] = 255
    return png(pixels), [2, 5, kind, left / 32, top / 32, (left + size) / 32, (top + size) / 32]


def records(count: int) -> bytes:
    return b"".join(frame(pictures.pack(label, body)) for body, label in (scene() for _ in range(count)))


@pytest.mark.timeout(600)
def test_finds_boxes_and_tells_them_apart(opt_ml: OptMl) -> None:
    given = validate("object-detection", GIVEN | {"epochs": "8", "mini_batch_size": "8", "optimizer": "adam", "learning_rate": "0.003"})
    opt_ml.write({}, {"train": records(48), "validation": records(8)}, REC)
    about = {"base_network": "resnet-20", "num_classes": 2, "image_shape": 32, "nms_threshold": 0.45}
    network = ssd.Detector("resnet-20", 2)
    validation = read_annotated("validation", 2)
    object_detection.fit(network, read_annotated("train", 2), validation, about, given)
    assert object_detection.validate(network, validation, about, 0.5) > 0.6
    object_detection.save(network, about)
    handler = object_detection.DetectionHandler(opt_ml.model)
    handler.load()
    body, label = scene()
    found = json.loads(bytes(handler.invoke(Invocation(body, "image/png", "application/json", {})).body))["prediction"]  # type: ignore[arg-type]
    assert all(len(row) == 6 and 0 <= row[1] <= 1 and all(0 <= side <= 1 for side in row[2:]) for row in found)
    assert found[0][0] == label[2]
    assert handler.invoke(Invocation(b"x", "image/png", "*/*", {})).status == 400


def test_reads_annotations_beside_images(opt_ml: OptMl) -> None:
    opt_ml.write({}, {"train": b"", "train_annotation": b""}, "image/png")
    document = {
        "file": "a/1.png",
        "image_size": [{"width": 64, "height": 32, "depth": 3}],
        "annotations": [{"class_id": 1, "left": 16, "top": 8, "width": 16, "height": 16}],
    }
    folder = opt_ml.home / "input" / "data"
    (folder / "train" / "a").mkdir()
    (folder / "train" / "a" / "1.png").write_bytes(scene()[0])
    (folder / "train_annotation" / "1.json").write_text(json.dumps(document))
    found = read_annotated("train", 2)
    assert found.boxes[0].tolist() == [[0.25, 0.25, 0.5, 0.75]]
    assert found.classes[0].tolist() == [1]
    with pytest.raises(UserError, match="num_classes - 1"):
        read_annotated("train", 1)


def test_reads_a_manifests_stream(opt_ml: OptMl) -> None:
    label = {
        "image_size": [{"width": 64, "height": 64, "depth": 3}],
        "annotations": [{"class_id": 0, "left": 0, "top": 0, "width": 32, "height": 32}],
    }
    opt_ml.write({}, {"train": frame(scene()[0]) + frame(json.dumps(label).encode())}, REC)
    assert read_annotated("train", 1).boxes[0].tolist() == [[0, 0, 0.5, 0.5]]


def test_asks_for_weights_that_do_not_ship(opt_ml: OptMl) -> None:
    opt_ml.write({name: value for name, value in GIVEN.items() if name != "use_pretrained_model"}, {"train": records(1)}, REC)
    with pytest.raises(UserError, match="set use_pretrained_model to 0"):
        object_detection.train()


def test_vgg_is_named_as_torchvision_names_it() -> None:
    shapes = {name: tuple(value.shape) for name, value in ssd.Detector("vgg-16", 2).state_dict().items()}
    assert shapes["features.28.weight"] == (512, 512, 3, 3)
    assert shapes["features.0.weight"] == (64, 3, 3, 3)


def test_examples() -> None:
    assert doctest.testmod(ssd).failed == 0
