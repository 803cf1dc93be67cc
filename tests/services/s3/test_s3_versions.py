"""Versions, delete markers, locks, tags."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

Refused = Callable[..., tuple[str, int]]


def test_versions_stay_readable_behind_a_marker(versioned: Any, refused: Refused) -> None:
    first, second = (versioned.put_object(Bucket="data", Key="k", Body=body)["VersionId"] for body in (b"1", b"2"))
    deleted = versioned.delete_object(Bucket="data", Key="k")
    assert deleted["DeleteMarker"] is True
    assert refused(versioned.get_object, Bucket="data", Key="k") == ("NoSuchKey", 404)
    assert refused(versioned.get_object, Bucket="data", Key="k", VersionId=deleted["VersionId"]) == ("MethodNotAllowed", 405)
    assert versioned.get_object(Bucket="data", Key="k", VersionId=first)["Body"].read() == b"1"
    versioned.delete_object(Bucket="data", Key="k", VersionId=deleted["VersionId"])
    assert versioned.head_object(Bucket="data", Key="k")["VersionId"] == second


def test_unknown_versions(versioned: Any, refused: Refused) -> None:
    versioned.put_object(Bucket="data", Key="k")
    assert refused(versioned.get_object, Bucket="data", Key="k", VersionId="x" * 32) == ("InvalidArgument", 400)
    gone = versioned.put_object(Bucket="data", Key="k")["VersionId"]
    versioned.delete_object(Bucket="data", Key="k", VersionId=gone)
    assert refused(versioned.get_object, Bucket="data", Key="k", VersionId=gone) == ("NoSuchVersion", 404)
    assert refused(versioned.get_object, Bucket="data", Key="k", VersionId="nonsense") == ("InvalidArgument", 400)


def test_suspended_versioning_replaces_only_null(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    kept = s3.put_object(Bucket="data", Key="k", Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Suspended"})
    assert "VersionId" not in s3.put_object(Bucket="data", Key="k", Body=b"after")
    assert s3.head_object(Bucket="data", Key="k")["VersionId"] == "null"
    ids = [v["VersionId"] for v in s3.list_object_versions(Bucket="data")["Versions"]]
    assert ids == ["null", kept]
    assert s3.delete_object(Bucket="data", Key="k")["VersionId"] == "null"
    assert [v["VersionId"] for v in s3.list_object_versions(Bucket="data")["Versions"]] == [kept]


@pytest.fixture
def locked(s3: Any) -> Any:
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    return s3


def test_retention_and_bypass(locked: Any, refused: Refused) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    told = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until}
    which = {"Bucket": "locked", "Key": "k", "VersionId": locked.put_object(Bucket="locked", Key="k", Body=b"x", **told)["VersionId"]}
    assert locked.get_object_retention(**which)["Retention"]["Mode"] == "GOVERNANCE"
    assert refused(locked.delete_object, **which) == ("AccessDenied", 403)
    weaker = {"Mode": "GOVERNANCE", "RetainUntilDate": until - timedelta(hours=1)}
    assert refused(locked.put_object_retention, **which, Retention=weaker) == ("AccessDenied", 403)
    assert locked.delete_object(Bucket="locked", Key="k")["DeleteMarker"]
    locked.delete_object(**which, BypassGovernanceRetention=True)


def test_a_legal_hold_holds_until_it_is_lifted(locked: Any, refused: Refused) -> None:
    which = {"Bucket": "locked", "Key": "k", "VersionId": locked.put_object(Bucket="locked", Key="k", Body=b"x")["VersionId"]}
    assert refused(locked.get_object_legal_hold, **which) == ("NoSuchObjectLockConfiguration", 404)
    locked.put_object_legal_hold(**which, LegalHold={"Status": "ON"})
    assert refused(locked.delete_object, **which, BypassGovernanceRetention=True) == ("AccessDenied", 403)
    errors = locked.delete_objects(Bucket="locked", Delete={"Objects": [{"Key": "k", "VersionId": which["VersionId"]}]})["Errors"]
    assert errors[0]["Code"] == "AccessDenied"
    locked.put_object_legal_hold(**which, LegalHold={"Status": "OFF"})
    locked.delete_object(**which)


def test_default_retention_reaches_new_versions(locked: Any, refused: Refused) -> None:
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    locked.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=rule)
    made = locked.put_object(Bucket="locked", Key="k", Body=b"x")["VersionId"]
    assert locked.head_object(Bucket="locked", Key="k")["ObjectLockMode"] == "COMPLIANCE"
    assert refused(locked.delete_object, Bucket="locked", Key="k", VersionId=made, BypassGovernanceRetention=True) == ("AccessDenied", 403)
    suspended = {"Status": "Suspended"}
    assert refused(locked.put_bucket_versioning, Bucket="locked", VersioningConfiguration=suspended) == ("InvalidBucketState", 409)


def test_locks_need_a_bucket_for_them(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="k")
    assert refused(s3.get_object_retention, Bucket="data", Key="k") == ("InvalidRequest", 400)
    assert refused(s3.get_object_lock_configuration, Bucket="data") == ("ObjectLockConfigurationNotFoundError", 404)


def test_object_tags(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="k", Tagging="a=1&b=x%20y")
    assert s3.get_object_tagging(Bucket="data", Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]
    s3.put_object_tagging(Bucket="data", Key="k", Tagging={"TagSet": [{"Key": "c", "Value": ""}]})
    assert s3.head_object(Bucket="data", Key="k")["TagCount"] == 1
    s3.delete_object_tagging(Bucket="data", Key="k")
    assert s3.get_object_tagging(Bucket="data", Key="k")["TagSet"] == []
    twice = {"TagSet": [{"Key": "c", "Value": "1"}, {"Key": "c", "Value": "2"}]}
    assert refused(s3.put_object_tagging, Bucket="data", Key="k", Tagging=twice) == ("InvalidTag", 400)


def test_a_copy_tells_the_version_null_that_it_made_and_not_its_source(versioned: Any) -> None:
    first = versioned.put_object(Bucket="data", Key="k", Body=b"x")["VersionId"]
    versioned.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Suspended"})
    told = [versioned.copy_object(Bucket="data", Key="k", CopySource="data/k", MetadataDirective="REPLACE") for _ in range(2)]
    assert [(answer["VersionId"], answer.get("CopySourceVersionId")) for answer in told] == [("null", first), ("null", None)]
