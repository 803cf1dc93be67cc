"""Event patterns, against the examples of the EventBridge user guide."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.rules.patterns import InvalidPattern, check_pattern, matches

EVENT: dict[str, Any] = {
    "source": "aws.sagemaker",
    "detail": {"TrainingJobStatus": "Failed", "seconds": 12, "ip": "10.0.0.7", "tags": ["a", "b"], "file": "data/x.PNG", "none": None, "flag": True},
}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ({"source": ["aws.sagemaker"]}, True),
        ({"source": ["aws.s3"]}, False),
        ({"detail": {"TrainingJobStatus": ["Completed", "Failed"]}}, True),
        ({"detail": {"seconds": [{"numeric": [">", 10, "<=", 12]}]}}, True),
        ({"detail": {"seconds": ["12"]}}, False),
        ({"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
        ({"detail": {"tags": ["b"]}}, True),
        ({"detail": {"file": [{"prefix": "data/"}]}}, True),
        ({"detail": {"file": [{"suffix": {"equals-ignore-case": ".png"}}]}}, True),
        ({"detail": {"file": [{"wildcard": "*/x.*"}]}}, True),
        ({"detail": {"file": [{"anything-but": {"prefix": "data/"}}]}}, False),
        ({"detail": {"TrainingJobStatus": [{"anything-but": ["Completed"]}]}}, True),
        ({"detail": {"missing": [{"exists": False}]}}, True),
        ({"detail": {"ip": [{"exists": False}]}}, False),
        ({"detail": {"none": [None]}}, True),
        ({"detail": {"flag": [True]}}, True),
        ({"detail": {"flag": [1]}}, False),
        ({"$or": [{"source": ["aws.s3"]}, {"detail": {"seconds": [12]}}]}, True),
        ({"detail": {"TrainingJobStatus": [{"equals-ignore-case": "failed"}]}}, True),
    ],
)
def test_matching(pattern: dict[str, Any], fits: bool) -> None:
    assert matches(pattern, EVENT) is fits


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"source": "aws.s3"}', '{"source": []}', '{"source": [{"like": "x"}]}'])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(InvalidPattern):
        check_pattern(text)


def test_dots_join_what_is_nested() -> None:
    assert matches({"a": {"b": ["x"]}}, {"a.b": "x"})
    assert matches({"a.b": ["x"]}, {"a": {"b": "x"}})
    assert not matches({"a.b": ["x"]}, {"a": {"b": "y"}})
