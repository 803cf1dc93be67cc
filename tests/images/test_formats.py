"""Bodies ↔ arrays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dewfall.images import formats
from dewfall.images.formats import FormatError, UnsupportedFormat


def test_media_type() -> None:
    assert formats.media_type("text/CSV; label_size=0") == ("text/csv", {"label_size": "0"})


@pytest.mark.parametrize(
    ("accept", "found"),
    [("", "text/csv"), ("*/*", "text/csv"), ("application/json", "application/json"), ("text/html, application/json;q=0.9", "application/json")],
)
def test_choose_accept(accept: str, found: str) -> None:
    assert formats.choose_accept(accept, ("text/csv", "application/json"), "text/csv") == found


def test_choose_accept_refuses() -> None:
    with pytest.raises(UnsupportedFormat, match="image/png"):
        formats.choose_accept("image/png", ("text/csv",), "text/csv")


def test_csv_small_and_large_read_alike() -> None:
    line = b"1.5,,-3e2\n"
    small, large = formats.read_csv(line), formats.read_csv(line * 5000)
    assert large.shape == (5000, 3)
    assert np.array_equal(small[0], large[4999], equal_nan=True)


def test_csv_without_newline_and_with_crlf() -> None:
    assert formats.read_csv(b"1,2\r\n3,4").tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("body", [b"1,2\n3", b"1,abc", b"1,abc\n" * 4000])
def test_bad_csv_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        formats.read_csv(body)


SPARSE = {"data": {"features": {"values": [1, 2], "keys": [0, 1], "shape": [2]}}}


@pytest.mark.parametrize("instances", [[{"features": [1, 2]}], [{"data": {"features": {"values": [1, 2]}}}], [[1, 2]], [SPARSE]])
def test_json_instances(instances: list[object]) -> None:
    rows = formats.read_features(json.dumps({"instances": instances}).encode(), "application/json")
    assert np.asarray(rows.todense() if hasattr(rows, "todense") else rows).tolist() == [[1, 2]]


@pytest.mark.parametrize("body", [b"{", b'{"rows": 1}', b'{"instances": [{"features": ["a"]}]}', b'{"instances": [[1], [1, 2]]}'])
def test_bad_json_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        formats.read_features(body, "application/json")


def test_jsonlines() -> None:
    assert formats.read_features(b'{"features": [1]}\n{"features": [2]}\n', "application/jsonlines").tolist() == [[1], [2]]


def test_libsvm() -> None:
    features, labels = formats.read_libsvm_labels(b"1 0:2.5 3:1\n0 qid:4 1:1 # note\n")
    assert features.toarray().tolist() == [[2.5, 0, 0, 1], [0, 1, 0, 0]]
    assert labels.tolist() == [1, 0]


def test_npy_round_trip_refuses_pickles() -> None:
    assert formats.read_npy(formats.write_npy([[1.0]])).tolist() == [[1.0]]
    with pytest.raises(FormatError):
        formats.read_npy(b"\x80\x04N.")


def test_unknown_content_type() -> None:
    with pytest.raises(UnsupportedFormat, match="image/png"):
        formats.read_features(b"", "image/png")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"predictions": [{"score": 0.5, "predicted_label": 1}]}'),
        ("application/jsonlines", b'{"score": 0.5, "predicted_label": 1}\n'),
        ("text/csv", b"0.5,1\n"),
    ],
)
def test_predictions(kind: str, body: bytes) -> None:
    assert formats.write_predictions([{"score": 0.5, "predicted_label": 1}], kind) == body


def test_floats_are_written_as_short_as_their_type() -> None:
    assert formats.write_csv(np.array([0.1, 2], np.float32)) == b"0.1\n2.0\n"


@pytest.mark.parametrize("count", [3, 300])
def test_numbers_are_read_to_the_last_bit_where_that_is_asked_for(count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 7))
    lines = "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()
    assert np.array_equal(formats.read_features(lines, "text/csv", dtype=np.float64), rows)
    assert np.array_equal(formats.read_features(json.dumps(rows.tolist()).encode(), "application/json", dtype=np.float64), rows)
    assert np.array_equal(formats.read_features(lines, "text/csv"), rows.astype(np.float32))


def test_rows_of_different_lengths_are_refused_however_many_cells_there_are() -> None:
    with pytest.raises(FormatError):
        formats.read_csv(b"1,2,3\n4,5\n6,7,8,9\n" * 400)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "text/csv", "has no rows"),
        (b" \n\n", "text/csv", "has no rows"),
        (b"a,b,c", "text/csv", "could not convert"),
        (b'{"instances": []}', "application/json", "has no instances"),
    ],
)
def test_bodies_without_numbers_are_refused_in_plain_words(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        formats.read_features(body, kind)
