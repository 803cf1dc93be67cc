"""Archives that are broken or malicious, as source and as model: refused with a word about why, and nothing written where it must not be."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from tests.crash.world import BUCKET, SKLEARN, World, archive, channel, request, tarball

pytestmark = pytest.mark.slow

OUTSIDE = Path("/tmp/dewfall-escaped")
SCRIPT = b"open('/opt/ml/model/m', 'w').write('x')"


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


def evil(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return archive([(member("train.py"), SCRIPT), *members])


def bomb() -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        info = member("zeros")
        info.size = 3 << 30
        tar.addfile(info, Zeros(info.size))
    return buffer.getvalue()


class Zeros(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = min(self.left, size if size >= 0 else self.left)
        self.left -= size
        return bytes(size)


GOOD = tarball({"train.py": SCRIPT, "weights.txt": os.urandom(200_000)})
ESCAPES = {
    "above": evil((member("../../../../../../../../../../tmp/dewfall-escaped"), b"x")),
    "link out": evil((member("out", tarfile.SYMTYPE, "/tmp"), b""), (member("out/dewfall-escaped"), b"x")),
    "link above": evil((member("out", tarfile.SYMTYPE, "../" * 12 + "tmp"), b""), (member("out/dewfall-escaped"), b"x")),
    "hard link out": evil((member("passwd", tarfile.LNKTYPE, "/etc/passwd"), b"")),
    "device": evil((member("null", tarfile.CHRTYPE), b"")),
    "fifo": evil((member("pipe", tarfile.FIFOTYPE), b"")),
}
BROKEN = {
    "cut": GOOD[: len(GOOD) // 2],
    "flipped": GOOD[:5000] + b"\xff" * 50 + GOOD[5050:],
    "no tar": gzip.compress(b"hello"),
    "empty": b"",
    "text": b"not an archive",
    "zip": b"PK\x03\x04" + b"x" * 100,
}


@pytest.fixture(autouse=True)
def _nothing_escapes(world: World) -> object:
    OUTSIDE.unlink(missing_ok=True)
    yield
    assert not OUTSIDE.exists()


def train_with(world: World, source: bytes) -> dict[str, object]:
    world.s3.put_object(Bucket=BUCKET, Key="source.tar.gz", Body=source)
    parameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{BUCKET}/source.tar.gz"}
    world.sagemaker.create_training_job(**request("job", SKLEARN, channel("train", "model.tar.gz")), HyperParameters=parameters)
    return world.ended("job")


def serve_with(world: World, data: bytes) -> dict[str, object]:
    world.s3.put_object(Bucket=BUCKET, Key="evil.tar.gz", Body=data)
    world.model("a", data=f"s3://{BUCKET}/evil.tar.gz")
    world.config("a", "a")
    world.sagemaker.create_endpoint(EndpointName="a", EndpointConfigName="a")
    return world.settled("a")


def test_archives_as_sources(world: World) -> None:
    wrong = {}
    for name, data in {**ESCAPES, **BROKEN, "bomb": bomb()}.items():
        job = train_with(world, data)
        reason = str(job.get("FailureReason"))
        if job["TrainingJobStatus"] != "Failed" or "Traceback" in reason or "Framework Error" in reason:
            wrong[name] = (job["TrainingJobStatus"], reason)
        world.sagemaker.delete_training_job(TrainingJobName="job")
    assert not wrong


def test_archives_as_models(world: World) -> None:
    wrong = {}
    for name, data in {**ESCAPES, **BROKEN, "bomb": bomb()}.items():
        endpoint = serve_with(world, data)
        reason = str(endpoint.get("FailureReason"))
        if endpoint["EndpointStatus"] != "Failed" or "evil.tar.gz" not in reason:
            wrong[name] = (endpoint["EndpointStatus"], reason)
        world.sagemaker.delete_endpoint(EndpointName="a")
        world.server.reset()
        world.s3.create_bucket(Bucket=BUCKET)
    assert not wrong


def test_the_good_one_is_good(world: World) -> None:
    job = train_with(world, GOOD)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    endpoint = serve_with(world, GOOD)
    assert endpoint["EndpointStatus"] == "InService", endpoint.get("FailureReason")


def test_compressed_channels(world: World) -> None:
    code = channel("code", "gz/", CompressionType="Gzip")
    whole = gzip.compress(os.urandom(9999))
    for name, data in {"plain": b"no gzip", "cut": whole[:5000], "flipped": whole[:4000] + b"z" * 50 + whole[4050:]}.items():
        world.s3.put_object(Bucket=BUCKET, Key="gz/main.py.gz", Body=data)
        world.sagemaker.create_training_job(**request(name, SKLEARN, code))
        reason = world.ended(name)["FailureReason"]
        assert reason.startswith("ClientError: Data download failed:Channel code: main.py.gz cannot be decompressed"), reason
