"""Filter patterns, by the examples of AWS's documentation."""

from __future__ import annotations

import pytest

from dewfall.rules.log_filter import compile_filter, select_value

EVENT = """{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"],
"objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "ThisFlag": true, "latency": 50, "a-b": "odd"}"""
LINE = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "anything", True),
        (" ", "anything", True),
        ("ERROR", "[ERROR 400] BAD", True),
        ("ERROR", "an error", False),
        ("ERROR ARGUMENTS", "ERROR 419 MISSING ARGUMENTS", True),
        ("ERROR ARGUMENTS", "ERROR only", False),
        ("?ERROR ?ARGUMENTS", "MISSING ARGUMENTS", True),
        ("?ERROR ?ARGUMENTS", "nothing", False),
        ('"INTERNAL SERVER ERROR"', "[500] INTERNAL SERVER ERROR", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR", False),
        ("ERROR -ARGUMENTS", "ERROR 401", True),
        ("ERROR -ARGUMENTS", "ERROR ARGUMENTS", False),
        ('ERROR -"bad request"', "ERROR a bad request", False),
        ("%AUTHORI[SZ]ED%", "UNAUTHORIZED", True),
        ("$.a", "costs $.a", True),
    ],
)
def test_terms(pattern: str, text: str, expected: bool) -> None:
    assert (compile_filter(pattern)(text) is not None) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{$.eventType="Update*"}', True),
        ('{ $.eventType != "UpdateTrail" }', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ("{ $.sourceIPAddress = %^111% }", True),
        ('{ $.arrayKey[0] = "value" }', True),
        ("{ $.arrayKey[7] = * }", False),
        ("{ $.objectList[1].id = 2 }", True),
        ('{ $.objectList[*].name = "b" }', True),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeOtherObject != 1 }", False),
        ("{ $.ThisFlag IS TRUE }", True),
        ("{ $.ThisFlag is false }", False),
        ("{ $.ThisFlag = true }", True),
        ("{ $.latency >= 5e1 && $.latency < 51 }", True),
        ("{ ($.latency > 100 || $.ThisFlag IS TRUE) && $.eventType = * }", True),
        ("{ $.latency > 100 || $.ThisFlag IS TRUE && $.eventType = x }", False),
        ('{ $.["a-b"] = odd }', True),
        ("{ $.a-b = odd }", True),
    ],
)
def test_json(pattern: str, expected: bool) -> None:
    assert (compile_filter(pattern)(EVENT) is not None) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code = 4*, bytes > 1000]", True),
        ("[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", True),
        ("[ip, ..., status_code = 200, bytes]", False),
        ("[ip != 10.*, ..., status_code >= 400 && status_code < 500, bytes]", True),
        ("[..., bytes = 1534 || bytes = 0]", True),
        ('[ip = "127.0.0.1", ...]', True),
        ("[ip, bytes]", False),
        ("[, , username = frank, ...]", True),
    ],
)
def test_space_delimited(pattern: str, expected: bool) -> None:
    assert (compile_filter(pattern)(LINE) is not None) is expected


@pytest.mark.parametrize("pattern", ["{ $.a = }", "{ $.a", "[a", "{ a = 1 }", "{ ($.a = 1 }", "[..., ...]", "{ $.a > x }"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        compile_filter(pattern)


def test_json_that_is_none_matches_nothing() -> None:
    assert compile_filter("{ $.a NOT EXISTS }")("plain text") is None


def test_values_are_extracted() -> None:
    extracted = compile_filter("[ip, ..., code = 404, size]")(LINE)
    assert extracted is not None
    assert (extracted["$ip"], extracted["$size"], extracted["$2"]) == ("127.0.0.1", "1534", "Prod")
    assert select_value("$size", LINE, extracted) == "1534"
    assert select_value("$.latency", EVENT, {}) == "50"
    assert select_value("1", EVENT, {}) == "1"
    assert select_value("$.none", EVENT, {}) is None
