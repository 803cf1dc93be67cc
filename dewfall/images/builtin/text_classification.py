"""The Text Classification image: AWS's settings, data and answers.

AWS fine-tunes language models from its own bucket, which do not ship here. One of Hugging Face's form in channel `model` is fine-tuned, and the
artifact is such a folder again. Without it a small network learns its words from the training data alone: `model.pt`, a state dictionary of
dewfall.ml.nets.texts.TextClassifier. `model.json` has the labels, and the vocabulary.
"""

import csv
import io
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, language_models, neural, pretrained, report
from dewfall.images.contract import Channel, UserError, folders
from dewfall.images.formats import JSON, UnsupportedFormat, choose_accept, media_type, write_json
from dewfall.images.http import Answer, Invocation, serve
from dewfall.ml.nets.fitting import Patience, batches
from dewfall.ml.nets.texts import TextClassifier, encoded, vocabulary

X_TEXT = "application/x-text"
TYPES = (X_TEXT, "text/plain")
Texts = tuple[list[str], NDArray[np.int64]]


def train() -> None:
    """Train on channel training; measure on channel validation, else on a share of the training data."""
    given = algorithm.settings("text-classification")
    torch = neural.prepare()
    channels = contract.channels()
    home = channels.get("training") or channels.get("train")
    if home is None:
        raise UserError("Missing required channel: training")
    training, validation = _split(read_texts(home), channels.get("validation"), given)
    labels = sorted({*training[1].tolist(), *validation[1].tolist()})
    folders().model.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        begin = language_models.find(Path(scratch))
        if begin is None:
            network, about = _own(training[0], labels, given)
        else:
            about = {"labels": labels, "language_model": True}
            network = language_models.load(begin, labels, dropout=given["dropout_rate"], reinitialize=given["reinitialize_top_layer"])
    _fit(network, training, validation, about, given)
    (folders().model / "model.json").write_text(json.dumps(about))
    if begin is None:
        torch.save(network.state_dict(), folders().model / "model.pt")
    else:
        network.save(folders().model, labels)


