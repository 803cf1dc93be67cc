"""The model's endpoint: named in the configuration, or made for this job from a model and deleted at its end; asked in batches, several at a time."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from dewfall.images.clarify import config, requests
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.requests import Answers, Form
from dewfall.images.contract import UserError

log = logging.getLogger(__name__)
AT_ONCE = 4  # requests under way
ROWS = 2_000  # of a request at most
PAYLOAD = 4 * 1024 * 1024  # bytes of a request's body at most; AWS's limit is 6 MB
LOOK = 0.25  # seconds between looks at an endpoint that is being made
LONGEST = 3600.0
PREFIX = "sm-clarify"


class Predictor:
    """Rows in, scores and labels out. `calls` counts the requests."""

    def __init__(self, client: Any, endpoint: str, form: Form, options: dict[str, str]) -> None:
        self.form = form
        self.calls = 0
        self._client = client
        self._endpoint = endpoint
        self._options = options

    def answers(self, rows: Any) -> Answers:
        """Scores and labels of rows of feature values. Raises UserError with the model's word when it refuses."""
        held = list(rows)
        first = self._ask(held[: 1 if self.form.one_by_one else min(len(held), 50)])
        rest = held[len(first[1]) :]
        batches = list(self._batches(rest, first[0]))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = list(pool.map(self._ask, batches))
        return requests.join([answer for _, _, answer in [first, *parts]])

    def scores(self, rows: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Scores (n, k) of rows (n, d), for explanations. A model that gives labels alone must give numbers."""
        found = self.answers(rows)
        if found.scores is not None:
            return found.scores
        try:
            return np.asarray(found.labels, dtype=np.float64).reshape(len(rows), -1)
        except (TypeError, ValueError):
            raise UserError("predictor: probability must be set, because the model's labels are not numbers.") from None

    def _batches(self, rows: list[Any], sample: int) -> Iterator[list[Any]]:
        size = 1 if self.form.one_by_one else max(1, min(ROWS, PAYLOAD // max(1, sample)))
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _ask(self, rows: list[Any]) -> tuple[int, list[Any], Answers]:
        """(bytes per row, the rows, their answers) of one request."""
        body = self.form.body(rows)
        reply = self.invoke(body)
        return len(body) // max(1, len(rows)) + 1, rows, requests.read_answer(self.form, reply[0], reply[1], len(rows))

    def invoke(self, body: bytes) -> tuple[bytes, str]:
        """The endpoint's answer and its content type. Raises UserError with the model's word when it refuses."""
        from botocore.exceptions import BotoCoreError, ClientError

        self.calls += 1
        options = {"ContentType": self.form.content_type, "Accept": self.form.accept, **self._options}
        try:
            reply = self._client.invoke_endpoint(EndpointName=self._endpoint, Body=body, **options)
            return reply["Body"].read(), reply.get("ContentType", "")
        except ClientError as error:
            raise UserError(f"Error invoking endpoint {self._endpoint}: {error.response['Error'].get('Message', error)}") from None
        except BotoCoreError as error:
            raise UserError(f"Error invoking endpoint {self._endpoint}: {error}") from None


def make_form(analysis: Analysis, names: Sequence[str]) -> Form:
    """How the configured model wants its rows."""
    predictor = analysis.predictor
    return Form(
        config.content_type(analysis),
        config.accept_type(analysis),
        tuple(names),
        predictor.get("content_template", ""),
        predictor.get("record_template", ""),
        predictor.get("label"),
        predictor.get("probability"),
        tuple(map(str, predictor.get("label_headers", ()))),
    )


@contextmanager
def opened(analysis: Analysis, names: Sequence[str], session: Any) -> Iterator[Predictor]:
    """The predictor of a job. What was made for it is deleted at the end, also after an error."""
    predictor = analysis.predictor
    options = {
        member: predictor[given]
        for given, member in (("target_model", "TargetModel"), ("custom_attributes", "CustomAttributes"))
        if predictor.get(given)
    }
    runtime, control = session.create_client("sagemaker-runtime"), session.create_client("sagemaker")
    if predictor.get("endpoint_name"):
        yield Predictor(runtime, predictor["endpoint_name"], make_form(analysis, names), options)
        return
    name = f"{str(predictor.get('endpoint_name_prefix') or PREFIX)[:23]}-{uuid.uuid4().hex[:12]}"
    try:
        create(control, name, predictor)
        yield Predictor(runtime, name, make_form(analysis, names), options)
    finally:
        delete(control, name)


def create(control: Any, name: str, predictor: dict[str, Any]) -> None:
    """A shadow endpoint of a model, in service. Raises UserError with SageMaker's reason when it does not come up."""
    from botocore.exceptions import ClientError

    variant = {
        "VariantName": "AllTraffic",
        "ModelName": predictor["model_name"],
        "InstanceType": predictor["instance_type"],
        "InitialInstanceCount": int(predictor["initial_instance_count"]),
    }
    print(f"Creating endpoint: '{name}'", flush=True)
    try:
        control.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        control.create_endpoint(EndpointName=name, EndpointConfigName=name)
    except ClientError as error:
        raise UserError(
            f"The endpoint for model {predictor['model_name']} cannot be created: {error.response['Error'].get('Message', error)}"
        ) from None
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        found = control.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] == "InService":
            return
        if found["EndpointStatus"] == "Failed":
            raise UserError(f"The endpoint for model {predictor['model_name']} failed: {found.get('FailureReason', '')}")
        time.sleep(LOOK)
    raise UserError(f"The endpoint for model {predictor['model_name']} did not come into service within {LONGEST:.0f} seconds.")


