"""A request to an endpoint with an explainer: the model's answer first, then which records to explain, then their SHAP values.

An answer is AWS's: predictions as the model gave them, and per record the attributions of its features, or null where
EnableExplanations (evaluated on the model's answer for the record) is false. A server of many models is asked for the one that the
request names; what loads and unloads its models passes through.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from dewfall.images.clarify import texts
from dewfall.images.clarify.config import CSV
from dewfall.images.clarify.requests import Form
from dewfall.images.contract import UserError
from dewfall.images.explainer import records
from dewfall.images.explainer.model import Model, Reply
from dewfall.images.http import Answer, Invocation
from dewfall.ml.explain import kernel_shap

CONFIG, BASELINE = "DEWFALL_EXPLAINER", "DEWFALL_EXPLAINER_BASELINE"  # name the files
ENABLE = "x-amzn-sagemaker-enable-explanations"
ROWS = 2_000  # of a request to the model at most
RETURNED = ("x-amzn-sagemaker-custom-attributes",)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request, and each one with synthetic records, goes: the model's path and what it is told."""

    path: str
    headers: Mapping[str, str]


def make_handler(addresses: list[str]) -> Explainer:
    """The explainer of this container. Raises UserError for a configuration that cannot work."""
    config = json.loads(Path(os.environ[CONFIG]).read_text())
    return Explainer(config, Path(os.environ[BASELINE]).read_text(), Model(addresses))


