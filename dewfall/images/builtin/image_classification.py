"""The Image Classification image: a residual network on pictures, one label each or several.

The model is `model.pt`, a state dictionary with torchvision's names (dewfall.ml.nets.resnet), and `model.json`.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, pictures, pretrained, report
from dewfall.images.builtin.augmenting import changed, fit_to
from dewfall.images.builtin.channels import missing
from dewfall.images.builtin.pictures import Pictures
from dewfall.images.contract import UserError, cluster, folders
from dewfall.images.formats import JSON, JSON_LINES, UnsupportedFormat, choose_accept, media_type, write_json, write_jsonlines
from dewfall.images.http import Answer, Invocation, serve
from dewfall.ml.nets.fitting import Patience, batches, optimizer
from dewfall.ml.nets.resnet import ResNet, load_matching

LINES = (JSON_LINES, "application/x-jsonlines")
SAME = ("num_layers", "image_shape", "num_classes")
PRETRAINED = ("18", "34", "50", "101", "152", "200")  # layers of networks for large images


def train() -> None:
    """Train on channel train; keep the weights that were best on channel validation."""
    given = algorithm.settings("image-classification")
    torch = neural.prepare()
    about = _about(given)
    sets = {name: read_pictures(name, about) for name in ("train", "validation")}
    network = ResNet(about["num_layers"], about["num_classes"], channels=about["image_shape"][0])
    checkpoint = pretrained.read(given["use_pretrained_model"] == 1, "0")
    if checkpoint is not None:
        pretrained.check_same(checkpoint, about, SAME)
        taken = load_matching(network, checkpoint.weights, without=() if checkpoint.about else ("fc.",))
        if not taken:
            raise UserError(f"No weight of channel 'model' fits a ResNet-{about['num_layers']}.")
        report.say(f"Loaded {taken} of {len(network.state_dict())} tensors from channel 'model'.")
    if len(sets["train"]) != given["num_training_samples"]:
        report.say(f"num_training_samples is {given['num_training_samples']}, channel train has {len(sets['train'])} images.", "WARNING")
    _fit(network, sets["train"], sets["validation"], about, given)
    folders().model.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folders().model / "model.pt")
    (folders().model / "model.json").write_text(json.dumps(about))


def _about(given: dict[str, Any]) -> dict[str, Any]:
    if (given["checkpoint_frequency"] or 1) > given["epochs"]:
        raise UserError(f"checkpoint_frequency, {given['checkpoint_frequency']}, is greater than epochs, {given['epochs']}.")
    if given["use_pretrained_model"] == 1 and given["num_layers"] not in PRETRAINED:
        raise UserError(f"With use_pretrained_model num_layers must be one of {', '.join(PRETRAINED)}, not {given['num_layers']}.")
    try:
        shape = [int(size) for size in given["image_shape"].split(",")]
    except ValueError:
        shape = []
    if len(shape) != 3 or shape[0] not in (1, 3) or min(shape) < 1:
        raise UserError(f"image_shape must be 'num_channels, height, width' with 1 or 3 channels; it is '{given['image_shape']}'.")
    return {
        "num_layers": int(given["num_layers"]),
        "num_classes": given["num_classes"],
        "image_shape": shape,
        "resize": given["resize"],
        "multi_label": given["multi_label"] == 1,
    }


def read_pictures(name: str, about: dict[str, Any]) -> Pictures:
    """A channel's pictures; labels become class numbers, or rows of 0 and 1 where there may be several."""
    channels = contract.channels()
    if name not in channels:
        raise missing(name)
    channel = channels[name]
    if pictures.is_files(channel):
        if f"{name}_lst" not in channels:
            raise UserError(f"Channel '{name}' holds images, so channel '{name}_lst' must hold a .lst file.")
        found = pictures.read_list(channel, channels[f"{name}_lst"])
    else:
        found = pictures.read_records(channel)
    form = media_type(channel.content_type)[1].get("label-format", "multi-hot")
    found.labels = [_label(label, about, form) for label in found.labels]
    return found


def _label(label: Any, about: dict[str, Any], form: str) -> Any:
    classes = about["num_classes"]
    try:
        numbers = [float(number) for number in (label if isinstance(label, list) else [label])]
    except (TypeError, ValueError):
        raise UserError(f"The label {label!r} is not a class number.") from None
    if not about["multi_label"]:
        if len(numbers) != 1:
            raise UserError("An image has several labels; set multi_label to 1.")
        if not 0 <= numbers[0] < classes or numbers[0] != int(numbers[0]):
            raise UserError(f"The label {numbers[0]} is not a class number from 0 to num_classes - 1, {classes - 1}.")
        return int(numbers[0])
    if form == "multi-hot" and len(numbers) == classes and set(numbers) <= {0.0, 1.0}:
        return numbers
    if form == "multi-hot":
        raise UserError(f"A multi-hot label must have num_classes, {classes}, values of 0 or 1.")
    if any(not 0 <= number < classes for number in numbers):
        raise UserError(f"The labels {numbers} are not class numbers from 0 to num_classes - 1, {classes - 1}.")
    return [1.0 if place in numbers else 0.0 for place in range(classes)]


