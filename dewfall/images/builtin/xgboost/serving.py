"""XGBoost behind /invocations: what the container's algorithm mode reads, answers and refuses.

Requests that wait together are predicted in one call; a single CSV row, the usual request, takes the shortest way.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import multimodel
from dewfall.images.builtin.xgboost import is_before_1_3, selection
from dewfall.images.builtin.xgboost.predictor import Predictor, load
from dewfall.images.formats import (
    ANY,
    CSV,
    JSON,
    JSON_LINES,
    LIBSVM,
    RECORDIO,
    X_LIBSVM,
    FormatError,
    media_type,
    read_libsvm,
    read_recordio,
    write_predictions,
)
from dewfall.images.http import Answer, Invocation, execution_parameters

SUPPORTED_ACCEPTS = [JSON, JSON_LINES, RECORDIO, CSV]
CONTENT_TYPES = {"csv": CSV, CSV: CSV, "libsvm": LIBSVM, LIBSVM: LIBSVM, X_LIBSVM: LIBSVM, "recordio-protobuf": RECORDIO, RECORDIO: RECORDIO}
DEFAULT_PAYLOAD = 6 * 1024**2
LARGEST_PAYLOAD = 20 * 1024**2
TEXT = "text/html; charset=utf-8"


class Refused(Exception):
    """A request that gets an error answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def start() -> None:
    """Serve the model of /opt/ml/model until told to stop."""
    multimodel.serve_models(XGBoostHandler)


