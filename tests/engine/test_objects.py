"""Objects by URI: what a commit shows, replaces, announces, and leaves behind when it fails."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from dewfall.engine.blobs import Blobs
from dewfall.engine.buckets import bucket_key
from dewfall.engine.objects import Objects
from dewfall.engine.ports import Record
from dewfall.engine.store import SqliteStore
from dewfall.errors import AwsError


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    store = SqliteStore(tmp_path / "dewfall.db")
    made = Objects(store, Blobs(tmp_path / "blobs"))
    make_bucket(made, "b")
    return made


def make_bucket(objects: Objects, name: str, **document: object) -> None:
    base = {"Name": name, "Account": "000000000000", "Region": "us-east-1", "Versioning": "", "Settings": {}}
    with objects.store.transaction() as tx:
        tx.records.create(Record(bucket_key(name), base | document, parent="000000000000"))


def files(objects: Objects) -> list[Path]:
    return [Path(folder, name) for folder, _, names in os.walk(objects.blobs.folder) for name in names]


def test_what_was_put_is_read(objects: Objects) -> None:
    stored = objects.put("s3://b/x/y.csv", b"a,b\n", content_type="text/csv", metadata={"k": "v"})
    assert objects.read("s3://b/x/y.csv") == b"a,b\n"
    assert objects.get("s3://b/x/y.csv") == stored
    assert (stored.size, stored.content_type, stored.metadata) == (4, "text/csv", {"k": "v"})
    assert stored.path.read_bytes() == b"a,b\n"


def test_a_path_is_moved_in(objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "model.tar.gz"
    source.write_bytes(b"x" * 200_000)
    stored = objects.put("s3://b/model.tar.gz", source)
    assert not source.exists()
    assert stored.path.stat().st_size == 200_000


def test_missing_key_and_bucket_say_so(objects: Objects) -> None:
    assert objects.get("s3://b/none") is None
    for uri, code in (("s3://b/none", "NoSuchKey"), ("s3://none/x", "NoSuchBucket")):
        with pytest.raises(AwsError) as caught:
            objects.read(uri)
        assert caught.value.code == code
    with pytest.raises(AwsError, match="NoSuchBucket"):
        objects.put("s3://none/x", b"")
    assert not files(objects)


def test_list_is_in_byte_order_below_the_prefix(objects: Objects) -> None:
    for key in ("a/2", "a/10", "a/é", "a/Z", "b/1", "a/\U0001f600"):
        objects.put(f"s3://b/{key}", b"")
    assert [o.key for o in objects.list("s3://b/a/")] == ["a/10", "a/2", "a/Z", "a/é", "a/\U0001f600"]


def test_a_file_and_a_prefix_of_one_name_live_together(objects: Objects) -> None:
    for key in ("a", "a/b", "a/", "a//", "../../up", "a/../b", "."):
        objects.put(f"s3://b/{key}", key.encode())
    assert {o.key: objects.read(o.uri) for o in objects.list("s3://b/")} == {o.key: o.key.encode() for o in objects.list("s3://b/")}
    assert all(objects.blobs.folder in path.resolve().parents for path in files(objects))


def test_versions_follow_each_other_and_come_back(objects: Objects) -> None:
    make_bucket(objects, "v", Versioning="Enabled")
    first = objects.put("s3://v/k", b"1")
    second = objects.put("s3://v/k", b"2")
    assert objects.remove("v", "k").marker
    assert objects.get("s3://v/k") is None
    assert first.path.read_bytes() == b"1"
    with objects.store.reading() as tx:
        marker = tx.run("object_newest", bucket="v", key="k")[0][3]
    objects.remove("v", "k", marker)
    objects.remove("v", "k", second.version_id)
    assert objects.read("s3://v/k") == b"1"


def test_a_commit_that_is_forbidden_leaves_nothing(objects: Objects) -> None:
    stored = objects.put("s3://b/k", b"old")
    with objects.store.transaction() as tx:
        tx.records.delete(bucket_key("b"))
    with pytest.raises(AwsError):
        objects.put("s3://b/k", b"new")
    assert files(objects) == [stored.path]


def test_a_full_disk_loses_nothing(objects: Objects) -> None:
    stored = objects.put("s3://b/k", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        with pytest.raises(AwsError) as caught:
            objects.put("s3://b/k", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.code, caught.value.status) == ("InternalError", 500)
    assert objects.read("s3://b/k") == b"old"
    assert files(objects) == [stored.path]


def test_orphans_are_swept_and_the_rest_stays(objects: Objects) -> None:
    stored = objects.put("s3://b/k", b"kept")
    objects.blobs.path("b", "dir/lost", 5).parent.mkdir(parents=True)
    objects.blobs.path("b", "dir/lost", 5).write_bytes(b"lost")
    objects.blobs.part_path("gone", 1, 5).parent.mkdir(parents=True)
    objects.blobs.part_path("gone", 1, 5).write_bytes(b"part")
    later = Objects(objects.store, objects.blobs)
    assert later.sweep() == 2
    assert files(objects) == [stored.path]


def test_a_notification_leaves_with_the_commit(objects: Objects) -> None:
    rule = {"Name": "suffix", "Value": ".csv"}
    queue = {"QueueArn": "arn:q", "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": [rule]}}}
    make_bucket(objects, "n", Settings={"Notification": {"QueueConfigurations": [queue]}})
    objects.put("s3://n/a.csv", b"")
    objects.put("s3://n/a.txt", b"")
    messages = objects.store.take_messages(10)
    assert [(m.topic, m.body["Key"], m.body["Targets"][0]["Arn"]) for m in messages] == [("s3.event", "a.csv", "arn:q")]
