"""The Semantic Segmentation image: a class for every pixel; masks as PNG, or the classes' probabilities as RecordIO-protobuf.

The model is `model.pt`, a state dictionary of dewfall.ml.nets.segment.Segmenter, and `model.json`.
"""

import io
import json
import math
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, pictures, pretrained, report
from dewfall.images.builtin.masks import NOTHING, Scenes, cropped, read_scenes
from dewfall.images.contract import UserError, cluster, folders
from dewfall.images.formats import RECORDIO, UnsupportedFormat, choose_accept, media_type
from dewfall.images.http import Answer, Invocation, serve
from dewfall.images.recordio import Record, Tensor, write_records
from dewfall.ml.nets.fitting import Patience, batches, optimizer
from dewfall.ml.nets.resnet import load_matching
from dewfall.ml.nets.segment import Segmenter, confusion, scores

PNG = "image/png"
PROTOBUF = (RECORDIO, "application/x-protobuf")
SAME = ("backbone", "algorithm", "crop_size", "num_classes")


def train() -> None:
    """Train on crops of channel train; keep the weights whose mean intersection over union was best on channel validation."""
    given = algorithm.settings("semantic-segmentation")
    torch = neural.prepare()
    about = {name: given[name] for name in ("backbone", "algorithm", "num_classes", "base_size")}
    about["crop_size"] = -(-given["crop_size"] // 8) * 8
    checkpoint = pretrained.read(given["use_pretrained_model"], "False")
    sets = {name: read_scenes(name, about["num_classes"]) for name in ("train", "validation")}
    network = _build(about)
    if checkpoint is not None:
        pretrained.check_same(checkpoint, about, SAME)
        _begin_with(network, checkpoint)
    _fit(network, sets["train"], sets["validation"], about, given)
    folders().model.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folders().model / "model.pt")
    (folders().model / "model.json").write_text(json.dumps(about))


def _build(about: dict[str, Any]) -> Any:
    return Segmenter(about["algorithm"], int(about["backbone"].removeprefix("resnet-")), about["num_classes"])


def _begin_with(network: Any, checkpoint: pretrained.Checkpoint) -> None:
    """A model of ours as it is; of others the backbone, named as in torchvision's classifiers or segmenters."""
    weights = checkpoint.weights
    if not checkpoint.about:
        named = any(name.startswith("backbone.") for name in weights)
        weights = weights if named else {f"backbone.{name}": value for name, value in weights.items()}
    taken = load_matching(network, weights, without=() if checkpoint.about else ("classifier.",))
    if not taken:
        raise UserError("No weight of channel 'model' fits the backbone.")
    report.say(f"Loaded {taken} of {len(network.state_dict())} tensors from channel 'model'.")


def _fit(network: Any, training: Scenes, validation: Scenes, about: dict[str, Any], given: dict[str, Any]) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    host, rng = cluster().current_host, np.random.default_rng(neural.SEED)
    plain = given["optimizer"] in ("sgd", "nag")
    momentum = given["momentum"] if plain else given["gamma2"]
    decay = given["weight_decay"] if plain else 0.0
    steps = optimizer(given["optimizer"], network.parameters(), given["learning_rate"], decay=decay, momentum=momentum, alpha=given["gamma1"])
    patience = Patience(given["early_stopping_patience"], given["early_stopping_tolerance"], relative=True, larger=True)
    drops = drops_of(given)
    done, total = 0, given["epochs"] * math.ceil(len(training) / given["mini_batch_size"])
    for epoch in range(given["epochs"]):
        begin, losses = time.monotonic(), []
        network.train()
        for picked in batches(len(training), given["mini_batch_size"], rng):
            for group in steps.param_groups:
                group["lr"] = given["learning_rate"] * rate_share(given, done / total, sum(epoch >= drop for drop in drops))
            crops = [cropped(*training.pair(place), about["base_size"], about["crop_size"], rng) for place in picked.tolist()]
            crops = crops * 2 if len(crops) == 1 else crops
            found = network(torch.from_numpy(pictures.normalized([picture for picture, _ in crops])))
            loss = cross_entropy(found, torch.from_numpy(np.stack([mask for _, mask in crops]).astype(np.int64)), ignore_index=NOTHING)
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses.append(float(loss.detach()))
            done += 1
        report.quality(host, "train loss", float(np.nanmean(losses)), epoch=epoch)
        report.say(f"#throughput_metric: host={host}, train throughput={len(training) / max(time.monotonic() - begin, 1e-6)} records/second")
        overlap = _validate(network, validation, about, epoch)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
        ends = patience.ends(overlap, network)
        if ends and given["early_stopping"] and epoch + 1 >= given["early_stopping_min_epochs"]:
            report.say(f"Early stopping after epoch {epoch}.")
            break
    patience.restore(network)


