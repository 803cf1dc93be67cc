"""The IP Insights image: how usual it is that an entity (a user, an account) comes from an IPv4 address.

The model is `model.npz`: `entities` (num_entity_vectors, vector_dim), per prefix length `known` and `prefixes`, and the layers.
"""

import csv
import io
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, report
from dewfall.images.builtin.hosts import gathered
from dewfall.images.builtin.linear_metrics import area_under_roc
from dewfall.images.contract import UserError, cluster, folders
from dewfall.images.datasets import Table
from dewfall.images.formats import CSV, JSON, JSON_LINES, FormatError, UnsupportedFormat, media_type
from dewfall.images.http import Invocation
from dewfall.ml import addresses

MOST_NEGATIVES = 500


def train() -> None:
    """Learn from channel train; after each epoch tell the pairs of channel validation from drawn and shuffled ones."""
    given = algorithm.settings("ipinsights")
    host = cluster().current_host
    negatives = given["random_negative_sampling_rate"] + given["shuffled_negative_sampling_rate"]
    if not 1 <= negatives <= MOST_NEGATIVES:
        raise UserError(
            f"The sum of random_negative_sampling_rate and shuffled_negative_sampling_rate must be from 1 to {MOST_NEGATIVES}, it is {negatives}."
        )
    seen = _channel("train", given["num_entity_vectors"])
    assert seen is not None
    channel = contract.channels()["train"]
    seen = gathered(Table(seen), channel).features
    held = _channel("validation", given["num_entity_vectors"])

    def watch(epoch: int, encoder: addresses.Encoder) -> None:
        if held is not None:
            report.quality(host, "validation discriminator_auc", discriminator_auc(encoder, held, given), epoch=epoch)
        report.progress(host, 100 * (epoch + 1) // given["epochs"])

    encoder = addresses.fit(seen[:, 0].astype(np.intp), seen[:, 1].astype(np.uint32), _settings(given), watch=watch)
    if held is not None:
        report.final(host, "validation", "discriminator_auc", discriminator_auc(encoder, held, given))
    _save(encoder, folders().model)


def _settings(given: dict[str, Any]) -> addresses.Settings:
    return addresses.Settings(
        given["num_entity_vectors"],
        given["vector_dim"],
        given["epochs"],
        given["mini_batch_size"],
        given["learning_rate"],
        given["num_ip_encoder_layers"],
        given["random_negative_sampling_rate"],
        given["shuffled_negative_sampling_rate"],
        given["weight_decay"],
    )


def discriminator_auc(encoder: addresses.Encoder, held: NDArray[np.int64], given: dict[str, Any]) -> float:
    """The area under the curve of telling real pairs from negative ones, the same negatives each time."""
    rng = np.random.default_rng(1)
    rates = given["random_negative_sampling_rate"], given["shuffled_negative_sampling_rate"]
    entities, places, labels = addresses.pairs(held[:, 0].astype(np.intp), held[:, 1].astype(np.uint32), *rates, rng)
    return area_under_roc(addresses.scores(encoder, entities, places).astype(np.float64), labels.astype(np.float64))


def _channel(name: str, rows: int) -> NDArray[np.int64] | None:
    """(n, 2) entity rows and addresses of a channel; None where one other than train is absent."""
    channel = contract.channels().get(name)
    if channel is None:
        if name == "train":
            raise UserError(algorithm.NO_TRAIN)
        return None
    try:
        found = [pair for body in channel.bodies() for pair in _csv_pairs(body)]
        if not found:
            raise UserError(algorithm.NO_DATA)
        return _numbers(found, rows)
    except FormatError as error:
        raise UserError(f"Unable to read data channel '{name}'. Please verify the data: {error}") from None


def _csv_pairs(body: bytes) -> list[list[str]]:
    try:
        found = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(body.decode())) if line]
    except UnicodeDecodeError as error:
        raise FormatError(f"The CSV is not UTF-8: {error}") from None
    wrong = next((line for line in found if len(line) != 2), None)
    if wrong is not None:
        raise FormatError(f"each record needs two columns, an entity and an IPv4 address, found {len(wrong)}: {','.join(wrong)[:100]}")
    return found


def _numbers(pairs: Sequence[Sequence[str]], rows: int) -> NDArray[np.int64]:
    known: dict[str, int] = {}
    for _, text in pairs:
        if text not in known:
            known[text] = _address(text)
    entities = addresses.place([name for name, _ in pairs], rows)
    return np.column_stack([entities, np.array([known[text] for _, text in pairs], np.int64)])


def _address(text: str) -> int:
    try:
        return int(ipaddress.IPv4Address(text))
    except ipaddress.AddressValueError:
        raise FormatError(f"'{text}' is not an IPv4 address") from None


def _save(encoder: addresses.Encoder, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"entities": encoder.entities}
    for length, known, table in zip(addresses.PREFIXES, encoder.known, encoder.prefixes, strict=True):
        arrays |= {f"known_{length}": known, f"prefixes_{length}": table}
    for number, (weights, bias) in enumerate(encoder.layers):
        arrays |= {f"weights_{number}": weights, f"bias_{number}": bias}
    np.savez(folder / "model.npz", **arrays)


class IpInsightsModel:
    features = 2

    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            known = [arrays[f"known_{length}"] for length in addresses.PREFIXES]
            prefixes = [arrays[f"prefixes_{length}"] for length in addresses.PREFIXES]
            count = sum(name.startswith("weights_") for name in arrays.files)
            layers = [(arrays[f"weights_{number}"], arrays[f"bias_{number}"]) for number in range(count)]
            self.encoder = addresses.Encoder(arrays["entities"], known, prefixes, layers)

    def predict(self, rows: NDArray[Any], *, verbose: bool = False) -> list[dict[str, Any]]:
        vectors, places = self.encoder.entities[rows[:, 0]], addresses.encode(self.encoder, rows[:, 1].astype(np.uint32))
        products = np.einsum("nd,nd->n", vectors, places).tolist()
        if not verbose:
            return [{"dot_product": product} for product in products]
        both = zip(products, vectors.tolist(), places.tolist(), strict=True)
        return [{"dot_product": product, "entity_embedding": entity, "ip_embedding": address} for product, entity, address in both]


def read_pairs(model: Any, invocation: Invocation) -> NDArray[np.int64]:
    """A request's pairs, (n, 2) entity rows and addresses, from CSV, JSON or JSON lines."""
    kind = media_type(invocation.content_type)[0] if invocation.content_type else CSV
    rows = len(model.encoder.entities)
    if kind == CSV:
        return _numbers(_csv_pairs(bytes(invocation.body)), rows)
    if kind not in (JSON, JSON_LINES, "application/x-jsonlines"):
        raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported")
    try:
        text = bytes(invocation.body).decode()
        instances = json.loads(text)["instances"] if kind == JSON else [json.loads(line) for line in text.splitlines() if line.strip()]
        found = [_instance(instance) for instance in instances]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"unable to evaluate payload provided: {error!r}") from None
    return _numbers(found, rows)


def _instance(instance: Any) -> list[str]:
    features = instance["data"]["features"]["values"] if "data" in instance else instance["features"]
    if len(features) != 2:
        raise FormatError(f"each instance needs an entity and an IPv4 address, found {len(features)} values")
    return [str(value).strip() for value in features]


def load(folder: Path) -> IpInsightsModel:
    return IpInsightsModel(folder / "model.npz")


if __name__ == "__main__":
    algorithm.run(train, load, read=read_pairs)
