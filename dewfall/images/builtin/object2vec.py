"""The Object2Vec image: pairs of token sequences with a label; answers are scores of pairs, or vectors of either side.

The model is `model.pt`, a state dictionary of dewfall.ml.nets.pairs.PairModel, and `model.json`, how it was built.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, neural, report
from dewfall.images.builtin.object2vec_serving import Object2VecHandler, padded
from dewfall.images.contract import Channel, UserError, cluster, folders
from dewfall.images.http import serve
from dewfall.ml.nets.fitting import Patience, batches, optimizer
from dewfall.ml.nets.pairs import AUTO_LAYERS, PairModel

COMPARATORS = ("hadamard", "concat", "abs_diff")
LAZY = ("adam", "adagrad", "sgd")  # optimizers that know rows without a gradient
OWN = ("network", "layers", "cnn_filter_width", "token_embedding_dim", "max_seq_len", "vocab_size", "vocab_file", "pretrained_embedding_file")
FROZEN = "freeze_pretrained_embedding"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Token lists of either side, and a label each."""

    first: list[list[int]]
    second: list[list[int]]
    labels: NDArray[np.float32]


def train() -> None:
    """Train on channel train, stop by channel validation (else by the training loss), measure channel test."""
    given = algorithm.settings("object2vec")
    torch = neural.prepare()
    channels = contract.channels()
    if "train" not in channels:
        raise UserError(algorithm.NO_TRAIN)
    about = _about(given)
    sets: dict[str, Pairs] = {name: read_pairs(channels[name], about) for name in ("train", "validation", "test") if name in channels}
    network = PairModel(**about["network"])
    _embed(network, given, channels.get("auxdata"))
    _fit(network, sets, about, given)
    if "test" in sets:
        for name, value in measure(network, sets["test"], about).items():
            report.quality(cluster().current_host, f"test {name}", value)
    folders().model.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folders().model / "model.pt")
    (folders().model / "model.json").write_text(json.dumps(about))


def _about(given: dict[str, Any]) -> dict[str, Any]:
    """How the network is built, and how long its inputs may be."""
    sides = [{name: given[f"enc0_{name}"] for name in OWN}]
    same = given["enc1_network"] == "enc0"
    sides.append({name: given[f"enc{0 if same and name not in ('max_seq_len', 'vocab_size') else 1}_{name}"] for name in OWN})
    for name in ("max_seq_len", "vocab_size"):
        if sides[1][name] is None:
            sides[1][name] = sides[0][name]
    comparators = [name.strip() for name in given["comparator_list"].split(",")]
    if not comparators or not set(comparators) <= set(COMPARATORS):
        raise UserError(f"comparator_list must be a combination of {', '.join(COMPARATORS)}; it is '{given['comparator_list']}'.")
    if given["token_embedding_storage_type"] == "row_sparse" and given["optimizer"] not in LAZY:
        raise UserError(f"token_embedding_storage_type 'row_sparse' needs one of the optimizers {', '.join(LAZY)}, not {given['optimizer']}.")
    if given["tied_token_embedding_weight"] and sides[0]["vocab_size"] != sides[1]["vocab_size"]:
        raise UserError("tied_token_embedding_weight needs enc0_vocab_size and enc1_vocab_size to be the same.")
    widths = [side["token_embedding_dim"] if side["network"] == "pooled_embedding" else given["enc_dim"] for side in sides]
    if widths[0] != widths[1]:
        raise UserError(f"The encodings of enc0 and enc1 must have the same dimension; they have {widths[0]} and {widths[1]}.")
    is_softmax = given["output_layer"] == "softmax"
    network = {
        "encoders": [_encoder(side) for side in sides],
        "tied": given["tied_token_embedding_weight"],
        "dim": given["enc_dim"],
        "comparators": comparators,
        "mlp_layers": given["mlp_layers"],
        "mlp_dim": given["mlp_dim"],
        "activation": given["mlp_activation"],
        "outputs": given["num_classes"] if is_softmax else 1,
        "dropout": given["dropout"],
    }
    return {"network": network, "softmax": is_softmax, "lengths": [side["max_seq_len"] for side in sides]}


def _encoder(side: dict[str, Any]) -> dict[str, Any]:
    layers = AUTO_LAYERS[side["network"]] if side["layers"] == "auto" else side["layers"]
    names = {"vocabulary": "vocab_size", "token_dim": "token_embedding_dim", "filter_width": "cnn_filter_width", "network": "network"}
    return {ours: side[theirs] for ours, theirs in names.items()} | {"layers": layers}


