"""The reference values lie outside the repository: tests that need them are skipped where the folder is missing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLACE = "shared/reference/golden"
FOLDER = next((p / PLACE for p in Path(__file__).parents if (p / PLACE).is_dir()), None)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    def read(name: str) -> Any:
        if FOLDER is None:
            pytest.skip("the folder of golden values is not here")
        return json.loads((FOLDER / f"{name}.json").read_text())

    return read
