"""Image Classification: real digits in every format; weights handed on; names that torchvision knows."""

import io
import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from dewfall.images.builtin import image_classification, pictures
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import frame
from tests.images.builtin.conftest import OptMl

GIVEN = {"num_classes": "10", "num_training_samples": "1000", "num_layers": "20", "image_shape": "1,8,8", "mini_batch_size": "32"}
REC = "application/x-recordio"


def encoded(pixels: Any, kind: str = "PNG") -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(body, kind)
    return body.getvalue()


def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    rows, labels = load_digits(return_X_y=True)
    return (rows.reshape(-1, 8, 8) * 15.9).astype(np.uint8), labels


def records(images: Any, labels: Any) -> bytes:
    return b"".join(frame(pictures.pack(label, encoded(image))) for image, label in zip(images, labels, strict=True))


def asked(opt_ml: OptMl, body: bytes, accept: str = "application/json", kind: str = "image/png") -> Any:
    handler = image_classification.ImageHandler(opt_ml.model)
    handler.load()
    answer = handler.invoke(Invocation(body, kind, accept, {}))
    return json.loads(bytes(answer.body)) if answer.status == 200 else answer.status  # type: ignore[arg-type]


def test_reads_digits_as_well_as_logistic_regression(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.linear_model import LogisticRegression

    images, labels = digits()
    given = GIVEN | {"epochs": "4", "learning_rate": "0.05", "top_k": "2"}
    opt_ml.write(given, {"train": records(images[:1000], labels[:1000].tolist()), "validation": records(images[1400:], labels[1400:].tolist())}, REC)
    image_classification.train()
    out = capsys.readouterr().out
    found = [float(value) for value in re.findall(r"#quality_metric: host=\S+, epoch=\d+, validation accuracy <score>=(\S+)", out)]
    flat = images.reshape(-1, 64) / 255
    assert max(found) > LogisticRegression(max_iter=1000).fit(flat[:1000], labels[:1000]).score(flat[1400:], labels[1400:])
    assert re.search(r"Epoch\[0\] Validation-top_k_accuracy_2=[\d.]+", out)
    assert np.argmax(asked(opt_ml, encoded(images[0]))) == labels[0]
    assert len(asked(opt_ml, encoded(images[0]), "application/jsonlines")["prediction"]) == 10
    assert asked(opt_ml, b"nothing") == 400
    assert asked(opt_ml, b"1,2", kind="text/csv") == 415


def test_files_with_a_list_and_several_labels(opt_ml: OptMl) -> None:
    images, labels = digits()
    given = GIVEN | {"num_classes": "3", "multi_label": "1", "epochs": "1", "image_shape": "3,8,8", "use_weighted_loss": "1"}
    names = ("train", "validation")
    channels = dict.fromkeys((*names, *(f"{name}_lst" for name in names)), b"")
    opt_ml.write(given | {"augmentation_type": "crop_color_transform", "resize": "10"}, channels, "application/x-image")
    for name in names:
        folder = opt_ml.home / "input" / "data"
        for place in range(8):
            (folder / name / f"{place}.jpg").write_bytes(encoded(np.stack([images[place]] * 3, 2), "JPEG"))
        listed = "".join(f"{place}\t{place % 2}\t1\t{labels[place] % 2}\t{place}.jpg\n" for place in range(8))
        (folder / f"{name}_lst" / "a.lst").write_text(listed)
    image_classification.train()
    found = asked(opt_ml, encoded(np.stack([images[0]] * 3, 2)), kind="application/x-image")
    assert len(found) == 3
    assert all(0 <= value <= 1 for value in found)


def test_a_manifests_stream(opt_ml: OptMl) -> None:
    images, _ = digits()
    body = b"".join(frame(encoded(images[place])) + frame(str(place % 10).encode()) for place in range(20))
    opt_ml.write(GIVEN | {"epochs": "1"}, {"train": body, "validation": body}, REC)
    found = image_classification.read_pictures("train", {"num_classes": 10, "multi_label": False})
    assert found.labels == [place % 10 for place in range(20)]


def test_goes_on_from_a_model_and_asks_for_weights_that_are_not_there(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = digits()
    body = records(images[:32], labels[:32].tolist())
    sets = {"train": body, "validation": body}
    opt_ml.write(GIVEN | {"use_pretrained_model": "1", "num_layers": "18"}, sets, REC)
    with pytest.raises(UserError, match="do not ship here"):
        image_classification.train()
    opt_ml.write(GIVEN | {"epochs": "1"}, sets, REC)
    image_classification.train()
    artifact = (opt_ml.model / "model.pt").read_bytes()
    (opt_ml.home / "input/data/model").mkdir()
    for name in ("model.pt", "model.json"):
        (opt_ml.home / "input/data/model" / name).write_bytes((opt_ml.model / name).read_bytes())
    image_classification.train()
    assert "tensors from channel 'model'" in capsys.readouterr().out
    assert (opt_ml.model / "model.pt").read_bytes() != artifact
    opt_ml.write(GIVEN | {"epochs": "1", "num_classes": "11"}, sets, REC)
    with pytest.raises(UserError, match="trained with num_classes 10"):
        image_classification.train()


def test_weights_have_torchvisions_names_and_sizes() -> None:
    from dewfall.ml.nets.resnet import ResNet

    network = ResNet(50, 1000)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert sum(value.numel() for value in network.parameters()) == 25_557_032
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["fc.weight"] == (1000, 2048)
    assert sum(value.numel() for value in ResNet(18, 1000).parameters()) == 11_689_512
