"""What becomes of an asynchronous invocation: its answer or failure in S3, AWS's message to a topic, and the record gone.

In this order, so that after a crash in between something is done twice and nothing is lost.
"""

from __future__ import annotations

import base64
import json
import logging
from concurrent.futures import CancelledError, Future
from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record
from dewfall.engine.serving.answer import Answer
from dewfall.errors import AwsError
from dewfall.services.sagemaker.endpoint_metrics import NAMESPACE
from dewfall.services.sagemaker.models import s3_uri

log = logging.getLogger(__name__)

ATTEMPTS = 3  # of an invocation that found no replica
INCLUDED_LIMIT = 128 * 1024  # bytes of a response that go into a notification
FROM_MODEL = "ClientError: Received {} error ({}) from model. See the SageMaker Endpoint logs in your account for more information."
EXPIRED = "ClientError: The request expired in the queue before it could be processed (RequestTTLSeconds)."


def settle(ctx: Ctx, config: dict[str, Any], record: Record, call: Future[Answer]) -> None:
    """An invocation has ended one way or another. One that found no replica waits again, a few times."""
    try:
        answer = call.result()
    except CancelledError:
        return
    except AwsError as error:
        if error.code == "ServiceUnavailable" and record.document["Attempts"] < ATTEMPTS:
            record.document["Attempts"] += 1
            with ctx.ports.store.transaction() as tx:
                tx.records.save(record)
            return
        status = int(error.members.get("OriginalStatusCode") or 0)
        kind = "client" if 400 <= status < 500 else "server"
        fail(ctx, config, record, FROM_MODEL.format(kind, status) if status else f"ClientError: {error.message}", error)
        return
    except Exception as error:
        log.exception("asynchronous invocation failed endpoint=%s", record.document["EndpointName"])
        fail(ctx, config, record, f"InternalServerError: {error}")
        return
    complete(ctx, config, record, answer)


def complete(ctx: Ctx, config: dict[str, Any], record: Record, answer: Answer) -> None:
    """Store the answer, tell the success topic."""
    document, body = record.document, answer.body()
    kind = (answer.header(b"content-type") or b"").decode("latin-1")
    response = {"contentType": kind} if kind else {}
    if document["OutputLocation"]:
        try:
            ctx.ports.objects.put(s3_uri(document["OutputLocation"]), body, content_type=kind)
        except AwsError as error:
            fail(ctx, config, record, f"ClientError: Failed to write the output {document['OutputLocation']}: {error.message}")
            return
        response["outputLocation"] = document["OutputLocation"]
    told = {"responseParameters": response}
    _notify(ctx, config, "Success", {**_message(ctx, document, "Completed"), **told}, body)
    _metric(ctx, document, "InvocationsProcessed", 1.0)
    _metric(ctx, document, "TotalProcessingTime", (ctx.now() - document["ReceivedTime"]).total_seconds() * 1000, "Milliseconds")
    drop(ctx, record)


def fail(ctx: Ctx, config: dict[str, Any], record: Record, reason: str, error: AwsError | None = None) -> None:
    """Store what the container said, or why it was not asked; tell the error topic."""
    document = record.document
    said = str(error.members.get("OriginalMessage") or reason) if error else reason
    told: dict[str, Any] = {"failureReason": reason}
    if document["FailureLocation"]:
        try:
            ctx.ports.objects.put(s3_uri(document["FailureLocation"]), said.encode(), content_type="text/plain")
            told["responseParameters"] = {"outputLocation": document["FailureLocation"]}
        except AwsError as problem:
            log.warning("failure could not be stored uri=%s problem=%s", document["FailureLocation"], problem.message)
    _notify(ctx, config, "Error", {**_message(ctx, document, "Failed"), **told}, said.encode())
    _metric(ctx, document, "InvocationFailures", 1.0)
    drop(ctx, record)


def expire(ctx: Ctx, config: dict[str, Any], record: Record) -> None:
    """It has waited longer than its RequestTTLSeconds."""
    _metric(ctx, record.document, "ExpiredRequests", 1.0)
    fail(ctx, config, record, EXPIRED)


def drop(ctx: Ctx, record: Record) -> None:
    """Nothing remains of it; readers that wait for its object look again."""
    for member in ("OutputLocation", "FailureLocation"):
        ctx.ports.serving.background.promised.pop(s3_uri(record.document[member]), None)
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(record.key)


def note_begin(ctx: Ctx, document: dict[str, Any]) -> None:
    """How long it waited."""
    _metric(ctx, document, "TimeInBacklog", (ctx.now() - document["ReceivedTime"]).total_seconds() * 1000, "Milliseconds")


def _message(ctx: Ctx, document: dict[str, Any], status: str) -> dict[str, Any]:
    """A notification as AWS sends it."""
    request = {"accept": document["Request"].get("Accept"), "contentType": document["Request"].get("ContentType")}
    request |= {"endpointName": document["EndpointName"], "inputLocation": document["InputLocation"]}
    return {
        "awsRegion": ctx.region,
        "eventTime": _time(ctx.now()),
        "receivedTime": _time(document["ReceivedTime"]),
        "invocationStatus": status,
        "requestParameters": {name: value for name, value in request.items() if value},
        "inferenceId": document["InferenceId"],
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def _notify(ctx: Ctx, config: dict[str, Any], which: str, message: dict[str, Any], body: bytes) -> None:
    notification = config["OutputConfig"].get("NotificationConfig", {})
    topic = notification.get(f"{which}Topic")
    if not topic:
        return
    if f"{which.upper()}_NOTIFICATION_TOPIC" in notification.get("IncludeInferenceResponseIn", ()):
        fits = len(body) <= INCLUDED_LIMIT
        content = {"content": base64.b64encode(body).decode(), "encoding": "BASE64"} if fits else {}
        message = {**message, "responseBody": {**content, "message": "" if fits else f"The response is larger than {INCLUDED_LIMIT} bytes."}}
    try:
        ctx.call("sns", "Publish", {"TopicArn": topic, "Message": json.dumps(message)})
    except AwsError as error:
        log.warning("notification failed topic=%s problem=%s", topic, error.message)


def _metric(ctx: Ctx, document: dict[str, Any], name: str, value: float, unit: str = "Count") -> None:
    ctx.ports.series.append_metric(ctx.account, ctx.region, NAMESPACE, name, {"EndpointName": document["EndpointName"]}, value, ctx.now(), unit)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
