"""The NTM image: topics of documents by a variational autoencoder; the answer is each document's topic weights.

The model is `model.pt`, a state dictionary of dewfall.ml.nets.topics.TopicModel, and `model.json`, how it was built.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, report
from dewfall.images.contract import UserError, cluster, folders
from dewfall.ml.nets.fitting import Patience, batches, optimizer
from dewfall.ml.nets.topics import TopicModel, uniqueness

TOP_WORDS = 20


def train() -> None:
    """Train until the loss of channel validation (else of train) stays; tell topics when a vocabulary is there."""
    given = algorithm.settings("ntm")
    torch = neural.prepare()
    width = given["feature_dim"]
    rows = algorithm.train_table(label_size=0, feature_dim=width).features
    held = {name: algorithm.other_table(name, label_size=0, feature_dim=width) for name in ("validation", "test")}
    if (rows < 0).any():
        raise UserError("The training data has negative values; NTM needs counts of words.")
    words = _vocabulary(width)
    about = {"vocabulary": width, "topics": given["num_topics"], "layers": _layers(given)}
    about |= {"activation": given["encoder_layers_activation"], "batch_norm": given["batch_norm"]}
    network = TopicModel(**about)
    validation = held["validation"]
    _fit(network, rows, validation.features if validation is not None else None, given)
    if held["test"] is not None:
        report.final(cluster().current_host, "test", "total_loss", _measure(network, held["test"].features, given["mini_batch_size"])[0])
    if words:
        _tell_topics(network, words)
    folders().model.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folders().model / "model.pt")
    (folders().model / "model.json").write_text(json.dumps(about))


def _layers(given: dict[str, Any]) -> list[int]:
    if given["encoder_layers"] == "auto":
        return [3 * given["num_topics"], 2 * given["num_topics"]]
    try:
        found = [int(size) for size in str(given["encoder_layers"]).strip("[]").split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UserError("encoder_layers must be 'auto' or a comma-separated list of positive integers.")
    return found


def _fit(network: Any, rows: NDArray[Any], validation: NDArray[Any] | None, given: dict[str, Any]) -> None:
    import torch

    host, rng = cluster().current_host, np.random.default_rng(neural.SEED)
    steps = optimizer(given["optimizer"], network.parameters(), given["learning_rate"], decay=given["weight_decay"])
    patience = Patience(given["num_patience_epochs"], given["tolerance"], relative=True)
    shown = rows
    for epoch in range(given["epochs"]):
        if given["sub_sample"] < 1:
            shown = rows[rng.permutation(len(rows))[: max(1, int(len(rows) * given["sub_sample"]))]]
        network.train()
        for picked in batches(len(shown), given["mini_batch_size"], rng):
            if len(picked) < 2 and given["batch_norm"]:
                continue
            reconstruction, divergence = network.losses(torch.from_numpy(shown[picked]))
            steps.zero_grad()
            ((reconstruction + divergence) * given["rescale_gradient"]).backward()
            if given["clip_gradient"] is not None:
                torch.nn.utils.clip_grad_value_(network.parameters(), given["clip_gradient"])
            steps.step()
        watched = _report_epoch(network, shown, validation, given["mini_batch_size"], epoch)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
        if patience.ends(watched, network):
            report.say("patience losses over, early stopping")
            break
    patience.restore(network)


def _report_epoch(network: Any, rows: NDArray[Any], validation: NDArray[Any] | None, size: int, epoch: int) -> float:
    """Tell an epoch's losses; returns the one that stopping looks at."""
    host, found = cluster().current_host, 0.0
    report.say(f"# Finished training epoch {epoch + 1} on {len(rows)} examples from {-(-len(rows) // size)} batches, each of size {size}.")
    for name, table in (("train", rows), ("validation", validation)):
        if table is not None:
            found, reconstruction, divergence = _measure(network, table, size)
            report.quality(host, f"{name} total_loss", found, epoch=epoch + 1)
            report.say(f"Loss ({name}) reconstruction: {reconstruction}, kld: {divergence}, total: {found}")
    return found


def _measure(network: Any, rows: NDArray[Any], size: int) -> tuple[float, float, float]:
    """(total, reconstruction, Kullback-Leibler) per document."""
    import torch

    network.eval()
    total = np.zeros(2)
    with torch.no_grad():
        for picked in batches(len(rows), max(size, 256)):
            total += len(picked) * np.array([float(loss) for loss in network.losses(torch.from_numpy(rows[picked]))])
    reconstruction, divergence = (total / len(rows)).tolist()
    return reconstruction + divergence, reconstruction, divergence


def _vocabulary(width: int) -> list[str]:
    """The words of vocab.txt in channel auxiliary, where it is."""
    channel = contract.channels().get("auxiliary")
    files = [path for path in channel.files() if path.name == "vocab.txt"] if channel is not None else []
    words = files[0].read_text("utf-8", "replace").splitlines() if files else []
    if files and len(words) != width:
        raise UserError(f"vocab.txt has {len(words)} words, which is not feature_dim, {width}.")
    return words


def _tell_topics(network: Any, words: list[str]) -> None:
    """The topics' words, with topic uniqueness, without AWS's word embedding coherence."""
    tops = network.topics().argsort(dim=1, descending=True)[:, :TOP_WORDS].tolist()
    own = uniqueness(tops)
    report.say(f"Topics from epoch:final (num_topics:{len(tops)}) [tu {sum(own) / len(own):.2f}]:")
    for top, unique in zip(tops, own, strict=True):
        report.say(f"[{unique:.2f}] {' '.join(words[place] for place in top)}")


class NtmModel:
    """The trained network behind /invocations."""

    def __init__(self, folder: Path) -> None:
        torch = neural.prepare()
        about = json.loads((folder / "model.json").read_text())
        self.features = int(about["vocabulary"])
        self.network = TopicModel(**about)
        self.network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        self.network.eval()

    def predict(self, rows: algorithm.Numbers, *, verbose: bool = False) -> list[dict[str, Any]]:
        import torch

        with torch.no_grad():
            return [{"topic_weights": row} for row in self.network.weights(torch.from_numpy(np.ascontiguousarray(rows))).tolist()]


def main() -> None:
    algorithm.run(train, NtmModel)
