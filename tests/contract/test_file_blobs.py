"""Blobs in an ordinary folder keep the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from dewfall.engine.blobs import Blobs
from tests.contract.blobs import BlobsContract


class TestFileBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return Blobs(tmp_path / "blobs")
