"""Event streams: what is written is read, by botocore and by ourselves; what is damaged is refused."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from dewfall.errors import AwsError
from dewfall.wire import eventstream, models
from dewfall.wire.bindings import read_request
from dewfall.wire.messages import Request
from dewfall.wire.route import match
from tests.protocol.documents import Maker

# Frames that botocore's own tests name.
EMPTY = b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff"
NUMBER = b"\x00\x00\x00+\x00\x00\x00\x0e4\x8b\xec{\x08event-id\x04\x00\x00\xa0\x0c{'foo':'bar'}\xd3\x89\x02\x85"
TAKING = [("lexv2-runtime", "StartConversation"), ("bedrock-runtime", "InvokeModelWithBidirectionalStream"), ("qbusiness", "Chat")]


def test_known_frames_are_read() -> None:
    assert list(eventstream.messages(EMPTY + NUMBER)) == [({}, b""), ({"event-id": 0xA00C}, b"{'foo':'bar'}")]


@pytest.mark.parametrize("damaged", [NUMBER[:-1], NUMBER[:20], NUMBER[:-1] + b"x", b"\x00\x00\x00\x01" + NUMBER[4:], b"abc"])
def test_a_damaged_stream_is_refused(damaged: bytes) -> None:
    with pytest.raises(AwsError, match="not a well-formed event stream"):
        list(eventstream.messages(damaged))


def test_headers_are_read_as_botocore_reads_them() -> None:
    headers = {"a": True, "b": False, "c": 5, "d": 2**40, "e": b"\x00\xff", "f": "ä"}
    frame = eventstream.message(headers, b"x")
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    assert [(dict(message.headers), message.payload) for message in buffer] == list(eventstream.messages(frame)) == [(headers, b"x")]


@pytest.mark.parametrize(("service", "name"), TAKING)
@pytest.mark.parametrize("signed", [False, True])
def test_events_of_a_request_are_read(service: str, name: str, signed: bool) -> None:
    operation: Any = models.operation_model(service, name)
    stream = operation.input_shape.event_stream_name
    shape = operation.input_shape.members[stream]
    maker = Maker(Random(name), "rest-json")
    events = [{event: maker.structure(part, 1)} for event, part in shape.members.items()]
    frames = list(eventstream.write(shape, events, "json"))
    if signed:
        frames = [eventstream.message({":chunk-signature": b"s"}, frame) for frame in (*frames, b"")]
    path = operation.http["requestUri"].partition("?")[0].format_map(dict.fromkeys(operation.input_shape.members, "x"))
    scope = f"AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{models.head(service).signing}/aws4_request"
    request = Request(operation.http["method"], path, "", {"host": "127.0.0.1", "authorization": scope}, b"".join(frames))
    found = match(request)
    assert (found.service, found.operation) == (service, name)
    assert read_request(request, found)[stream] == events
