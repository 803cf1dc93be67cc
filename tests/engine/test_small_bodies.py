"""Small bodies: readable at once, in a file as soon as somebody wants one, gone with their version."""

from __future__ import annotations

from pathlib import Path

import pytest

from dewfall.engine.blobs import Blobs
from dewfall.engine.buckets import bucket_key
from dewfall.engine.objects import Draft, Objects
from dewfall.engine.ports import Record
from dewfall.engine.small_bodies import LIMIT
from dewfall.engine.store import SqliteStore
from dewfall.engine.versions import Version, all_versions


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    made = Objects(SqliteStore(tmp_path / "dewfall.db"), Blobs(tmp_path / "blobs"))
    monkeypatch.setattr(made.small, "wake", lambda: None)  # the test writes files out itself
    document = {"Name": "b", "Account": "000000000000", "Region": "us-east-1", "Versioning": "", "Settings": {}}
    with made.store.transaction() as tx:
        tx.records.create(Record(bucket_key("b"), document, parent="000000000000"))
    return made


def put(objects: Objects, key: str, data: bytes) -> Version:
    body = objects._staged(data)
    return objects.commit(Draft("b", key, body, body.digests["md5"].hex(), {}, objects._now()))


def kept(objects: Objects, version: Version) -> bytes | None:
    with objects.store.reading() as tx:
        return objects.small.read(tx, version)


def test_small_body_waits_in_the_database(objects: Objects) -> None:
    version = put(objects, "k", b"few")
    assert kept(objects, version) == b"few"
    assert not objects.blobs.path("b", "k", version.generation).exists()


def test_large_body_is_a_file_at_once(objects: Objects) -> None:
    version = put(objects, "k", b"x" * (LIMIT + 1))
    assert kept(objects, version) is None
    assert objects.blobs.path("b", "k", version.generation).stat().st_size == LIMIT + 1


def test_who_asks_for_the_file_gets_it(objects: Objects) -> None:
    version = put(objects, "dir/k", b"few")
    assert objects.path(version).read_bytes() == b"few"


def test_writing_out_moves_every_body_into_its_file(objects: Objects) -> None:
    versions = [put(objects, f"k{n}", b"%d" % n) for n in range(3)]
    assert objects.small.write_out() == 3
    assert objects.small.write_out() == 0
    assert [kept(objects, version) for version in versions] == [None] * 3
    assert [objects.blobs.path("b", v.key, v.generation).read_bytes() for v in versions] == [b"0", b"1", b"2"]


def test_bodies_go_with_their_versions(objects: Objects) -> None:
    first, second = put(objects, "k", b"1"), put(objects, "k", b"2")
    assert (kept(objects, first), kept(objects, second)) == (None, b"2")
    objects.remove("b", "k")
    assert kept(objects, second) is None
    assert objects.small.write_out() == 0


def test_body_of_a_version_is_a_copy(objects: Objects) -> None:
    version = put(objects, "k", b"few")
    assert objects.body(version).read() == b"few"
    objects.small.write_out()
    assert objects.body(version).read() == b"few"


def test_overwriting_leaves_one_row_and_no_file(objects: Objects) -> None:
    first, second = put(objects, "k", b"1"), put(objects, "k", b"2")
    with objects.store.reading() as tx:
        assert [version.generation for version in all_versions(tx, "b")] == [second.generation]
    assert not objects.blobs._graves
    assert first.generation < second.generation


def test_a_file_that_somebody_wanted_goes_with_its_version(objects: Objects) -> None:
    wanted = objects.path(put(objects, "k", b"1"))
    put(objects, "k", b"2")
    assert [path for _, path in objects.blobs._graves] == [wanted]


def test_bytes_are_recalled_wherever_they_are(objects: Objects) -> None:
    version = put(objects, "k", b"few")
    assert objects.small.recall(objects.store.look(), version) == b"few"
    objects.small.write_out()
    path = objects.path(version)
    path.unlink()
    assert objects.small.recall(objects.store.look(), version) == b"few"
