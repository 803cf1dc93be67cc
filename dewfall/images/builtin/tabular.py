"""Tables as JumpStart's tabular algorithms have them: label first in CSV files, categories named in a file, answers as probabilities.

LightGBM, CatBoost, AutoGluon and TabTransformer share the layout of data and the answers; each brings its model.
"""

import csv
import functools
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.contract import UserError
from dewfall.images.formats import (
    CSV,
    JSON,
    JSON_LINES,
    FormatError,
    UnsupportedFormat,
    choose_accept,
    media_type,
    read_features,
    read_number_table,
    write_json,
)
from dewfall.images.http import Answer, Invocation
from dewfall.images.multimodel import serve_models

CATEGORIES_FILE = "categorical_index.json"
VALIDATION_SHARE = 0.2
TASKS = {"classification": "probabilities", "regression": "prediction"}
SEED = 42


@dataclass(frozen=True, slots=True)
class Data:
    """rows (n, d) with NaN where a cell is empty, labels (n,), the columns that are categories."""

    rows: NDArray[np.float64]
    labels: NDArray[np.float64]


class Model(Protocol):
    """A trained model: how many features it takes, its task, its classes in the order of its probabilities."""

    features: int
    task: str
    labels: list[Any]

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) numbers, or (n, classes) probabilities."""


def run(train: Callable[[], None], load: Callable[[Path], Model]) -> None:
    """The command line `train|serve`."""
    arguments = sys.argv[1:]
    if arguments == ["train"]:
        contract.run_training(train)
    elif arguments == ["serve"]:
        serve_models(lambda folder: TabularHandler(folder, load))
    else:
        sys.exit("usage: train|serve")


def find_task(given: str, setting: str, labels: NDArray[np.float64]) -> str:
    """classification or regression: as given, else as the environment's `setting` says, else by the labels."""
    if given and given != "auto":
        return given
    return os.environ.get(setting, "") or _detect(labels)


def read_data() -> tuple[Data, Data, list[int]]:
    """Rows to train on, rows to judge by (a fifth of the first when there are none), and the columns that are categories."""
    channels = contract.channels()
    home = channels.get("training") or channels.get("train")
    if home is None:
        raise UserError("Missing required channel: training")
    if home.input_mode == "Pipe":
        raise UserError("'Pipe' is not one of ['File', 'FastFile']: this algorithm reads files.")
    folder = home.path / "train" if (home.path / "train").is_dir() else home.path
    rows = _table(folder)
    held = channels["validation"].path if "validation" in channels else home.path / "validation"
    categories = _categories(folder) or _categories(home.path)
    wrong = [place + 1 for place in categories if not 0 <= place < rows.rows.shape[1]]
    if wrong:
        message = f"{CATEGORIES_FILE} names columns that the data does not have: {wrong}. 0 is the label's column, so there are"
        raise UserError(f"{message} 1 to {rows.rows.shape[1]}.")
    if held.is_dir() and _files(held):
        return rows, _as_wide(_table(held), rows), categories
    if len(rows.labels) < 2:
        raise UserError("The training data has one row. Without validation data, of which it keeps a part, it needs at least two.")
    order = np.random.default_rng(SEED).permutation(len(rows.labels))
    is_held = np.zeros(len(order), dtype=bool)
    is_held[order[: max(1, int(len(order) * VALIDATION_SHARE))]] = True
    return _taken(rows, ~is_held), _taken(rows, is_held), categories


def _as_wide(held: Data, rows: Data) -> Data:
    ours, theirs = held.rows.shape[1], rows.rows.shape[1]
    if ours != theirs:
        raise UserError(f"The validation data has {ours} features, the training data {theirs}: both must have the same columns.")
    return held


def _taken(data: Data, rows: NDArray[np.bool_]) -> Data:
    return Data(data.rows[rows], data.labels[rows])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", "_")) and path.suffix != ".json")


def _table(folder: Path) -> Data:
    files = _files(folder) if folder.is_dir() else []
    if not files:
        raise UserError(f"No data file found in {folder}. Please put CSV files there, the label in the first column, without a header.")
    parts = [_numbers(path) for path in files]
    if len({part.shape[1] for part in parts}) > 1 or parts[0].shape[1] < 2:
        raise UserError(f"The CSV files in {folder} must have the same number of columns, a label and at least one feature.")
    table = np.concatenate(parts) if len(parts) > 1 else parts[0]
    missing = np.flatnonzero(~np.isfinite(table[:, 0]))
    if len(missing):
        raise UserError(f"Row {missing[0] + 1} of the CSV files in {folder} has no label: the first column must be a number in every row.")
    return Data(table[:, 1:], table[:, 0])


def _numbers(path: Path) -> NDArray[np.float64]:
    body = path.read_bytes()
    quick = read_number_table(body, ",", np.float64)
    if quick is not None:
        return quick
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    first = next(iter(csv.reader(io.StringIO(body.partition(b"\n")[0].decode("utf-8", "replace").strip()))), [])
    if not first:
        raise UserError(f"{path.name} is empty, or its first line is. CSV files begin with a row, the label in its first column.")
    columns = [str(place) for place in range(len(first))]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(column_names=columns),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.float64()), null_values=["", "NA", "nan", "NaN", "null"]),
        )
    except pa.ArrowInvalid as error:
        raise UserError(f"{path.name} is not a CSV file of numbers without a header: {error}")
    return np.column_stack([column.to_numpy() for column in table.columns])