def _fit(network: Any, training: Pictures, validation: Pictures, about: dict[str, Any], given: dict[str, Any]) -> None:
    import torch

    host, rng = cluster().current_host, np.random.default_rng(neural.SEED)
    steps = _optimizer(network, given)
    drops = algorithm.whole_numbers("lr_scheduler_step", given["lr_scheduler_step"])
    early = given["early_stopping_patience"] if given["early_stopping"] else given["epochs"] + 1
    patience = Patience(early, given["early_stopping_tolerance"], relative=True, larger=True)
    truth = torch.tensor(training.labels)
    for epoch in range(given["epochs"]):
        begin = time.monotonic()
        for group in steps.param_groups:
            group["lr"] = given["learning_rate"] * given["lr_scheduler_factor"] ** sum(epoch >= drop for drop in drops)
        network.train()
        right = 0.0
        for picked in batches(len(training), given["mini_batch_size"], rng):
            if len(picked) < 2 and len(training) > 1:
                continue
            seen = [changed(fitted(training, place, about), about["image_shape"], given["augmentation_type"], rng) for place in picked.tolist()]
            scores = network(torch.from_numpy(pictures.normalized(seen)))
            loss = _loss(scores, truth[picked], given, truth)
            steps.zero_grad()
            loss.backward()
            steps.step()
            right += _right(scores.detach(), truth[picked]) * len(picked)
        report.say(f"Epoch[{epoch}] Train-accuracy={right / len(training):.6f}")
        report.say(f"Epoch[{epoch}] Time cost={time.monotonic() - begin:.3f}")
        report.quality(host, "train accuracy", right / len(training), epoch=epoch)
        accuracy = _validate(network, validation, about, given, epoch)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
        if accuracy > -patience.best:
            report.say(f"Storing the best model with validation accuracy: {accuracy:.6f}")
        if patience.ends(accuracy, network) and epoch + 1 >= given["early_stopping_min_epochs"]:
            report.say(f"Early stopping after epoch {epoch}.")
            break
    patience.restore(network)


def _optimizer(network: Any, given: dict[str, Any]) -> Any:
    more = {"betas": (given["beta_1"], given["beta_2"]), "eps": given["eps"], "alpha": given["gamma"]}
    plain = given["optimizer"] in ("sgd", "nag")
    return optimizer(
        given["optimizer"],
        network.parameters(),
        given["learning_rate"],
        decay=given["weight_decay"] if plain else 0.0,
        momentum=given["momentum"] if plain else 0.0,
        **more,
    )


def _loss(scores: Any, truth: Any, given: dict[str, Any], everything: Any) -> Any:
    import torch
    from torch.nn import functional

    if given["multi_label"] != 1:
        return functional.cross_entropy(scores, truth)
    if given["use_weighted_loss"] != 1:
        return functional.binary_cross_entropy_with_logits(scores, truth)
    there = everything.sum(0).clamp(min=1)
    return functional.binary_cross_entropy_with_logits(scores, truth, pos_weight=torch.sqrt((len(everything) - there).clamp(min=1) / there))


def _right(scores: Any, truth: Any) -> float:
    """The share of right answers: of pictures, or of their labels where there are several."""
    found = (scores.argmax(1) == truth) if truth.dim() == 1 else ((scores > 0) == (truth > 0.5))
    return float(found.float().mean())


def fitted(found: Pictures, place: int, about: dict[str, Any]) -> NDArray[np.uint8]:
    """A picture, at least as large as image_shape."""
    return found.pixels(place, about["image_shape"][0], lambda picture: fit_to(picture, about["image_shape"], about["resize"]))


def scores_of(network: Any, seen: Sequence[NDArray[np.uint8]], about: dict[str, Any]) -> Any:
    """Scores before softmax or sigmoid of pictures cut out at their middle."""
    import torch

    network.eval()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        return network(torch.from_numpy(pictures.normalized([changed(one, about["image_shape"], None, rng) for one in seen])))


def _validate(network: Any, validation: Pictures, about: dict[str, Any], given: dict[str, Any], epoch: int) -> float:
    import torch

    parts = [
        scores_of(network, [fitted(validation, place, about) for place in picked.tolist()], about)
        for picked in batches(len(validation), max(given["mini_batch_size"], 64))
    ]
    scores, truth = torch.cat(parts), torch.tensor(validation.labels)
    accuracy = _right(scores, truth)
    report.say(f"Epoch[{epoch}] Validation-accuracy={accuracy:.6f}")
    if given["top_k"] and truth.dim() == 1:
        top = scores.topk(min(given["top_k"], scores.shape[1]), dim=1).indices
        report.say(f"Epoch[{epoch}] Validation-top_k_accuracy_{given['top_k']}={float((top == truth[:, None]).any(1).float().mean()):.6f}")
    report.quality(cluster().current_host, "validation accuracy", accuracy, epoch=epoch)
    return accuracy


class ImageHandler(neural.NetworkHandler):
    """One picture a request; the answer is a probability of each class."""

    strategy = "SINGLE_RECORD"

    def build(self, about: dict[str, Any]) -> Any:
        return ResNet(about["num_layers"], about["num_classes"], channels=about["image_shape"][0])

    def invoke(self, invocation: Invocation) -> Answer:
        shape = self.about["image_shape"]
        try:
            if media_type(invocation.content_type)[0] not in pictures.TYPES:
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use {', '.join(pictures.TYPES)}.")
            accept = choose_accept(invocation.accept, (JSON, *LINES), JSON)
            seen = pictures.decode(bytes(invocation.body), shape[0], lambda picture: fit_to(picture, shape, self.about["resize"]))
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except ValueError as error:
            return Answer(str(error), "text/plain", 400)
        scores = scores_of(self.network, [seen], self.about)[0]
        found = (scores.sigmoid() if self.about["multi_label"] else scores.softmax(0)).tolist()
        return Answer(write_jsonlines([{"prediction": found}]) if accept in LINES else write_json(found), accept)


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(ImageHandler(folders().model))
