"""Answers of two models, compared."""

from __future__ import annotations

import pytest

from dewfall.rules.agreement import Likeness, compare


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (b"same", b"same", Likeness(True, 0.0)),
        (b"0.50\n1\n", b"0.5\n1.0", Likeness(True, 0.0)),
        (b'{"score": 0.5, "label": 1}', b'{"label": 1.5, "score": 0.5}', Likeness(False, 0.25)),
        (b'{"label": "cat"}', b'{"label": "dog"}', Likeness(False)),
        (b"[1, 2]", b"[1, 2, 3]", Likeness(False)),
        (b"\xff\x00", b"\xff\x01", Likeness(False)),
        (b"yes,0.9", b"yes,0.90", Likeness(True, 0.0)),
        (b"[true]", b"[1]", Likeness(False)),
        (b"1" * 70_000, b"2" * 70_000, Likeness(False)),
    ],
)
def test_answers(left: bytes, right: bytes, expected: Likeness) -> None:
    assert compare(left, right) == expected