def _own(texts: list[str], labels: list[int], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A network of the training's own words, from an earlier model of it where channel `model` has one; what `model.json` tells of it."""
    checkpoint = pretrained.read(wanted=False, off="")
    about = {"labels": labels, "words": vocabulary(texts), "dropout": given["dropout_rate"]}
    if checkpoint is not None:
        pretrained.check_same(checkpoint, about, ("labels",))
        about["words"] = checkpoint.about.get("words", about["words"])
    network = _build(about)
    if checkpoint is not None:
        own = {f"top.{name}": one for name, one in network.top.state_dict().items()}
        network.load_state_dict(checkpoint.weights | (own if given["reinitialize_top_layer"] == "True" else {}))
        report.say("Loaded the model of channel 'model'.")
    return network, about


def _build(about: dict[str, Any]) -> Any:
    return TextClassifier(len(about["words"]) + 2, len(about["labels"]), dropout=about["dropout"])


def _scores(network: Any, texts: list[str], about: dict[str, Any]) -> Any:
    """(n, classes)."""
    return network(texts if about.get("language_model") else encoded(texts, about["words"]))


def read_texts(channel: Channel) -> Texts:
    """CSV files without a header: a whole number as label, then the text."""
    texts: list[str] = []
    labels: list[int] = []
    for body in channel.bodies():
        for number, row in enumerate(csv.reader(io.StringIO(body.decode("utf-8", "replace"))), 1):
            if not row:
                continue
            try:
                labels.append(int(row[0]))
                texts.append(row[1])
            except (ValueError, IndexError):
                raise UserError(f"Line {number} of channel '{channel.name}' must have an integer label and a text.") from None
    if not texts:
        raise UserError(f"No data file found for channel '{channel.name}'. Please verify the S3 location of the channel.")
    return texts, np.array(labels, np.int64)


def _split(data: Texts, channel: Channel | None, given: dict[str, Any]) -> tuple[Texts, Texts]:
    if channel is not None:
        return data, read_texts(channel)
    order = np.random.default_rng(neural.SEED).permutation(len(data[0]))
    count = max(1, int(len(order) * given["validation_split_ratio"]))
    held, kept = order[:count].tolist(), order[count:].tolist()
    if not kept:
        raise UserError("Nothing is left to train on; lower validation_split_ratio or give more data.")
    return ([data[0][place] for place in kept], data[1][kept]), ([data[0][place] for place in held], data[1][held])


def _fit(network: Any, training: Texts, validation: Texts, about: dict[str, Any], given: dict[str, Any]) -> None:
    import torch

    rng = np.random.default_rng(neural.SEED)
    truths = [torch.from_numpy(np.searchsorted(about["labels"], labels)) for _, labels in (training, validation)]
    only_top = given["train_only_on_top_layer"]
    weights = list((network.top if only_top else network).parameters())
    steps = _optimizer(weights, given)
    warm = max(1.0, given["warmup_steps_fraction"] * given["epochs"] * (1 + (len(training[0]) - 1) // given["batch_size"]))
    patience = Patience(given["early_stopping_patience"], given["early_stopping_min_delta"], larger=True)
    done = 0
    for epoch in range(given["epochs"]):
        network.train()
        losses = []
        for picked in batches(len(training[0]), given["batch_size"], rng):
            done += 1
            for group in steps.param_groups:
                group["lr"] = given["learning_rate"] * (min(1.0, done / warm) if given["optimizer"] == "adamw" else 1.0)
            scores = _scores(network, [training[0][place] for place in picked.tolist()], about)
            loss = torch.nn.functional.cross_entropy(scores, truths[0][picked])
            steps.zero_grad()
            (loss + given["regularizers_l2"] * sum((one**2).sum() for one in network.top.parameters() if one.ndim > 1)).backward()
            steps.step()
            losses.append(float(loss.detach()))
        found = _probabilities(network, validation[0], about)
        right = float((found.argmax(1) == truths[1]).float().mean())
        missed = float(-found[torch.arange(len(found)), truths[1]].clamp(min=1e-9).log().mean())
        print(f"Epoch {epoch + 1}/{given['epochs']} - loss={np.mean(losses):.6f} - val_loss={missed:.6f} - val_accuracy={right:.6f}", flush=True)
        if patience.ends(right, network) and given["early_stopping"]:
            break
    patience.restore(network)


def _optimizer(weights: list[Any], given: dict[str, Any]) -> Any:
    import torch

    rate, eps, betas = given["learning_rate"], given["epsilon"], (given["beta_1"], given["beta_2"])
    made = {
        "adam": lambda: torch.optim.Adam(weights, rate, betas, eps),
        "adamw": lambda: torch.optim.AdamW(weights, rate, betas, eps),
        "sgd": lambda: torch.optim.SGD(weights, rate, given["momentum"]),
        "nesterov": lambda: torch.optim.SGD(weights, rate, given["momentum"], nesterov=given["momentum"] > 0),
        "rmsprop": lambda: torch.optim.RMSprop(weights, rate, given["rho"], eps),
        "adagrad": lambda: torch.optim.Adagrad(weights, rate, initial_accumulator_value=given["initial_accumulator_value"], eps=eps),
        "adadelta": lambda: torch.optim.Adadelta(weights, rate, given["rho"], eps),
    }
    return made[given["optimizer"]]()


def _probabilities(network: Any, texts: list[str], about: dict[str, Any]) -> Any:
    """(n, classes)."""
    import torch

    network.eval()
    with torch.no_grad():
        parts = [_scores(network, texts[first : first + 256], about).softmax(1) for first in range(0, len(texts), 256)]
    return torch.cat(parts)


class TextHandler(neural.NetworkHandler):
    """One text a request; the answer is a probability of each label, with the labels when it shall be verbose."""

    def build(self, about: dict[str, Any]) -> Any:
        return _build(about)

    def load(self) -> None:
        """The network, or the language model where the artifact is one."""
        self.about = json.loads((self.folder / "model.json").read_text())
        if not self.about.get("language_model"):
            super().load()
            return
        if find_spec("transformers") is None:
            raise RuntimeError(language_models.MISSING)
        from dewfall.ml.nets.language import LanguageModel

        neural.prepare()
        self.network = LanguageModel(self.folder, len(self.about["labels"])).eval()

    def invoke(self, invocation: Invocation) -> Answer:
        try:
            if media_type(invocation.content_type)[0] not in TYPES:
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use {X_TEXT}.")
            accept = choose_accept(invocation.accept, (JSON,), JSON)
            text = bytes(invocation.body).decode()
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except UnicodeDecodeError:
            return Answer("The text is not UTF-8", "text/plain", 400)
        found = _probabilities(self.network, [text], self.about)[0].tolist()
        answer: dict[str, Any] = {"probabilities": found}
        if "verbose" in media_type(invocation.accept)[1]:
            answer |= {"labels": self.about["labels"], "predicted_label": self.about["labels"][int(np.argmax(found))]}
        return Answer(write_json(answer), accept)


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(TextHandler(folders().model))