class Explainer:
    """Answers requests with the model's predictions and their explanations."""

    def __init__(self, config: dict[str, Any], baseline: str, model: Model) -> None:
        shap = config["ShapConfig"]
        self.inference = records.read_inference(config.get("InferenceConfig") or {})
        self.enable = str(config.get("EnableExplanations") or "`true`")
        self.settings = {
            "num_samples": shap.get("NumberOfSamples"),
            "use_logit": bool(shap.get("UseLogit", False)),
            "seed": int(shap.get("Seed") or 0),
        }
        self.granularity = (shap.get("TextConfig") or {}).get("Granularity", "")
        kind = records.kind_of(shap["ShapBaselineConfig"].get("MimeType") or CSV, "MimeType")
        self.baseline = records.as_table(records.read_features(baseline, kind, self.inference), "The SHAP baseline")
        self._model = model
        self._one_by_one: set[str] = set()  # the models, by their paths, that have refused several records at once

    def ping(self) -> bool:
        """Whether the model is healthy."""
        return self._model.ping()

    def invoke(self, invocation: Invocation) -> Answer:
        """Predictions and explanations; the model's own error as it is."""
        return self._answer(invocation, "/invocations")

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        """What is asked of a server of many models."""
        if not f"{path}/".startswith("/models/"):
            return None
        if method == "POST" and path.endswith("/invoke"):
            return self._answer(invocation, path)
        try:
            if (method, path) == ("GET", "/models"):
                return self._list()
            reply = self._model.ask(method, path, invocation.body, invocation.headers)
        except (OSError, http.client.HTTPException) as error:
            return _silent(error)
        return Answer(reply.body, reply.content_type or "application/json", reply.status)

    def _list(self) -> Answer:
        """All pages of what is loaded."""
        models: list[Any] = []
        token = ""
        while True:
            path = f"/models?next_page_token={quote(token)}" if token else "/models"
            reply = self._model.ask("GET", path, b"", {})
            if not 200 <= reply.status < 300:
                return Answer(reply.body, reply.content_type or "application/json", reply.status)
            page = json.loads(reply.body)
            models += page.get("models", ())
            token = str(page.get("nextPageToken") or "")
            if not token:
                return Answer(json.dumps({"models": models}))

    def _answer(self, invocation: Invocation, path: str) -> Answer:
        target = Target(path, _passed(invocation))
        try:
            reply = self._model.ask("POST", path, invocation.body, target.headers)
            if not 200 <= reply.status < 300:
                return Answer(reply.body, reply.content_type or "text/plain", reply.status)
            document = self._explained(invocation, reply, target)
        except UserError as error:
            return Answer(str(error), "text/plain", 400)
        except (OSError, http.client.HTTPException) as error:
            return _silent(error)
        kept = {name: reply.headers[name] for name in RETURNED if name in reply.headers}
        return Answer(json.dumps(document), "application/json", headers=kept)

    def _explained(self, invocation: Invocation, reply: Reply, target: Target) -> dict[str, Any]:
        kind = records.kind_of(invocation.content_type, "ContentType")
        rows = records.as_table(records.read_features(invocation.body.decode("utf-8", "replace"), kind, self.inference), "The request")
        if rows.shape[1] != self.baseline.shape[1]:
            raise UserError(f"A record has {rows.shape[1]} features, but the SHAP baseline has {self.baseline.shape[1]}.")
        answers = records.documents(reply.body, reply.content_type, len(rows))
        wanted = [i for i, answer in enumerate(answers) if _is_enabled(invocation.headers.get(ENABLE) or self.enable, answer)]
        predictions = {"content_type": reply.content_type, "data": reply.body.decode("utf-8", "replace")}
        document: dict[str, Any] = {"version": "1.0", "predictions": predictions}
        if not wanted:
            return document | {"explanations": {}}
        accept = records.kind_of(reply.content_type or CSV, "The model container's content type")
        asking = Asking(self, records.make_form(self.inference, kind, accept, rows.shape[1]), target)
        values = self._text_values(rows[wanted], asking) if self.granularity else self._values(rows[wanted], asking)
        names = records.labels_of(self.inference, answers[wanted[0]], asking.outputs)
        shown: list[Any] = [None] * len(rows)
        for place, explanation in zip(wanted, values, strict=True):
            shown[place] = explanation
        return document | ({"label_headers": names} if names else {}) | {"explanations": {"kernel_shap": shown}}

    def _values(self, rows: NDArray[Any], asking: Asking) -> list[Any]:
        """Per record and feature its attribution to every score."""
        baseline = self.baseline
        if rows.dtype != baseline.dtype:
            rows, baseline = rows.astype(object), baseline.astype(object)
        try:
            found = kernel_shap(asking.scores, rows, baseline, **self.settings).values
        except ValueError as error:
            raise UserError(f"The explanations cannot be computed: {error}.") from None
        return [[self._feature(i, [{"attribution": value.tolist()}]) for i, value in enumerate(record)] for record in found]

    def _text_values(self, rows: NDArray[Any], asking: Asking) -> list[Any]:
        """Per record and text column the attribution of each piece of it."""
        types = self._types(is_always=True)
        is_text, held_by = [kind == "text" for kind in types], []
        background = self.baseline.astype(object)
        for row in rows.astype(object):
            held = texts.players(row, is_text, self.granularity)
            values, _ = texts.piece_values(row, held, is_text, asking.scores, background, self.settings)
            columns: list[list[Any]] = [[] for _ in is_text]
            for player, value in zip(held, values, strict=True):
                entry: dict[str, Any] = {"attribution": value.tolist()}
                if is_text[player.column]:
                    entry["description"] = {"partial_text": player.text, "start_idx": player.start}
                columns[player.column].append(entry)
            held_by.append([self._feature(i, entries) for i, entries in enumerate(columns)])
        return held_by

    def _types(self, *, is_always: bool = False) -> tuple[str, ...]:
        """The features' types: as configured, or, where they are to be shown, as the baseline has them."""
        if self.inference.feature_types or not is_always:
            return self.inference.feature_types
        return tuple("text" if isinstance(value, str) else "numerical" for value in self.baseline[0])

    def _feature(self, place: int, attributions: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if place < len(self.inference.feature_headers):
            found["feature_header"] = self.inference.feature_headers[place]
        types = self._types(is_always=bool(self.granularity))
        if place < len(types):
            found["feature_type"] = types[place]
        return found | {"attributions": attributions}

    def ask(self, form: Form, rows: list[Any], target: Target) -> NDArray[np.float64]:
        """Scores (n, k) of rows, in batches that the model takes."""
        return np.concatenate([part for batch in self._batches(form, rows, target) for part in self._ask(form, batch, target)])

    def _ask(self, form: Form, rows: list[Any], target: Target) -> list[NDArray[np.float64]]:
        """One request; where the model does not take several records at once, one for each."""
        try:
            reply = self._model.ask("POST", target.path, form.body(rows), target.headers)
            if not 200 <= reply.status < 300:
                said = reply.body[:500].decode("utf-8", "replace")
                raise UserError(f"The model refused a request of {len(rows)} synthetic records with status {reply.status}: {said}")
            return [records.scores(form, reply.body, reply.content_type, len(rows))]
        except UserError:
            if len(rows) == 1 or self.inference.most_records:
                raise
            found = [self._ask(form, [row], target)[0] for row in rows]
            self._one_by_one.add(target.path)
            return found

    def _batches(self, form: Form, rows: list[Any], target: Target) -> Iterator[list[Any]]:
        each = len(form.body(rows[:1])) * 2 + 1  # twice the first one's size: others may be longer
        start = 0
        while start < len(rows):
            most = 1 if target.path in self._one_by_one else self.inference.most_records or ROWS
            size = max(1, min(most, self.inference.payload // each))
            yield rows[start : start + size]
            start += size


class Asking:
    """The model as a function of rows, in the form of one request."""

    def __init__(self, explainer: Explainer, form: Form, target: Target) -> None:
        self._explainer = explainer
        self._form = form
        self._target = target
        self.outputs = 0

    def scores(self, rows: Any) -> NDArray[np.float64]:
        """(n, k)."""
        found = self._explainer.ask(self._form, list(rows), self._target)
        self.outputs = found.shape[1]
        return found


def _is_enabled(expression: str, answer: Any) -> bool:
    import jmespath

    try:
        found = jmespath.search(expression, answer)
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"EnableExplanations '{expression}' cannot be evaluated: {error}") from None
    if not isinstance(found, bool):
        raise UserError(f"EnableExplanations '{expression}' must give true or false, but gives {json.dumps(found)[:100]}.")
    return found


def _silent(error: Exception) -> Answer:
    return Answer(f"The model did not answer: {type(error).__name__}: {error}", "text/plain", 500)


def _passed(invocation: Invocation) -> dict[str, str]:
    """What the model is told of the request."""
    own = {name: value for name, value in invocation.headers.items() if name.startswith("x-amzn-sagemaker-") and name != ENABLE}
    told = {"Content-Type": invocation.content_type, "Accept": invocation.accept}
    return own | {name: value for name, value in told.items() if value}
