"""What can go wrong on the data path, in AWS's words.

Why a file: clients and dashboards match these texts, so there is one place where they are made.
"""

from __future__ import annotations

import json
import uuid

from dewfall.engine.serving.table import EndpointKey
from dewfall.errors import AwsError

PAYLOAD_LIMIT = 25 * 1024 * 1024
QUOTE_LIMIT = 65536
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container {}. Review the latency metrics for each container in "
    "Amazon CloudWatch, resolve the issue, and try again."
)
TARGET_MODEL = b"x-amzn-sagemaker-target-model"
TARGET_CONTAINER = b"x-amzn-sagemaker-target-container-hostname"
EXPLANATIONS = b"x-amzn-sagemaker-enable-explanations"
HEADER_NEEDS = {
    TARGET_MODEL: "is not a multi-model endpoint and does not support target model header",
    TARGET_CONTAINER: "is not a multi-container endpoint with direct invocation and does not support target container hostname header",
    EXPLANATIONS: "has no explainer and does not support enable explanations header",
}


def not_found(key: EndpointKey) -> AwsError:
    """There is no such endpoint, or it has never been in service."""
    return AwsError("ValidationError", f"Endpoint {key[2]} of account {key[0]} not found.", status=400)


def variant_not_found(key: EndpointKey, variant: str) -> AwsError:
    """TargetVariant names nobody."""
    return AwsError("ValidationError", f"Variant {variant} of endpoint {_endpoint(key)} of account {key[0]} not found.", status=400)


def header_refused(key: EndpointKey, header: bytes) -> AwsError:
    """A header that only endpoints of another kind understand."""
    message = f"Endpoint {_endpoint(key)} of account {key[0]} {HEADER_NEEDS[header]}."
    if header == TARGET_MODEL:
        return AwsError("ValidationError", message, status=400, ErrorCode="TARGET_MODEL_HEADER_NOT_SUPPORTED")
    return AwsError("ValidationError", message, status=400)


def model_needed() -> AwsError:
    """A multi-model endpoint must be told which model."""
    return AwsError("ValidationError", f"Request {uuid.uuid4()} is missing a target model header.", status=400)


def container_needed() -> AwsError:
    """In Direct mode a request must name its container."""
    return AwsError("ValidationError", f"Request {uuid.uuid4()} is missing a target container hostname header.", status=400)


def container_not_found(key: EndpointKey, name: str) -> AwsError:
    """TargetContainerHostname names nobody."""
    return AwsError("ValidationError", f"Container {name} of endpoint {key[2]} of account {key[0]} not found.", status=400)


def component_needed() -> AwsError:
    """The endpoint's instances are there for inference components, and the request names none."""
    message = (
        "Inference Component Name header is required for endpoints to which you plan to deploy inference components. Please include Inference "
        "Component Name header or consider using SageMaker models."
    )
    return AwsError("ValidationError", message, status=400, ErrorCode="INFERENCE_COMPONENT_NAME_MISSING")


def component_refused() -> AwsError:
    """The endpoint serves models, and the request names an inference component. The words are AWS's, apostrophe and all."""
    message = (
        "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference components. Please remove the "
        "Inference Component Name header and try again."
    )
    return AwsError("ValidationError", message, status=400)


def component_not_found(account: str, component: str) -> AwsError:
    """InferenceComponentName names nobody on this endpoint."""
    return AwsError("ValidationError", f"Inference Component {component} of account {account} not found.", status=400)


def no_capacity() -> AwsError:
    """The inference component has no copy."""
    message = (
        "Inference Component has no capacity to process this request. ApplicationAutoScaling may be in-progress (if configured) or try to increase "
        "the capacity by invoking UpdateInferenceComponentRuntimeConfig API."
    )
    return AwsError("ValidationError", message, status=400)


def model_missing(uri: str) -> AwsError:
    """There is no artifact for TargetModel."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    message = (
        f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an object located at the URL and that the role "
        "passed to CreateModel has permissions to download the model."
    )
    return AwsError("ValidationError", message, status=400)


def model_unreadable(key: EndpointKey, container: str, uri: str, problem: str, partition: str) -> AwsError:
    """TargetModel's artifact cannot be unpacked."""
    message = f"Failed to extract model data archive from URL {uri!r}. Please ensure that it is a valid tar.gz archive: {problem}"
    return model_error(key, container, 0, message.encode(), partition)


def model_not_ready(model: str) -> AwsError:
    """The model is still on its way; it goes on loading."""
    return AwsError("ModelNotReadyException", f"Model {model} is not ready for inference requests. It is still loading. Try again.", status=429)


def too_large(limit: int = 0) -> AwsError:
    """The request's body is longer than endpoints of its kind take; those with instances, where no limit is given."""
    return AwsError("413", f"HTTP content length exceeded {limit or PAYLOAD_LIMIT} bytes.", status=413)


def overloaded(key: EndpointKey) -> AwsError:
    """The replicas' queues are full."""
    return AwsError("ServiceUnavailable", f"{_who(key)} has more requests waiting than its instances can take. Please try again.", status=503)


def throttled() -> AwsError:
    """More requests at once than the endpoint takes."""
    return AwsError("ThrottlingException", "Rate exceeded", status=429)


def unavailable(key: EndpointKey) -> AwsError:
    """No replica can be reached."""
    return AwsError("ServiceUnavailable", f"{_who(key)} has no instance that can be reached. Please try again.", status=503)


def timed_out(key: EndpointKey, container: str, partition: str) -> AwsError:
    """The container took too long."""
    return model_error(key, container, 0, TIMED_OUT.format(container).encode(), partition)


def broken(key: EndpointKey, container: str, partition: str) -> AwsError:
    """The container closed the connection in the middle."""
    message = f"The connection to container {container} was closed before its response was complete."
    return model_error(key, container, 0, message.encode(), partition)


def model_error(key: EndpointKey, container: str, status: int, body: bytes, partition: str) -> AwsError:
    """The container's own error, wrapped as ModelError. Status 0 means that it gave none."""
    account, region, name = key
    endpoint, _, component = name.partition("/")
    is_client = 400 <= status < 500
    group = f"/aws/sagemaker/InferenceComponents/{component}" if component else f"/aws/sagemaker/Endpoints/{endpoint}"
    text = body[:QUOTE_LIMIT].decode("utf-8", "replace")
    said = f'with message "{text}"' if len(body) <= QUOTE_LIMIT else "and could not load the entire response body"
    console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
    return AwsError(
        "ModelError",
        f"Received {'client' if is_client else 'server'} error ({status}) from {container} {said}. See {console} in account {account} for more "
        "information.",
        status=424,
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:{partition}:logs:{region}:{account}:log-group:{group}",
        ErrorCode="CLIENT_ERROR_FROM_MODEL" if is_client else "INTERNAL_FAILURE_FROM_MODEL",
    )


def _endpoint(key: EndpointKey) -> str:
    """The endpoint of a key; an inference component's key is `endpoint/component`."""
    return key[2].partition("/")[0]


def _who(key: EndpointKey) -> str:
    endpoint, _, component = key[2].partition("/")
    return f"Inference Component {component}" if component else f"Endpoint {endpoint}"


def written(error: AwsError) -> bytes:
    """The error's JSON document."""
    return json.dumps({"Message": error.message, **error.members}, separators=(",", ":")).encode()
