"""What AWS's JSON parser says of text that is no JSON. Source: EventBridge's and SNS's answers; the words are Jackson's."""

from __future__ import annotations

import itertools
import json

_VALUE = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
# What Python's parser says, in the words of AWS's.
_EXPECTED = {
    "Expecting property name": "was expecting double-quote to start field name",
    "Expecting ':'": "was expecting a colon to separate field name and value",
    "Expecting ','": "was expecting comma to separate entries",
}


def jackson(problem: json.JSONDecodeError, source: str) -> str:
    """The problem in the words of AWS's parser, with its place in what it calls the source.

    >>> print(jackson(json.JSONDecodeError("Expecting property name", "{bad}", 1), "(String)").splitlines()[0])
    Unexpected character ('b' (code 98)): was expecting double-quote to start field name
    """
    rest, column = problem.doc[problem.pos :], problem.colno
    if not rest:
        words = "Unexpected end-of-input"
    elif problem.msg.startswith("Expecting value") and rest[0].isalpha():
        token = "".join(itertools.takewhile(str.isalnum, rest))
        words, column = f"Unrecognized token '{token}': was expecting {_VALUE}", column + len(token)
    else:
        expected = next((words for start, words in _EXPECTED.items() if problem.msg.startswith(start)), f"expected a valid value {_VALUE}")
        words = f"Unexpected character ('{rest[0]}' (code {ord(rest[0])})): {expected}"
    return f"{words}\n at [Source: {source}; line: {problem.lineno}, column: {column}]"
