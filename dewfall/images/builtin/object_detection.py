"""The Object Detection image: SSD on VGG-16 or ResNet-50; answers are class, score and box of each object.

The model is `model.pt`, a state dictionary of dewfall.ml.nets.ssd.Detector, and `model.json`.
"""

import json
import re
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, pictures, pretrained, report
from dewfall.images.builtin.boxes import Annotated, read_annotated
from dewfall.images.contract import UserError, cluster, folders
from dewfall.images.formats import JSON, JSON_LINES, UnsupportedFormat, choose_accept, media_type, write_json, write_jsonlines
from dewfall.images.http import Answer, Invocation, serve
from dewfall.ml.nets.fitting import Patience, batches, optimizer
from dewfall.ml.nets.resnet import load_matching
from dewfall.ml.nets.ssd import Detector, detections, losses, mean_precision

LINES = (JSON_LINES, "application/x-jsonlines")
SAME = ("base_network", "num_classes")
STEPS = 10.0  # the longest gradient


def train() -> None:
    """Train on channel train; keep the weights whose mean average precision was best on channel validation."""
    given = algorithm.settings("object-detection")
    neural.prepare()
    about = {name: given[name] for name in ("base_network", "num_classes", "image_shape", "nms_threshold")}
    checkpoint = pretrained.read(given["use_pretrained_model"] == 1, "0")
    sets = {name: read_annotated(name, about["num_classes"]) for name in ("train", "validation")}
    network = Detector(about["base_network"], about["num_classes"])
    if checkpoint is not None:
        pretrained.check_same(checkpoint, about, SAME)
        _begin_with(network, checkpoint)
    fit(network, sets["train"], sets["validation"], about, given)
    save(network, about)


def save(network: Any, about: dict[str, Any]) -> None:
    import torch

    folders().model.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folders().model / "model.pt")
    (folders().model / "model.json").write_text(json.dumps(about))


def _begin_with(network: Any, checkpoint: pretrained.Checkpoint) -> None:
    """A model of ours as it is; of others the base network, as torchvision's vgg16 and resnet50 name it."""
    weights = checkpoint.weights
    if not checkpoint.about:
        weights = weights | {f"backbone.{name}": value for name, value in weights.items()}
    taken = load_matching(network, weights)
    if not taken:
        raise UserError("No weight of channel 'model' fits the base network.")
    report.say(f"Loaded {taken} of {len(network.state_dict())} tensors from channel 'model'.")


def _pattern(text: str) -> re.Pattern[str] | None:
    """freeze_layer_pattern."""
    try:
        return None if text in ("", "false", "False") else re.compile(text)
    except re.error as error:
        raise UserError(f"freeze_layer_pattern must be a regular expression, not {text!r}: {error}.") from None


def fit(network: Any, training: Annotated, validation: Annotated, about: dict[str, Any], given: dict[str, Any]) -> None:
    """Epochs over the training pictures, mirrored at random."""
    import torch

    host, rng = cluster().current_host, np.random.default_rng(neural.SEED)
    frozen = _pattern(given["freeze_layer_pattern"])
    weights = [weight for name, weight in network.named_parameters() if frozen is None or not frozen.match(name)]
    decayed = given["optimizer"] in ("sgd", "rmsprop")
    steps = optimizer(
        given["optimizer"],
        weights,
        given["learning_rate"],
        decay=given["weight_decay"] if decayed else 0.0,
        momentum=given["momentum"] if given["optimizer"] == "sgd" else 0.0,
    )
    drops = algorithm.whole_numbers("lr_scheduler_step", given["lr_scheduler_step"])
    patience = Patience(given["early_stopping_patience"], given["early_stopping_tolerance"], relative=True, larger=True)
    for epoch in range(given["epochs"]):
        begin = time.monotonic()
        for group in steps.param_groups:
            group["lr"] = given["learning_rate"] * given["lr_scheduler_factor"] ** sum(epoch >= drop for drop in drops)
        network.train()
        for number, picked in enumerate(batches(len(training), given["mini_batch_size"], rng)):
            seen, truths = _batch(training, picked, about, rng)
            entropy, place = losses(network(seen), truths)
            steps.zero_grad()
            (entropy + place).backward()
            torch.nn.utils.clip_grad_norm_(weights, STEPS)
            steps.step()
            report.say(f"#quality_metric: host={host}, epoch={epoch}, batch={number} train cross_entropy <loss>=({float(entropy.detach())})")
            report.say(f"#quality_metric: host={host}, epoch={epoch}, batch={number} train smooth_l1 <loss>=({float(place.detach())})")
        report.say(f"#throughput_metric: host={host}, train throughput={len(training) / max(time.monotonic() - begin, 1e-6)} records/second")
        precision = validate(network, validation, about, given["overlap_threshold"])
        report.say(f"#quality_metric: host={host}, epoch={epoch}, validation mAP <score>=({precision})")
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
        ends = patience.ends(precision, network)
        if ends and given["early_stopping"] and epoch + 1 >= given["early_stopping_min_epochs"]:
            report.say(f"Early stopping after epoch {epoch}.")
            break
    patience.restore(network)