def drops_of(given: dict[str, Any]) -> list[int]:
    """The epochs after which the learning rate drops; none where the scheduler is not `step`."""
    if given["lr_scheduler"] != "step":
        return []
    drops = algorithm.whole_numbers("lr_scheduler_step", given["lr_scheduler_step"])
    if not drops:
        raise UserError("lr_scheduler_step is a required hyperparameter when lr_scheduler is step.")
    return drops


def rate_share(given: dict[str, Any], progress: float, drops: int) -> float:
    """Of the learning rate, at this share of all steps and after so many drops."""
    if given["lr_scheduler"] == "step":
        return float(given["lr_scheduler_factor"] ** drops)
    return float((1 - progress) ** 0.9 if given["lr_scheduler"] == "poly" else (1 + math.cos(math.pi * progress)) / 2)


def _validate(network: Any, validation: Scenes, about: dict[str, Any], epoch: int) -> float:
    import torch

    table = torch.zeros(about["num_classes"], about["num_classes"], dtype=torch.long)
    for place in range(len(validation)):
        picture, mask = validation.pair(place)
        guess = predict(network, picture, about["base_size"]).argmax(0)
        table += confusion(torch.from_numpy(mask.astype(np.int64)).flatten(), guess.flatten(), about["num_classes"])
    overlap, right = scores(table)
    report.quality(cluster().current_host, "validation mIOU", overlap, epoch=epoch)
    report.quality(cluster().current_host, "validation pixel_accuracy", right, epoch=epoch)
    return overlap


def predict(network: Any, picture: NDArray[np.uint8], base: int) -> Any:
    """(classes, height, width) probabilities of one picture, seen with its longer side at `base`."""
    import torch
    from torch.nn.functional import interpolate

    network.eval()
    height, width = picture.shape[:2]
    ratio = base / max(height, width)
    with torch.no_grad():
        seen = torch.from_numpy(pictures.normalized([picture]))
        seen = interpolate(seen, size=(max(8, round(height * ratio)), max(8, round(width * ratio))), mode="bilinear", align_corners=False)
        return interpolate(network(seen), size=(height, width), mode="bilinear", align_corners=False)[0].softmax(0)


class SegmentationHandler(neural.NetworkHandler):
    """One picture a request; the answer is its mask or its probabilities."""

    strategy = "SINGLE_RECORD"

    def build(self, about: dict[str, Any]) -> Any:
        return _build(about)

    def invoke(self, invocation: Invocation) -> Answer:
        try:
            if media_type(invocation.content_type)[0] not in pictures.TYPES:
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use image/jpeg.")
            accept = choose_accept(invocation.accept, (PNG, *PROTOBUF), PNG)
            picture = pictures.decode(bytes(invocation.body))
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except ValueError as error:
            return Answer(str(error), "text/plain", 400)
        found = predict(self.network, picture, self.about["base_size"]).numpy()
        return Answer(_mask(found) if accept == PNG else _probabilities(found), accept)


def _mask(found: NDArray[np.float32]) -> bytes:
    from PIL import Image

    body = io.BytesIO()
    Image.fromarray(found.argmax(0).astype(np.uint8)).save(body, "PNG")
    return body.getvalue()


def _probabilities(found: NDArray[np.float32]) -> bytes:
    """`target`, all numbers, and `shape`, how to read them: (1, classes, height, width)."""
    shape = np.array([1, *found.shape], np.int32)
    return write_records([Record({"target": Tensor(found.astype(np.float32).ravel()), "shape": Tensor(shape)})])


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(SegmentationHandler(folders().model))