def delete(control: Any, name: str) -> None:
    """The endpoint and its configuration are gone, or were never there."""
    from botocore.exceptions import ClientError

    for call, member in ((control.delete_endpoint, "EndpointName"), (control.delete_endpoint_config, "EndpointConfigName")):
        try:
            call(**{member: name})
        except ClientError as error:
            log.info("not deleted name=%s problem=%s", name, error)


def predicted_labels(analysis: Analysis, answers: Answers, positive: Sequence[Any]) -> list[Any]:
    """The label that the model means for each row: its own; the likeliest of the headers; 1 or 0 by the threshold; else its number."""
    headers = analysis.predictor.get("label_headers") or []
    if answers.labels is not None:
        labels = [label[0] if isinstance(label, list) and len(label) == 1 else label for label in answers.labels]
        if not any(isinstance(label, list) for label in labels):
            return labels
        if answers.scores is None:
            raise UserError("predictor: label gives a list per record, so probability is needed to choose from it.")
        best = answers.scores.argmax(axis=1)
        return [label[i] for label, i in zip(labels, best, strict=True)]
    assert answers.scores is not None
    if answers.scores.shape[1] > 1:
        if len(headers) not in (0, answers.scores.shape[1]):
            raise UserError(f"predictor: {len(headers)} label_headers are given, but the model returns {answers.scores.shape[1]} scores.")
        best = answers.scores.argmax(axis=1)
        return [headers[i] for i in best] if headers else [int(i) for i in best]
    scores = answers.scores[:, 0]
    if is_threshold(positive, scores):
        return [float(score) for score in scores]
    yes, no = (positive[0], _other(positive[0])) if not headers else (headers[-1], headers[0] if len(headers) > 1 else _other(headers[-1]))
    return [yes if score > analysis.threshold else no for score in scores]


def is_threshold(positive: Sequence[Any], scores: Any) -> bool:
    """Whether the model gives a continuous value rather than a probability: numbers beyond [0, 1] under a numeric bound."""
    return len(positive) == 1 and isinstance(positive[0], (int, float)) and bool((scores < 0).any() or (scores > 1).any())


def _other(label: Any) -> Any:
    """A label that is not this one, of its type."""
    if isinstance(label, (bool, int, float)):
        return 1 - label if label in (0, 1) else 0
    return {"0": "1", "1": "0"}.get(str(label), f"not {label}")
