"""What AWS's own algorithms have in common: their two commands, how a training job begins, how a model answers requests.

An algorithm's module names its training function and how its model is loaded; the rest is here.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import channels as inputs
from dewfall.images.builtin.hosts import gathered
from dewfall.images.builtin.report import say
from dewfall.images.catalog.hyperparameters import validate
from dewfall.images.contract import Channel, UserError
from dewfall.images.datasets import Table, read_table
from dewfall.images.formats import (
    CSV,
    JSON,
    JSON_LINES,
    RECORDIO,
    FormatError,
    UnsupportedFormat,
    choose_accept,
    media_type,
    read_features,
    write_predictions,
)
from dewfall.images.http import Answer, Invocation, execution_parameters
from dewfall.images.multimodel import serve_models

OFFERED = (JSON, JSON_LINES, "application/x-jsonlines", CSV, RECORDIO)
NO_TRAIN = str(inputs.missing("train"))
NO_DATA = (
    "No training data processed. Either the training channel is empty or the mini-batch size is too high. Verify that training "
    "data contains non-empty files and the mini-batch size is less than the number of records per training host."
)
Prediction = Mapping[str, Any]
Numbers = NDArray[np.float32]


class Model(Protocol):
    """A trained model: `features` columns in, a dictionary per row out; `verbose` when the Accept header asks for more."""

    @property
    def features(self) -> int: ...

    def predict(self, rows: Numbers, *, verbose: bool = False) -> Sequence[Prediction]: ...


Reader = Callable[[Model, Invocation], Any]


def run(train: Callable[[], None], load: Callable[[Path], Model], *, answer: str = "predictions", read: Reader | None = None) -> None:
    """The command line `train|serve`; `answer` is the JSON answer's member, `read` makes a request's rows (numbers, unless it is given)."""
    arguments = sys.argv[1:]
    if arguments == ["train"]:
        contract.run_training(train)
    elif arguments == ["serve"]:
        serve_models(lambda folder: ModelHandler(folder, load, answer, read))
    else:
        sys.exit("usage: train|serve")


def settings(algorithm: str) -> dict[str, Any]:
    """The job's hyperparameters, typed, with defaults; UserError in AWS's words for them and for the channels, as both are checked first."""
    try:
        found = validate(algorithm, contract.hyperparameters())
    except ValueError as error:
        raise UserError(str(error))
    inputs.check(algorithm)
    say(f"Reading provided configuration from {contract.folders().config / 'hyperparameters.json'}: {contract.hyperparameters()}")
    return found


def whole_numbers(name: str, text: str | None) -> list[int]:
    """The numbers of a hyperparameter that is a list with commas, none where it is empty."""
    try:
        return [int(number) for number in str(text or "").split(",") if number.strip()]
    except ValueError:
        raise UserError(f"{name} must be whole numbers with commas between them, such as 10,20; it is {text!r}.") from None


def train_table(*, label_size: int, feature_dim: int | str | None, default: str = RECORDIO, batch: int = 1) -> Table:
    """The rows of channel `train`, dense. Each host must have a whole batch of them, where the algorithm trains on whole ones only."""
    channels = contract.channels()
    if "train" not in channels:
        raise UserError(NO_TRAIN)
    table = dense_table(channels["train"], label_size=label_size, feature_dim=feature_dim, default=default)
    if table.rows < batch:
        raise UserError(NO_DATA)
    return gathered(table, channels["train"])


def other_table(name: str, *, label_size: int, feature_dim: int | str | None, default: str = RECORDIO) -> Table | None:
    """The rows of a channel that need not be there."""
    channel = contract.channels().get(name)
    return None if channel is None else dense_table(channel, label_size=label_size, feature_dim=feature_dim, default=default)


def dense_table(channel: Channel, *, label_size: int, feature_dim: int | str | None, default: str) -> Table:
    table = read_table(channel, label_size=label_size, default=default)
    features = table.features.toarray() if hasattr(table.features, "toarray") else np.asarray(table.features)
    if not len(features):
        raise UserError(NO_DATA)
    wanted = int(feature_dim) if feature_dim not in (None, "auto") else features.shape[1]
    if features.shape[1] < wanted and hasattr(table.features, "toarray"):
        features = np.pad(features, ((0, 0), (0, wanted - features.shape[1])))
    if features.shape[1] != wanted:
        raise UserError(_mismatch(channel, default, features.shape[1], wanted))
    if not np.isfinite(features).all():
        raise UserError(f"Unable to read data channel '{channel.name}': the data has missing or infinite values. Please verify the data.")
    return Table(np.ascontiguousarray(features, dtype=np.float32), table.labels, table.weights)


def sparse_table(name: str, *, feature_dim: int, default: str = RECORDIO, label_size: int = 1) -> Table | None:
    """The rows of a channel as a csr matrix of `feature_dim` columns; None where a channel other than train is absent."""
    from scipy.sparse import csr_matrix

    channel = contract.channels().get(name)
    if channel is None:
        if name == "train":
            raise UserError(NO_TRAIN)
        return None
    table = read_table(channel, label_size=label_size, default=default)
    rows = csr_matrix(table.features, dtype=np.float32)
    if not rows.shape[0]:
        raise UserError(NO_DATA)
    if rows.shape[1] > feature_dim or (not hasattr(table.features, "tocsr") and rows.shape[1] < feature_dim):
        raise UserError(_mismatch(channel, default, rows.shape[1], feature_dim))
    if not np.isfinite(rows.data).all():
        raise UserError(f"Unable to read data channel '{channel.name}': the data has missing or infinite values. Please verify the data.")
    found = Table(csr_matrix((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], feature_dim)), table.labels, table.weights)
    return gathered(found, channel) if name == "train" else found


def _mismatch(channel: Channel, default: str, found: int, wanted: int) -> str:
    return (
        f"Unable to read data channel '{channel.name}'. Requested content-type is '{channel.content_type or default}'. Please verify "
        f"the data matches the requested content-type. (caused by MXNetError)\n\nCaused by: the number of features in the data, "
        f"{found}, does not match hyperparameter feature_dim, {wanted}"
    )


def labels_of(table: Table, channel: str) -> NDArray[np.float64]:
    """The labels, which this algorithm needs."""
    if table.labels is None:
        raise UserError(f"Unable to read data channel '{channel}': the records have no label, which this algorithm needs.")
    labels = np.asarray(table.labels, dtype=np.float64)
    missing = np.argwhere(~np.isfinite(labels))
    if len(missing):
        raise UserError(f"Unable to read data channel '{channel}': record {missing[0][0] + 1} has no label. Please verify the data.")
    return labels


class ModelHandler:
    """A model behind /invocations; rows of requests that wait together are predicted together."""

    def __init__(self, folder: Path, load: Callable[[Path], Model], answer: str = "predictions", read: Reader | None = None) -> None:
        self.folder, self._load, self._name, self._read = folder, load, answer, read or read_dense
        self.model: Model | None = None

    def load(self) -> None:
        self.model = self._load(self.folder)

    def ping(self) -> bool:
        return True

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        return execution_parameters(method, path, 4, "MULTI_RECORD")

    def invoke(self, invocation: Invocation) -> Answer:
        return self.invoke_batch([invocation])[0]

    def invoke_batch(self, invocations: list[Invocation]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        waiting: dict[bool, list[tuple[int, str, Any]]] = {False: [], True: []}
        for place, invocation in enumerate(invocations):
            try:
                accept = choose_accept(invocation.accept, OFFERED, JSON)
                verbose = media_type(invocation.accept)[1].get("verbose") == "true"
                assert self.model is not None
                waiting[verbose].append((place, accept, self._read(self.model, invocation)))
            except UnsupportedFormat as error:
                answers[place] = Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
            except FormatError as error:
                answers[place] = Answer(str(error), "text/plain", 400)
        for verbose, group in waiting.items():
            answers.update(self._answer(group, verbose) if group else {})
        return [answers[place] for place in range(len(invocations))]

    def _answer(self, group: list[tuple[int, str, Any]], verbose: bool) -> dict[int, Answer]:
        assert self.model is not None
        predictions = self.model.predict(_stacked([rows for _, _, rows in group]), verbose=verbose)
        answers, first = {}, 0
        for place, accept, rows in group:
            mine = predictions[first : first + rows.shape[0]]
            first += rows.shape[0]
            answers[place] = Answer(write_predictions(mine, accept, name=self._name), accept)
        return answers


def _stacked(parts: list[Any]) -> Any:
    if not hasattr(parts[0], "tocsr"):
        return np.concatenate(parts)
    from scipy.sparse import vstack

    return vstack(parts, format="csr")


def read_dense(model: Model, invocation: Invocation) -> Numbers:
    """A request's rows as wide as the model; FormatError when they are not."""
    found = read_features(invocation.body, invocation.content_type)
    rows = np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float32)
    size = media_type(invocation.content_type)[1].get("label_size", "0")
    rows = rows[:, int(size) :] if size.isdigit() else rows
    if hasattr(found, "toarray") and rows.shape[1] < model.features:
        rows = np.pad(rows, ((0, 0), (0, model.features - rows.shape[1])))
    if rows.shape[1] != model.features:
        raise FormatError(f"unable to evaluate payload provided: the model was trained on {model.features} features, the request has {rows.shape[1]}")
    return rows


def read_sparse(model: Model, invocation: Invocation) -> Any:
    """The same as a csr matrix, never dense: a model may be millions of columns wide."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(read_features(invocation.body, invocation.content_type), dtype=np.float32)
    if rows.shape[1] > model.features:
        raise FormatError(f"unable to evaluate payload provided: the model was trained on {model.features} features, the request has {rows.shape[1]}")
    return csr_matrix((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], model.features))
