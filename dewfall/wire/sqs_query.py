"""SQS in its old protocol: forms in, XML out, as SDKs from before 2023 speak it.

Today's model describes JSON only. The names that the old one had for lists and maps are the table below; put into a copy of the model, they
let the query codec and the XML writer do the rest. What else differed (the path is the queue, two codes, one sentence) is here too.
"""

from __future__ import annotations

import copy
import functools
import gzip
import json
from typing import TYPE_CHECKING, Any

from dewfall.wire import models

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
# Shape → the name of its list's members.
LISTS = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "BinaryList": "BinaryListValue",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}
# Shape → (its entries' name, their key's, their value's).
MAPS = {
    "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
    "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
    "QueueAttributeMap": ("Attribute", "Name", "Value"),
    "TagMap": ("Tag", "Key", "Value"),
}
# What the JSON protocol calls codes that have no shape.
TYPES = {"InvalidParameterValue": "InvalidParameterValueException", "MissingParameter": "MissingRequiredParameterException"}
MESSAGES = {"QueueDoesNotExist": "The specified queue does not exist for this wsdl version."}


def operation_model(operation: str) -> OperationModel | None:
    """An operation as the query protocol has it, or None."""
    model = _model()
    return model.operation_model(operation) if operation in model.operation_names else None


@functools.cache
def _model() -> ServiceModel:
    from botocore.model import ServiceModel

    file = models.model_file("sqs")
    raw = file.read_bytes()
    return ServiceModel(with_names(json.loads(gzip.decompress(raw) if file.suffix == ".gz" else raw)), "sqs")


def with_names(description: dict[str, Any]) -> dict[str, Any]:
    """The model's description with the old names in it."""
    named = copy.deepcopy(description)
    named["metadata"]["xmlNamespace"] = NAMESPACE
    for name, shape in named["shapes"].items():
        if name in LISTS:
            shape["member"]["locationName"] = LISTS[name]
            shape["flattened"] = True
        if name in MAPS:
            shape["key"]["locationName"], shape["value"]["locationName"] = MAPS[name][1:]
        for member in shape.get("members", {}).values():
            if member["shape"] in MAPS:
                member["locationName"] = MAPS[member["shape"]][0]
    return named


def with_queue(form: dict[str, str], path: str) -> dict[str, str]:
    """A form that was sent to a queue's own address names that queue."""
    return {**form, "QueueUrl": path} if "QueueUrl" not in form and is_queue(path) else form


def is_queue(path: str) -> bool:
    """Whether a path is that of a queue: an account number and a name."""
    segments = path.strip("/").split("/")
    return len(segments) == 2 and len(segments[0]) == 12 and segments[0].isdigit()
