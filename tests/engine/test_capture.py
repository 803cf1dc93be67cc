"""Data capture: lines in AWS's layout, sampling, and the spool that survives what the server does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dewfall.engine.serving.capture import Exchange, Spool, is_sampled, line, place, ship
from dewfall.engine.serving.table import CaptureRule
from dewfall.errors import AwsError

RULE = CaptureRule(100.0, "s3://bucket/captured/", True, True, frozenset({"text/csv"}), frozenset({"application/json"}))
HEAD = (
    b"POST /invocations HTTP/1.1\r\nhost: localhost:8080\r\ncontent-type: text/csv\r\nX-Amzn-SageMaker-Inference-Id: 7\r\ncontent-length: 3\r\n\r\n"
)
EXCHANGE = Exchange(("0" * 12, "us-east-1", "churn"), "AllTraffic", RULE, HEAD, b"1,2", b"text/csv; charset=utf-8", b"0.5", 1650240108.7)


class Bucket:
    """Objects as far as shipping goes."""

    def __init__(self, problem: AwsError | None = None) -> None:
        self.problem = problem
        self.stored: dict[str, bytes] = {}

    def put(self, uri: str, body: bytes, *, content_type: str) -> None:
        if self.problem:
            raise self.problem
        self.stored[uri] = body


def test_a_line_is_as_aws_writes_it() -> None:
    document = json.loads(line(EXCHANGE))
    assert document.pop("eventMetadata") | {"eventId": ""} == {"eventId": "", "inferenceId": "7", "inferenceTime": "2022-04-18T00:01:48Z"}
    sent = {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV"}
    answered = {"observedContentType": "text/csv; charset=utf-8", "mode": "OUTPUT", "data": "0.5", "encoding": "CSV"}
    assert document == {"captureData": {"endpointInput": sent, "endpointOutput": answered}, "eventVersion": "0"}


def test_what_is_not_listed_as_text_is_base64() -> None:
    document = json.loads(line(replace(EXCHANGE, rule=replace(RULE, csv_types=frozenset(), takes_output=False))))
    assert document["captureData"] == {"endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "MSwy", "encoding": "BASE64"}}


def test_the_place_is_destination_endpoint_variant_and_hour() -> None:
    assert place(EXCHANGE) == "s3://bucket/captured/churn/AllTraffic/2022/04/18/00"


@pytest.mark.parametrize(("percentage", "least", "most"), [(0.0, 0, 0), (30.0, 200, 400), (100.0, 1000, 1000)])
def test_the_share_is_sampled(percentage: float, least: int, most: int) -> None:
    rule = replace(RULE, percentage=percentage)
    assert least <= sum(is_sampled(rule) for _ in range(1000)) <= most


def test_a_stopped_spool_ships_all_of_it(tmp_path: Path) -> None:
    spool, bucket = Spool(tmp_path), Bucket()
    spool.start()
    for _ in range(3):
        spool.add(EXCHANGE)
    spool.stop()
    shipping: Any = bucket
    assert ship(tmp_path, shipping) == 1
    [(uri, body)] = bucket.stored.items()
    assert uri.startswith("s3://bucket/captured/churn/AllTraffic/2022/04/18/00/")
    assert body.count(b"\n") == 3
    assert not list(tmp_path.iterdir())


def test_what_a_killed_server_left_is_shipped_without_its_last_half_line(tmp_path: Path) -> None:
    (tmp_path / "1-a.part").write_text('{"uri":"s3://bucket/x.jsonl"}\n{"whole":1}\n{"ha')
    spool, bucket = Spool(tmp_path), Bucket()
    spool.start()
    spool.stop()
    shipping: Any = bucket
    ship(tmp_path, shipping)
    assert bucket.stored == {"s3://bucket/x.jsonl": b'{"whole":1}\n'}


@pytest.mark.parametrize(("code", "kept"), [("NoSuchBucket", 0), ("InternalError", 1)])
def test_what_s3_refuses_for_good_is_given_up(tmp_path: Path, code: str, kept: int) -> None:
    (tmp_path / "1-a.jsonl").write_text('{"uri":"s3://bucket/x.jsonl"}\n{"whole":1}\n')
    shipping: Any = Bucket(AwsError(code, "no"))
    ship(tmp_path, shipping)
    assert len(list(tmp_path.iterdir())) == kept


def test_a_full_disk_makes_shipping_wait(tmp_path: Path) -> None:
    (tmp_path / "1-a.jsonl").write_text('{"uri":"s3://bucket/x.jsonl"}\n{"whole":1}\n')

    class Full(Bucket):
        def put(self, uri: str, body: bytes, *, content_type: str) -> None:
            raise OSError(28, "No space left on device")

    shipping: Any = Full()
    assert ship(tmp_path, shipping) == 0
    assert len(list(tmp_path.iterdir())) == 1
