"""Every operation of the services that are served, in every protocol they speak: what botocore writes we read, and what we write it reads."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dewfall.services import SERVICES
from dewfall.wire import models
from dewfall.wire.route import SHADOWED
from tests.protocol.documents import Maker, answer_read, parsed, request_of, shown

SPOKEN = [(service, protocol) for service in SERVICES for protocol in models.protocols(service)]
EXAMPLES = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
# None of these can be told from another by its request's own form: on AWS they have host names of their own, or are s3's own twins.
UNREACHABLE = {"s3": SHADOWED | {"WriteGetObjectResponse"}, "s3control": {"CreateBucket"}}


def operations(service: str) -> list[Any]:
    names = models.service_model(service).operation_names
    found = [models.operation_model(service, name) for name in names if name not in UNREACHABLE.get(service, ())]
    return [operation for operation in found if operation is not None and not operation.has_event_stream_input]


@pytest.mark.parametrize(("service", "protocol"), SPOKEN)
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_what_botocore_sends_is_read(service: str, protocol: str, seed: int) -> None:
    for operation in operations(service):
        maker = Maker(Random(f"{seed} {operation.name}"), protocol)
        params = maker.structure(operation.input_shape) if operation.input_shape is not None else {}
        found, read = parsed(request_of(service, operation, protocol, params))
        read = {name: value for name, value in read.items() if name in params or name != "ContentLength"}
        assert (found.service, found.operation) == (service, operation.name)
        assert read == params, f"{operation.name}\n{shown(params)}\n{shown(read)}"


@pytest.mark.parametrize(("service", "protocol"), SPOKEN)
@EXAMPLES
@given(seed=st.integers(0, 2**32))
def test_what_we_answer_is_read_by_botocore(service: str, protocol: str, seed: int) -> None:
    for operation in operations(service):
        if operation.has_event_stream_output or operation.name == "GetBucketLocation":
            continue
        maker = Maker(Random(f"{seed} {operation.name}"), protocol)
        result = maker.structure(operation.output_shape) if operation.output_shape is not None else {}
        if operation.output_shape is not None and "ContentType" in operation.output_shape.members:
            result.setdefault("ContentType", "text/csv")
        read = answer_read(service, operation, protocol, result)
        assert read == result, f"{operation.name}\n{shown(result)}\n{shown(read)}"
