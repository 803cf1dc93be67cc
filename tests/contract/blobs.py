"""What every Blobs must do. An implementation's test class inherits this and gives a fixture `blobs`."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest

from dewfall.bodies import StagedBody
from dewfall.engine.blobs import Blobs

LARGE = bytes(range(256)) * 4096
KEYS = ["a", "a/b", "a/", "/", "//x", "..", "a/../b", "ü/\U0001f600", "with@sign", " ", "x" * 1000, "a\\b", "%2F"]


def stage(blobs: Blobs, data: bytes, *digests: str) -> StagedBody:
    stager = blobs.stage(digests)
    for start in range(0, len(data), 100_000):
        stager.write(data[start : start + 100_000])
    return stager.finish()


class BlobsContract:
    """Each test is one sentence of the port."""

    @pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
    def test_what_was_placed_is_read(self, blobs: Blobs, data: bytes) -> None:
        path = blobs.place(stage(blobs, data), "bucket", "key", 1)
        assert path == blobs.path("bucket", "key", 1)
        assert path.read_bytes() == data

    @pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
    def test_digests_are_computed_on_the_way(self, blobs: Blobs, data: bytes) -> None:
        digests = stage(blobs, data, "sha256").digests
        assert digests["md5"] == hashlib.md5(data).digest()
        assert digests["sha256"] == hashlib.sha256(data).digest()
        assert digests["crc32"] == zlib.crc32(data).to_bytes(4, "big")

    def test_keys_of_every_kind_are_apart(self, blobs: Blobs) -> None:
        paths = {key: blobs.place(stage(blobs, key.encode()), "bucket", key, 1) for key in KEYS}
        assert {key: path.read_bytes().decode() for key, path in paths.items()} == {key: key for key in KEYS}
        assert all(blobs.folder in path.resolve().parents for path in paths.values())

    def test_generations_are_apart(self, blobs: Blobs) -> None:
        first = blobs.place(stage(blobs, b"1"), "bucket", "key", 1)
        second = blobs.place(stage(blobs, b"2"), "bucket", "key", 2)
        assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")

    def test_an_aborted_body_leaves_nothing(self, blobs: Blobs) -> None:
        stager = blobs.stage()
        stager.write(LARGE)
        stager.abort()
        assert list(blobs.staging.iterdir()) == []

    def test_adopting_keeps_the_source(self, blobs: Blobs, tmp_path: Path) -> None:
        source = tmp_path / "model.tar.gz"
        source.write_bytes(LARGE)
        body = blobs.adopt(source)
        assert body.digests["md5"] == hashlib.md5(LARGE).digest()
        assert blobs.place(body, "bucket", "key", 1).read_bytes() == source.read_bytes() == LARGE

    def test_parts_are_joined_and_ranges_cut(self, blobs: Blobs) -> None:
        parts = [blobs.place_part(stage(blobs, data), "upload", n, 1) for n, data in enumerate((LARGE, b"end"), 1)]
        whole = blobs.place(blobs.join(parts), "bucket", "key", 1)
        assert whole.read_bytes() == LARGE + b"end"
        assert blobs.cut(whole, len(LARGE) - 1, 3).read() == LARGE[-1:] + b"en"

    def test_orphans_are_swept_and_nothing_else(self, blobs: Blobs) -> None:
        known = blobs.place(stage(blobs, b"1"), "bucket", "known", 1)
        orphan = blobs.place(stage(blobs, b"2"), "bucket", "orphan", 1)
        young = blobs.place(stage(blobs, b"3"), "bucket", "young", 9)
        blobs.place_part(stage(blobs, b"4"), "gone", 1, 1)
        assert blobs.sweep(lambda bucket, key, generation: key == "known", lambda upload: False, before=5) == 2
        assert (known.exists(), orphan.exists(), young.exists()) == (True, False, True)

    def test_reset_leaves_nothing_and_goes_on(self, blobs: Blobs) -> None:
        path = blobs.place(stage(blobs, b"1"), "bucket", "key", 1)
        blobs.reset()
        assert not path.exists()
        assert blobs.place(stage(blobs, b"2"), "bucket", "key", 1).read_bytes() == b"2"
