"""Files that a running job writes, on their way into S3."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dewfall.context import Ctx, SystemClock
from dewfall.engine.blobs import Blobs
from dewfall.engine.objects import Objects
from dewfall.engine.store import SqliteStore
from dewfall.errors import AwsError
from dewfall.services.sagemaker.job_outputs import put_changed


def test_a_bucket_that_is_gone_leaves_no_copy_behind(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    objects = Objects(SqliteStore(tmp_path / "dewfall.db"), blobs)
    ctx: Any = SimpleNamespace(now=SystemClock().now, ports=SimpleNamespace(objects=objects))
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "checkpoint").write_text("x")
    os.utime(tmp_path / "job" / "checkpoint", (1, 1))
    with pytest.raises(AwsError, match="does not exist"):
        put_changed(cast(Ctx, ctx), "s3://nobody/", tmp_path / "job")
    assert list(blobs.staging.iterdir()) == []
