"""Batch transform's JSONPath: what is taken, and what is refused."""

from __future__ import annotations

import pytest

from dewfall.rules.json_filters import parse


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$", []),
        ("$.features", [["names", ["features"]]]),
        ("$.a.b", [["names", ["a"]], ["names", ["b"]]]),
        ("$['id','SageMakerOutput']", [["names", ["id", "SageMakerOutput"]]]),
        ('$["a b"]', [["names", ["a b"]]]),
        ("$[0]", [["indexes", [0]]]),
        ("$[0,-1]", [["indexes", [0, -1]]]),
        ("$[1:]", [["slice", 1, None]]),
        ("$[:-1]", [["slice", None, -1]]),
        ("$[2:5]", [["slice", 2, 5]]),
        ("$.*", [["all"]]),
        ("$[*].x", [["all"], ["names", ["x"]]]),
    ],
)
def test_paths_become_steps(path: str, steps: list[object]) -> None:
    assert parse(path) == steps


@pytest.mark.parametrize("path", ["", "features", "$features", "$[", "$[a]", "$..a", "$[?(@.a)]", "$['a'", "$['a' 'b']", "$[1:2:3]", "$[]"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="JSONPath"):
        parse(path)
