"""Imports of the algorithms' own commands."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOOK = """
import sys
from dewfall.images.lean import import_lean
import_lean({library!r})
import {library}
print(any(name in sys.modules for name in ("sklearn", "pandas")))
import sklearn, pandas
print({library}.__name__)
"""


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_a_library_comes_without_what_it_only_looks_for(library: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOOK.format(library=library)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", library], done.stderr


def test_what_cannot_be_imported_is_left_to_its_user() -> None:
    from dewfall.images.lean import import_lean

    import_lean("no_such_library")
    assert "sklearn" not in sys.modules or sys.modules["sklearn"] is not None