def _batch(found: Annotated, picked: NDArray[np.intp], about: dict[str, Any], rng: np.random.Generator) -> tuple[Any, list[tuple[Any, Any]]]:
    """The pictures as one tensor, with boxes and classes; mirrored ones take their boxes with them."""
    import torch

    seen, truths = [], []
    for place in picked.tolist():
        pixels, boxes = _pixels(found, place, about), found.boxes[place]
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
        seen.append(pixels)
        truths.append((torch.from_numpy(boxes), torch.from_numpy(found.classes[place])))
    times = 2 if len(seen) == 1 else 1
    return torch.from_numpy(pictures.normalized(seen * times)), truths * times


def _pixels(found: Annotated, place: int, about: dict[str, Any]) -> NDArray[np.uint8]:
    return found.pictures.pixels(place, 3, lambda picture: picture.resize((about["image_shape"],) * 2))


def detect(network: Any, pixels: list[NDArray[np.uint8]], threshold: float) -> list[list[list[float]]]:
    """The objects of each picture."""
    import torch

    network.eval()
    with torch.no_grad():
        scores, offsets, given = network(torch.from_numpy(pictures.normalized(pixels)))
    return [detections(score, offset, given, threshold) for score, offset in zip(scores, offsets, strict=True)]


def validate(network: Any, validation: Annotated, about: dict[str, Any], overlap: float) -> float:
    """Mean average precision."""
    import torch

    found: list[list[list[float]]] = []
    for picked in batches(len(validation), 16):
        found += detect(network, [_pixels(validation, place, about) for place in picked.tolist()], about["nms_threshold"])
    truths = [(torch.from_numpy(boxes), torch.from_numpy(kinds)) for boxes, kinds in zip(validation.boxes, validation.classes, strict=True)]
    return mean_precision(found, truths, about["num_classes"], overlap)


class DetectionHandler(neural.NetworkHandler):
    """One picture a request."""

    strategy = "SINGLE_RECORD"

    def build(self, about: dict[str, Any]) -> Any:
        return Detector(about["base_network"], about["num_classes"])

    def invoke(self, invocation: Invocation) -> Answer:
        try:
            if media_type(invocation.content_type)[0] not in pictures.TYPES:
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use {', '.join(pictures.TYPES)}.")
            accept = choose_accept(invocation.accept, (JSON, *LINES), JSON)
            pixels = pictures.decode(bytes(invocation.body), 3, lambda picture: picture.resize((self.about["image_shape"],) * 2))
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except ValueError as error:
            return Answer(str(error), "text/plain", 400)
        found = detect(self.network, [pixels], self.about["nms_threshold"])[0]
        if "annotation" in media_type(invocation.accept)[1]:
            rows = [{"class_id": int(row[0]), "score": row[1], **_box(row)} for row in found]
            return Answer(write_json({"annotations": rows}), accept)
        return Answer(write_jsonlines([{"prediction": found}]) if accept in LINES else write_json({"prediction": found}), accept)


def _box(row: list[float]) -> dict[str, float]:
    return {"left": row[2], "top": row[3], "width": row[4] - row[2], "height": row[5] - row[3]}


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(DetectionHandler(folders().model))