def _categories(folder: Path) -> list[int]:
    """Features that hold categories, from 0. The file counts columns, of which 0 is the label; its key may be any, as AWS says."""
    path = folder / CATEGORIES_FILE
    if not path.is_file():
        return []
    try:
        return [int(index) - 1 for index in next(iter(json.loads(path.read_text()).values()), [])]
    except (ValueError, TypeError, AttributeError):
        raise UserError(f'{path.name} must be a JSON object like {{"cat_index_list": [1, 3]}}, the list one of whole numbers.') from None


def _detect(labels: NDArray[np.float64]) -> str:
    """Labels that are just the integers 0..n-1 are classes."""
    kinds = np.unique(labels)
    return "classification" if len(kinds) > 1 and np.array_equal(kinds, np.arange(len(kinds))) else "regression"


def encode(labels: NDArray[np.float64], kinds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Labels as places in `kinds`; as they are when there are none."""
    return np.searchsorted(kinds, labels).astype(np.float64) if len(kinds) else labels


def write_about(folder: Path, task: str, kinds: NDArray[np.float64], features: int) -> None:
    """`task.json`: the task, its classes and how many features a row has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.json").write_text(json.dumps({"task": task, "labels": kinds.tolist(), "features": features}))


def read_about(folder: Path) -> tuple[str, list[Any], int]:
    """(task, classes, features) of `task.json`; ("", [], 0) without one."""
    path = folder / "task.json"
    about = json.loads(path.read_text()) if path.exists() else {}
    labels = [int(label) if float(label).is_integer() else label for label in about.get("labels", [])]
    return about.get("task", ""), labels, int(about.get("features", 0))


class TabularHandler:
    """The model behind /invocations."""

    def __init__(self, folder: Path, load: Callable[[Path], Model]) -> None:
        self.folder, self._load = folder, load
        self.model: Model | None = None

    def load(self) -> None:
        self.model = self._load(self.folder)

    def ping(self) -> bool:
        return True

    def invoke(self, invocation: Invocation) -> Answer:
        assert self.model is not None
        try:
            accepted(invocation.accept)
            rows = read_rows(invocation.body, invocation.content_type, self.model.features)
        except (FormatError, UnsupportedFormat) as error:
            return _refusal(error)
        return answer(self.model, self.model.predict(rows), invocation.accept)

    def invoke_batch(self, invocations: list[Invocation]) -> list[Answer]:
        assert self.model is not None
        answers: dict[int, Answer] = {}
        waiting: list[tuple[int, NDArray[np.float64]]] = []
        for place, invocation in enumerate(invocations):
            try:
                accepted(invocation.accept)
                waiting.append((place, read_rows(invocation.body, invocation.content_type, self.model.features)))
            except (FormatError, UnsupportedFormat) as error:
                answers[place] = _refusal(error)
        if waiting:
            found = self.model.predict(np.concatenate([rows for _, rows in waiting]))
            ends = np.cumsum([len(rows) for _, rows in waiting])[:-1]
            for (place, _), part in zip(waiting, np.split(found, ends), strict=True):
                answers[place] = answer(self.model, part, invocations[place].accept)
        return [answers[place] for place in range(len(invocations))]


def read_rows(body: bytes, content_type: str, features: int) -> NDArray[np.float64]:
    """The request's rows as wide as the model. FormatError, UnsupportedFormat."""
    rows: NDArray[np.float64] = np.asarray(read_features(body, content_type, dtype=np.float64), dtype=np.float64)
    if rows.shape[1] != features:
        raise FormatError(f"The model was trained on {features} features, the request has {rows.shape[1]}")
    return rows


@functools.lru_cache(maxsize=256)
def accepted(accept: str) -> tuple[str, bool]:
    """The content type to answer in, and whether with labels. UnsupportedFormat."""
    return choose_accept(accept, (JSON, JSON_LINES, CSV), JSON), "verbose" in media_type(accept)[1]


def _refusal(error: FormatError | UnsupportedFormat) -> Answer:
    status = 400 if isinstance(error, FormatError) else 406 if str(error).startswith("Accept") else 415
    return Answer(str(error), "text/plain", status)


def answer(model: Model, found: NDArray[np.float64], accept: str) -> Answer:
    """Predictions in the type that Accept names; `application/json;verbose` adds labels."""
    kind, verbose = accepted(accept)
    if kind == CSV:
        table = found if found.ndim == 2 else found[:, None]
        return Answer("".join(",".join(map(repr, row)) + "\n" for row in table.tolist()), CSV)
    body = write_json(document(model, found, verbose=verbose))
    return Answer(body + (b"\n" if kind == JSON_LINES else b""), kind)


def document(model: Model, found: NDArray[np.float64], *, verbose: bool) -> dict[str, Any]:
    """The JSON answer; a verbose one names the classes and the likeliest of each row."""
    body: dict[str, Any] = {TASKS[model.task]: found.tolist()}
    if verbose and model.task == "classification":
        names = model.labels or list(range(found.shape[1]))
        body |= {"labels": names, "predicted_label": [names[index] for index in found.argmax(axis=1)]}
    return body
