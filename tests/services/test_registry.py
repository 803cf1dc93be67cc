"""The table of operations is whole for everybody who asks, also while it is being filled."""

from __future__ import annotations

import subprocess
import sys

ASK = """
from concurrent.futures import ThreadPoolExecutor
from dewfall.services.registry import find_operation
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda n: find_operation("sagemaker", "CreateModel") is not None, range(8)))
assert all(found), found
"""


def test_the_first_requests_may_come_all_at_once() -> None:
    assert subprocess.run([sys.executable, "-c", ASK], check=False).returncode == 0
