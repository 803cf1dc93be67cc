"""Buckets: names, regions, owners, emptiness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dewfall.testing import Server

Refused = Callable[..., tuple[str, int]]


def test_a_bucket_is_created_found_and_deleted(s3: Any, refused: Refused) -> None:
    assert s3.head_bucket(Bucket="data")["BucketRegion"] == "us-east-1"
    assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["data"]
    s3.delete_bucket(Bucket="data")
    assert refused(s3.head_bucket, Bucket="data") == ("404", 404)
    assert refused(s3.list_objects_v2, Bucket="data") == ("NoSuchBucket", 404)


def test_ones_own_bucket_again_is_fine_in_us_east_1_only(dewfall: Server, s3: Any, refused: Refused) -> None:
    s3.create_bucket(Bucket="data")
    west = dewfall.client("s3", region_name="us-west-2")
    here = {"LocationConstraint": "us-west-2"}
    west.create_bucket(Bucket="west", CreateBucketConfiguration=here)
    assert refused(west.create_bucket, Bucket="west", CreateBucketConfiguration=here) == ("BucketAlreadyOwnedByYou", 409)
    assert west.get_bucket_location(Bucket="west")["LocationConstraint"] == "us-west-2"


def test_names_are_global(dewfall: Server, s3: Any, refused: Refused) -> None:
    other = dewfall.client("s3", aws_access_key_id="111122223333")
    assert refused(other.create_bucket, Bucket="data") == ("BucketAlreadyExists", 409)
    assert other.list_buckets()["Buckets"] == []


@pytest.mark.parametrize("name", ["UPPER", "a..b", "192.168.0.1", "-start", "end-", "under_score", "xn--x"])
def test_names_are_checked(s3: Any, refused: Refused, name: str) -> None:
    assert refused(s3.create_bucket, Bucket=name) == ("InvalidBucketName", 400)


def test_a_constraint_must_be_the_endpoints_region(dewfall: Server, s3: Any, refused: Refused) -> None:
    west = dewfall.client("s3", region_name="us-west-2")
    illegal = ("IllegalLocationConstraintException", 400)
    assert refused(west.create_bucket, Bucket="xyz") == illegal
    assert refused(west.create_bucket, Bucket="xyz", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}) == illegal
    nowhere = {"LocationConstraint": "moon-1"}
    assert refused(s3.create_bucket, Bucket="xyz", CreateBucketConfiguration=nowhere) == ("InvalidLocationConstraint", 400)


def test_a_bucket_with_anything_in_it_stays(versioned: Any, refused: Refused) -> None:
    made = versioned.put_object(Bucket="data", Key="k")["VersionId"]
    marker = versioned.delete_object(Bucket="data", Key="k")["VersionId"]
    assert refused(versioned.delete_bucket, Bucket="data") == ("BucketNotEmpty", 409)
    for version in (made, marker):
        versioned.delete_object(Bucket="data", Key="k", VersionId=version)
    versioned.delete_bucket(Bucket="data")


def test_the_expected_owner_is_compared(s3: Any, refused: Refused) -> None:
    assert s3.head_bucket(Bucket="data", ExpectedBucketOwner="000000000000")
    assert refused(s3.head_bucket, Bucket="data", ExpectedBucketOwner="111122223333") == ("403", 403)
    assert refused(s3.list_objects_v2, Bucket="data", ExpectedBucketOwner="111122223333") == ("AccessDenied", 403)


def test_buckets_are_listed_in_pages(s3: Any) -> None:
    for name in ("aaa", "bbb", "ccc"):
        s3.create_bucket(Bucket=name)
    first = s3.list_buckets(MaxBuckets=2)
    assert [b["Name"] for b in first["Buckets"]] == ["aaa", "bbb"]
    assert [b["Name"] for b in s3.list_buckets(ContinuationToken=first["ContinuationToken"])["Buckets"]] == ["ccc", "data"]
    assert [b["Name"] for b in s3.list_buckets(Prefix="c")["Buckets"]] == ["ccc"]
