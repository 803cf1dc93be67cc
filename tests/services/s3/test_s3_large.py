"""A large object passes through in constant memory."""

from __future__ import annotations

import http.client
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dewfall.testing import running

GIB, STEP = 1 << 30, 1 << 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_gibibyte_in_and_out() -> None:
    with running() as server:
        if shutil.disk_usage(server.data).free < 4 * GIB:
            pytest.skip("needs disk space")
        server.client("s3").create_bucket(Bucket="data")
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=600)
        connection.putrequest("PUT", "/data/large")
        connection.putheader("Content-Length", str(GIB))
        connection.endheaders()
        for _ in range(GIB // STEP):
            connection.send(bytes(STEP))
        assert connection.getresponse().read() == b""
        connection.request("GET", "/data/large")
        answer, received = connection.getresponse(), 0
        while chunk := answer.read(STEP):
            received += len(chunk)
        connection.close()
        peak = next(line for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        assert (received, int(peak.split()[1]) < 200 * 1024) == (GIB, True)