class XGBoostHandler:
    """The model and what the environment asks of its answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.predictor: Predictor | None = None
        self.keys = selection.keys(os.environ.get("SAGEMAKER_INFERENCE_OUTPUT", ""))
        self.is_batch = bool(os.environ.get("SAGEMAKER_BATCH"))
        self.in_one_line = is_before_1_3() and not multimodel.is_wanted()
        self.default_accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
        given = os.environ.get("MAX_CONTENT_LENGTH", "")
        self.payload_limit = min(int(given), LARGEST_PAYLOAD) if given else None

    def load(self) -> None:
        self.predictor = load(self.folder)

    def ping(self) -> bool:
        return True

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        size = (self.payload_limit or DEFAULT_PAYLOAD) // 1024**2
        return execution_parameters(method, path, os.cpu_count() or 1, "MULTI_RECORD", size)

    def invoke(self, invocation: Invocation) -> Answer:
        return self.invoke_batch([invocation])[0]

    def invoke_batch(self, invocations: list[Invocation]) -> list[Answer]:
        """Answer all; the dense rows of all of them go through the trees together."""
        answers: list[Answer | None] = [None] * len(invocations)
        waiting: list[tuple[int, str, Any]] = []
        for place, invocation in enumerate(invocations):
            try:
                answers[place] = self._check(invocation)
                if answers[place] is None:
                    waiting.append((place, self._accept(invocation.accept), self._rows(invocation)))
            except Refused as refused:
                answers[place] = Answer(str(refused), TEXT, refused.status)
        for (place, accept, _), predictions in zip(waiting, self._predict([rows for _, _, rows in waiting]), strict=True):
            answers[place] = self._answer(predictions, accept)
        return [answer for answer in answers if answer is not None]

    def _check(self, invocation: Invocation) -> Answer | None:
        if not invocation.body:
            return Answer(b"", TEXT, 204)
        if self.payload_limit is not None and len(invocation.body) > self.payload_limit:
            raise Refused(413, "The data value transmitted exceeds the capacity limit.")
        return None

    def _accept(self, header: str) -> str:
        if not header or header == ANY:
            return self.default_accept
        kind = media_type(header.split(",")[0])[0]
        if kind == ANY or not kind:
            return self.default_accept
        if kind not in SUPPORTED_ACCEPTS:
            raise Refused(406, f"Accept type {kind} is not supported. Please use supported accept types: {SUPPORTED_ACCEPTS}.")
        return kind

    def _rows(self, invocation: Invocation) -> Any:
        """The request's rows, as wide as the model; one column too few is a missing one, as the container has it."""
        header = invocation.content_type
        kind = CSV if header == CSV or not header else CONTENT_TYPES.get(media_type(header)[0], "")
        if not kind:
            raise Refused(415, f"{header} is not an accepted ContentType: csv, libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, "
                               "text/x-libsvm, application/x-parquet, application/x-recordio-protobuf.")  # fmt: skip
        try:
            rows = {CSV: parse_csv, LIBSVM: read_libsvm, RECORDIO: read_recordio}[kind](invocation.body)
        except (FormatError, ValueError) as error:
            name = {CSV: "csv", LIBSVM: "libsvm", RECORDIO: "recordio-protobuf"}[kind]
            raise Refused(415, f"Loading {name} data failed with Exception, please ensure data is in {name} format:\n {type(error)}\n {error}")
        assert self.predictor is not None
        wide, model = rows.shape[1], self.predictor.features
        if wide == model:
            return rows
        if kind == LIBSVM:
            if wide > model + 1:
                self._mismatch(f"Feature size of libsvm inference data {wide} is larger than feature size of trained model {model}.")
            return _as_wide(rows, model)
        if wide != model - 1:
            name = "csv" if kind == CSV else "recordio-protobuf"
            self._mismatch(f"Feature size of {name} inference data {wide} is not consistent with feature size of trained model {model}.")
        return _as_wide(rows, model)

    @staticmethod
    def _mismatch(message: str) -> None:
        raise Refused(400, f"Unable to evaluate payload provided: {message}")

    def _predict(self, tables: list[Any]) -> list[NDArray[np.float32]]:
        assert self.predictor is not None
        if len(tables) == 1:
            return [self.predictor.predict(tables[0])]
        dense = [place for place, rows in enumerate(tables) if isinstance(rows, np.ndarray)]
        found = {place: self.predictor.predict(rows) for place, rows in enumerate(tables) if not isinstance(rows, np.ndarray)}
        if dense:
            together = self.predictor.predict(np.concatenate([tables[place] for place in dense]))
            ends = np.cumsum([len(tables[place]) for place in dense])
            found.update(zip(dense, np.split(together, ends[:-1]), strict=True))
        return [found[place] for place in range(len(tables))]

    def _answer(self, predictions: NDArray[np.float32], accept: str) -> Answer:
        if self.keys:
            return self._selected(predictions, accept)
        values = predictions.tolist()
        if accept != CSV:
            return Answer(write_predictions([{"score": value} for value in values], accept), accept)
        if self.is_batch:
            return Answer("\n".join(map(str, values)) + "\n", CSV)
        if self.in_one_line:
            return Answer(",".join(map(str, values)), CSV)
        if predictions.ndim == 1:
            return Answer("".join([f"{value!r}\n" for value in values]), CSV)
        return Answer("".join([",".join(map(repr, value)) + "\n" for value in values]), CSV)

    def _selected(self, predictions: NDArray[np.float32], accept: str) -> Answer:
        assert self.predictor is not None
        try:
            chosen = selection.select(predictions, self.keys, self.predictor.objective, self.predictor.classes)
        except ValueError as error:
            return Answer(str(error), TEXT, 500)
        if accept == CSV:
            return Answer(selection.as_csv(chosen, self.keys) + ("\n" if self.is_batch else ""), CSV)
        return Answer(write_predictions(chosen, accept), accept)


def parse_csv(body: bytes) -> NDArray[np.float32]:
    """Rows of numbers with the delimiter that the first line shows; an empty cell is missing (NaN). ValueError when a cell is no number."""
    text = body.decode().strip()
    if "\n" not in text and "," in text:
        try:
            return np.array([list(map(float, text.split(",")))], dtype=np.float32)
        except ValueError:
            pass
    lines = text.split("\n")
    delimiter = next((mark for mark in (",", ";", "\t", "|", " ") if mark in lines[0]), ",")
    rows = [[float(cell) if cell and not cell.isspace() else np.nan for cell in line.rstrip("\r").split(delimiter)] for line in lines]
    return np.array(rows, dtype=np.float32)


def _as_wide(rows: Any, width: int) -> Any:
    if isinstance(rows, np.ndarray):
        return np.concatenate([rows, np.full((len(rows), width - rows.shape[1]), np.nan, dtype=np.float32)], axis=1)
    from scipy.sparse import csr_matrix

    if rows.shape[1] > width:
        return rows[:, :width]
    return csr_matrix((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], width))
