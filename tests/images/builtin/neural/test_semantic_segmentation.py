"""Semantic Segmentation: bright shapes found better than by brightness alone; masks and probabilities; label maps; weights asked for."""

import doctest
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from dewfall.images.builtin import masks, semantic_segmentation
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import read_records
from dewfall.ml.nets import segment
from tests.images.builtin.conftest import OptMl

GIVEN = {"num_classes": "2", "num_training_samples": "8", "use_pretrained_model": "False", "base_size": "32", "crop_size": "32", "epochs": "1"}
RNG = np.random.default_rng(3)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Noise with a striped square, which is as bright as the noise."""
    picture, mask = RNG.integers(0, 255, (32, 32, 3)), np.zeros((32, 32), np.uint8)
    top, left = RNG.integers(0, 16, 2)
    picture[top : top + 16, left : left + 16] = np.where(np.arange(16)[:, None, None] // 2 % 2, 255, 0)
    mask[top : top + 16, left : left + 16] = 1
    return picture.astype(np.uint8), mask


def png(pixels: Any) -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "PNG")
    return body.getvalue()


def lay_out(opt_ml: OptMl, given: dict[str, str], count: int, scale: int = 1) -> None:
    names = [f"{name}{part}" for name in ("train", "validation") for part in ("", "_annotation")]
    opt_ml.write(GIVEN | given, dict.fromkeys(names, b""), "image/png")
    for name in ("train", "validation"):
        for place in range(count if name == "train" else 4):
            picture, mask = scene()
            folder = opt_ml.home / "input" / "data"
            (folder / name / f"{place}.png").write_bytes(png(picture))
            (folder / f"{name}_annotation" / f"{place}.png").write_bytes(png(mask * scale))


def asked(opt_ml: OptMl, accept: str) -> tuple[int, bytes]:
    handler = semantic_segmentation.SegmentationHandler(opt_ml.model)
    handler.load()
    answer = handler.invoke(Invocation(png(scene()[0]), "image/jpeg", accept, {}))
    return answer.status, answer.body if isinstance(answer.body, bytes) else b""


@pytest.mark.timeout(600)
def test_finds_what_brightness_does_not_show(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(opt_ml, {"epochs": "6", "learning_rate": "0.003", "mini_batch_size": "8", "optimizer": "adam"}, 32)
    semantic_segmentation.train()
    out = capsys.readouterr().out
    overlaps = [float(value) for value in re.findall(r"#quality_metric: host=\S+, epoch=\d+, validation mIOU <\S+>=(\S+)", out)]
    assert max(overlaps) > 0.5  # everything background: 0.375
    from PIL import Image

    status, body = asked(opt_ml, "image/png")
    assert (status, Image.open(io.BytesIO(body)).size) == (200, (32, 32))
    status, body = asked(opt_ml, "application/x-recordio-protobuf")
    record = next(iter(read_records(body)))
    shape = record.features["shape"].values.tolist()
    assert shape == [1, 2, 32, 32]
    assert np.allclose(record.features["target"].values.reshape(shape).sum(1), 1, atol=1e-4)
    assert asked(opt_ml, "text/csv")[0] == 406


@pytest.mark.parametrize("kind", ["psp", "deeplab"])
def test_other_networks_learn_and_answer(kind: str) -> None:
    import torch

    network = segment.Segmenter(kind, 18, 3)
    found = network(torch.randn(2, 3, 32, 40))
    assert found.shape == (2, 3, 32, 40)
    found.mean().backward()
    assert "classifier.0.convs.4.1.weight" in network.state_dict() or kind == "psp"


def test_label_maps_scale_and_name(opt_ml: OptMl) -> None:
    lay_out(opt_ml, {}, 1, scale=100)
    with pytest.raises(UserError, match="num_classes"):
        masks.read_scenes("train", 2).pair(0)
    for document in ({"scale": "100"}, {"map": {"0": 0, "1": 100}}):
        (opt_ml.home / "input/data/train_annotation/label_map.json").write_text(json.dumps(document))
        assert set(np.unique(masks.read_scenes("train", 2).pair(0)[1])) == {0, 1}


def test_asks_for_weights_that_do_not_ship(opt_ml: OptMl, tmp_path: Path) -> None:
    lay_out(opt_ml, {"use_pretrained_model": "True"}, 1)
    with pytest.raises(UserError, match="set use_pretrained_model to False"):
        semantic_segmentation.train()


def test_examples() -> None:
    assert doctest.testmod(segment).failed == 0


def test_steps_of_the_learning_rate(opt_ml: OptMl) -> None:
    lay_out(opt_ml, {"lr_scheduler": "step"}, 1)
    with pytest.raises(UserError, match="lr_scheduler_step is a required hyperparameter"):
        semantic_segmentation.train()
    lay_out(opt_ml, {"lr_scheduler": "step", "lr_scheduler_step": "ten"}, 1)
    with pytest.raises(UserError, match="lr_scheduler_step must be whole numbers"):
        semantic_segmentation.train()
    given = {"lr_scheduler": "step", "lr_scheduler_step": "10, 20", "lr_scheduler_factor": 0.5}
    assert semantic_segmentation.drops_of(given) == [10, 20]
    assert [semantic_segmentation.rate_share(given, 0.9, drops) for drops in (0, 1, 2)] == [1, 0.5, 0.25]
