"""The parts of batch transform's record loop: splitting, filtering, joining."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pytest

from dewfall.images.batch.filters import CSV, JSON, JSON_LINES, BadRecord, Processing, pick
from dewfall.images.batch.splitting import RECORDIO_MAGIC, BadFile, records

STEPS: dict[str, Any] = {"[1:]": [["slice", 1, None]], "[0,-1]": [["indexes", [0, -1]]], ".a": [["names", ["a"]]]}


def recordio(payload: bytes, flag: int = 0) -> bytes:
    return struct.pack("<II", RECORDIO_MAGIC, flag << 29 | len(payload)) + payload + bytes(-len(payload) % 4)


def tfrecord(payload: bytes) -> bytes:
    return struct.pack("<QI", len(payload), 7) + payload + b"sums"


@pytest.mark.parametrize(
    ("split", "content", "expected"),
    [
        ("None", b"a\nb", [b"a\nb"]),
        ("None", b"", []),
        ("Line", b"a\r\n\nb\nc", [b"a", b"b", b"c"]),
        ("RecordIO", recordio(b"one") + recordio(b"four"), [recordio(b"one"), recordio(b"four")]),
        ("RecordIO", recordio(b"a", 1) + recordio(b"b", 2) + recordio(b"c", 3), [recordio(b"a", 1) + recordio(b"b", 2) + recordio(b"c", 3)]),
        ("TFRecord", tfrecord(b"x") + tfrecord(b"yz"), [tfrecord(b"x"), tfrecord(b"yz")]),
    ],
)
def test_records_keep_their_framing(split: str, content: bytes, expected: list[bytes]) -> None:
    assert list(records(io.BytesIO(content), split)) == expected


@pytest.mark.parametrize(
    ("split", "content"),
    [("RecordIO", b"nonsense"), ("RecordIO", recordio(b"four")[:-1]), ("RecordIO", b"abc"), ("TFRecord", tfrecord(b"xyz")[:-1]), ("TFRecord", b"ab")],
)
def test_files_that_are_none_are_refused(split: str, content: bytes) -> None:
    with pytest.raises(BadFile, match=split):
        list(records(io.BytesIO(content), split))


@pytest.mark.parametrize(
    ("value", "steps", "expected"),
    [
        ({"a": 1}, [["names", ["a"]]], 1),
        ({"a": 1, "b": 2, "c": 3}, [["names", ["a", "c", "x"]]], {"a": 1, "c": 3}),
        ({"a": {"b": 5}}, [["names", ["a"]], ["names", ["b"]]], 5),
        ([1, 2, 3], [["indexes", [-1]]], 3),
        ([1, 2, 3], [["indexes", [2, 0]]], [3, 1]),
        ([1, 2, 3], [["slice", 1, None]], [2, 3]),
        ([{"a": 1}, {"a": 2}], [["all"], ["names", ["a"]]], [1, 2]),
        ({"a": 1, "b": 2}, [["all"]], [1, 2]),
    ],
)
def test_picking(value: Any, steps: Any, expected: Any) -> None:
    assert pick(value, steps) == expected


@pytest.mark.parametrize(
    ("value", "steps"),
    [({"a": 1}, [["names", ["b"]]]), ([1], [["indexes", [4]]]), ({}, [["slice", 1, None]]), ([], [["names", ["a"]]]), (1, [["all"]])],
)
def test_picking_what_is_not_there(value: Any, steps: Any) -> None:
    with pytest.raises(BadRecord):
        pick(value, steps)


@pytest.mark.parametrize(
    ("kind", "record", "steps", "sent"),
    [
        (CSV, b"7,1,2", STEPS["[1:]"], b"1,2"),
        (CSV, b'7,"a,b",2', STEPS["[1:]"], b'"a,b",2'),
        (CSV, b"7,1,2", STEPS["[0,-1]"], b"7,2"),
        (JSON, b'{"a": [1, 2], "b": 0}', STEPS[".a"], b"[1,2]"),
        ("image/png", b"\x00", [], b"\x00"),
    ],
)
def test_what_is_sent(kind: str, record: bytes, steps: Any, sent: bytes) -> None:
    assert Processing(kind, "", steps, [], False).outgoing(record) == sent


@pytest.mark.parametrize(
    ("kind", "originals", "answer", "steps", "written"),
    [
        (CSV, [b"7,1", b"8,2"], b"0.1\n0.2\n", [], b"7,1,0.1\n8,2,0.2\n"),
        (CSV, [b"7,1", b"8,2"], b"0.1\n0.2", STEPS["[0,-1]"], b"7,0.1\n8,0.2"),
        (JSON, [b'{"id": 1}'], b'{"p":\n 2}', [], b'{"id":1,"SageMakerOutput":{"p":2}}'),
        (JSON, [b"[1, 2]"], b"3", [], b'{"SageMakerInput":[1,2],"SageMakerOutput":3}'),
        (JSON_LINES, [b'{"id": 1}', b'{"id": 2}'], b"3\n4\n", [], b'{"id":1,"SageMakerOutput":3}\n{"id":2,"SageMakerOutput":4}\n'),
        (JSON_LINES, [b'{"id": 1}'], b"3", [["names", ["SageMakerOutput"]]], b"3"),
    ],
)
def test_answers_are_joined_and_filtered(kind: str, originals: list[bytes], answer: bytes, steps: Any, written: bytes) -> None:
    assert Processing(kind, kind, [], steps, True).answer(answer, originals, kind) == written


@pytest.mark.parametrize(
    ("accept", "told", "written"),
    [("", "text/html; charset=utf-8", b"1,2"), ("", "application/json", b'{"SageMakerInput":["1"],"SageMakerOutput":2}')],
)
def test_without_accept_the_containers_word_counts_if_it_is_a_known_kind(accept: str, told: str, written: bytes) -> None:
    assert Processing(CSV, accept, [], [], True).answer(b"2", [b"1"], told) == written


def test_answers_that_do_not_match_cannot_be_joined() -> None:
    with pytest.raises(BadRecord, match="cannot be joined"):
        Processing(CSV, CSV, [], [], True).answer(b"1\n", [b"a", b"b"], CSV)


def test_json_lines_get_an_inference_id_and_the_jobs_time() -> None:
    stamped = Processing(JSON_LINES, "", [], [], False, "2026-01-01T00:00:00Z").answer(b'{"score":1}\n2\n', [b"a", b"b"], JSON_LINES)
    first, second = [json.loads(line) for line in stamped.splitlines()]
    assert first.pop("SageMakerInferenceId") != second.pop("SageMakerInferenceId")
    assert first == {"score": 1, "SageMakerInferenceTime": "2026-01-01T00:00:00Z"}
    assert second["SageMakerOutput"] == 2