def read_pairs(channel: Channel, about: dict[str, Any]) -> Pairs:
    """JSON lines `{"label", "in0", "in1"}`. UserError names the line that is wrong."""
    first, second, labels = [], [], []
    sizes = [encoder["vocabulary"] for encoder in about["network"]["encoders"]]
    for body in channel.bodies():
        for number, line in enumerate(body.splitlines(), 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                sides = [[int(token) for token in _listed(record[name])] for name in ("in0", "in1")]
                labels.append(float(record["label"]))
            except (ValueError, KeyError, TypeError):
                raise UserError(f"Line {number} of channel '{channel.name}' must be a JSON object with label, in0 and in1, lists of integers.")
            if any(token < 0 or token >= size for side, size in zip(sides, sizes, strict=True) for token in side):
                raise UserError(f"Line {number} of channel '{channel.name}' has a token outside of the vocabulary sizes {sizes}.")
            first.append(sides[0])
            second.append(sides[1])
    if not labels:
        raise UserError(f"No data found in channel '{channel.name}'. Please verify the S3 location of the channel.")
    marks = np.array(labels, np.float32)
    classes = about["network"]["outputs"]
    if about["softmax"] and ((marks < 0) | (marks >= classes) | (marks != np.round(marks))).any():
        raise UserError(f"The labels of channel '{channel.name}' must be integers from 0 to num_classes - 1, {classes - 1}.")
    return Pairs(first, second, marks)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _embed(network: Any, given: dict[str, Any], channel: Channel | None) -> None:
    """Pretrained token vectors of channel auxdata: lines `token number …`, a vocabulary file maps tokens to ids."""
    import torch

    for place in (0, 1):
        source = 0 if place == 1 and given["enc1_network"] == "enc0" else place
        file, words = given[f"enc{source}_pretrained_embedding_file"], given[f"enc{source}_vocab_file"]
        if not file:
            continue
        paths = {path.name: path for path in channel.files()} if channel is not None else {}
        if file not in paths or words not in paths:
            raise UserError(f"Channel auxdata needs the files '{file}' and '{words}' of enc{source}_pretrained_embedding_file and _vocab_file.")
        table = network.encoders[place].table
        try:
            ids = json.loads(paths[words].read_text())
            with torch.no_grad():
                for line in paths[file].read_text().splitlines():
                    token, *numbers = line.split(" ")
                    if token in ids and len(numbers) == table.embedding_dim:
                        table.weight[int(ids[token])] = torch.tensor([float(number) for number in numbers])
        except (ValueError, TypeError, KeyError, IndexError):
            message = f"'{words}' must be a JSON object from tokens to integers below enc{source}_vocab_size"
            raise UserError(f"{message}, '{file}' lines of a token and its numbers with spaces between them.") from None
        table.weight.requires_grad_(not given[f"enc{source}_{FROZEN}"])


def _fit(network: Any, sets: dict[str, Pairs], about: dict[str, Any], given: dict[str, Any]) -> None:
    host, rng = cluster().current_host, np.random.default_rng(neural.SEED)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    steps = optimizer(given["optimizer"], weights, given["learning_rate"], decay=given["weight_decay"])
    patience = Patience(given["early_stopping_patience"], given["early_stopping_tolerance"], relative=True)
    loss_name = "cross_entropy" if about["softmax"] else "mean_squared_error"
    for epoch in range(given["epochs"]):
        network.train()
        shown = _with_negatives(sets["train"], given["negative_sampling_rate"], rng)
        for picked in batches(len(shown.labels), given["mini_batch_size"], rng):
            loss = _loss(_scores(network, shown, picked, about), shown.labels[picked], about)
            steps.zero_grad()
            loss.backward()
            steps.step()
        watched = 0.0
        for name in ("train", "validation"):
            if name in sets:
                found = measure(network, shown if name == "train" else sets[name], about)
                watched = found[loss_name]
                for metric, value in found.items():
                    report.quality(host, f"{name} {metric}", value, epoch=epoch)
        report.say(f"Completed Epoch: {epoch}")
        report.progress(host, 100 * (epoch + 1) // given["epochs"])
        if patience.ends(watched, network):
            report.say(f"Early stopping criterion met after epoch {epoch}.")
            break
    patience.restore(network)


def _with_negatives(pairs: Pairs, rate: int, rng: np.random.Generator) -> Pairs:
    """With `rate` pairs of strangers, labelled 0, for each pair."""
    if not rate:
        return pairs
    count = len(pairs.labels)
    others = rng.integers(0, count, count * rate)
    first = pairs.first + [pairs.first[place % count] for place in range(count * rate)]
    labels = np.concatenate([pairs.labels, np.zeros(count * rate, np.float32)])
    return Pairs(first, pairs.second + [pairs.second[place] for place in others], labels)


def _scores(network: Any, pairs: Pairs, picked: NDArray[np.intp], about: dict[str, Any]) -> Any:
    sides: Sequence[list[list[int]]] = (pairs.first, pairs.second)
    encoders = about["network"]["encoders"]
    tensors = [
        padded([side[place] for place in picked], encoder["vocabulary"], length)
        for side, encoder, length in zip(sides, encoders, about["lengths"], strict=True)
    ]
    return network(*tensors)


def _loss(scores: Any, labels: NDArray[np.float32], about: dict[str, Any]) -> Any:
    import torch
    from torch.nn import functional

    truth = torch.from_numpy(labels)
    return functional.cross_entropy(scores, truth.long()) if about["softmax"] else functional.mse_loss(scores[:, 0], truth)


def measure(network: Any, pairs: Pairs, about: dict[str, Any]) -> dict[str, float]:
    """accuracy and cross_entropy, or mean_squared_error."""
    import torch

    network.eval()
    with torch.no_grad():
        scores = torch.cat([_scores(network, pairs, picked, about) for picked in batches(len(pairs.labels), 512)])
    loss = float(_loss(scores, pairs.labels, about))
    if not about["softmax"]:
        return {"mean_squared_error": loss}
    return {"accuracy": float((scores.argmax(1).numpy() == pairs.labels).mean()), "cross_entropy": loss}


def main() -> None:
    if sys.argv[1:] == ["train"]:
        contract.run_training(train)
    else:
        serve(Object2VecHandler(folders().model))
