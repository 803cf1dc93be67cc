"""Event patterns, against the examples of the EventBridge user guide."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"cidr": ["x"]}, "prefix match pattern must be a string"),
        ({"cidr": "10.0.0.0/xx"}, "Malformed CIDR, mask bits must be an integer"),
        ({"wildcard": 1}, "wildcard match pattern must be a string"),
        ({"wildcard": "a:**"}, "Consecutive wildcard characters at pos 3"),
        ({"wildcard": "*:*:*:*:*:event-bus/*"}, "Rule is too complex - try using fewer wildcard characters"),
        ({"anything-but": {"wildcard": [1, "*/dir/*"]}}, "wildcard match pattern must be a string"),
        ({"anything-but": {"prefix": 1}}, "prefix/suffix match pattern must be a string"),
        ({"anything-but": {"suffix": [1, ".txt"]}}, "prefix/suffix match pattern must be a string"),
        ({"anything-but": {"prefix": {"equals-ignore-case": "file"}}}, "Value of anything-but must be an array or single string/number value."),
        ({"anything-but": {"equals-ignore-case": [1]}}, "Inside anything-but/equals-ignore-case list, number|start|null|boolean"),
    ],
)
def test_rules_are_refused_in_the_words_of_aws(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidPattern) as caught:
        check_pattern(json.dumps({"detail": {"key": [rule]}}))
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("text", "words", "column"),
    [
        ("this is none", "Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", 5),
        ("{'bad': 'quotation'}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name", 2),
        ('["but", "json"]', "Filter is not an object", 2),
    ],
)
def test_text_that_is_no_json_is_pointed_at(text: str, words: str, column: int) -> None:
    with pytest.raises(InvalidPattern) as caught:
        check_pattern(text)
    assert str(caught.value) == f'{words}\n at [Source: (String)"{text}"; line: 1, column: {column}]'


def test_an_empty_list_holds_nothing() -> None:
    assert not matches({"resources": [{"exists": True}]}, {"resources": []})
    assert matches({"resources": [{"exists": False}]}, {"resources": []})
    assert matches({"resources": [{"exists": True}]}, {"resources": [None]})
    assert not matches({"resources": [{"exists": True}]}, {"resources": {"inner": 1}})
