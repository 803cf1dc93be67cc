"""Lists: order, prefixes, delimiters, pages, markers, versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewfall.engine.versions import after_key, prefix_end

Refused = Callable[..., tuple[str, int]]

KEYS = ["a", "a/1", "a/2", "a/b/3", "b", "b/", "b/x", "c", "z z", "é"]


@pytest.fixture
def filled(s3: Any) -> Any:
    for key in KEYS:
        s3.put_object(Bucket="data", Key=key, Body=b"")
    return s3


def names(answer: dict[str, Any]) -> tuple[list[str], list[str]]:
    return [c["Key"] for c in answer.get("Contents", [])], [p["Prefix"] for p in answer.get("CommonPrefixes", [])]


def test_prefix_and_delimiter(filled: Any) -> None:
    assert names(filled.list_objects_v2(Bucket="data")) == (KEYS, [])
    assert names(filled.list_objects_v2(Bucket="data", Delimiter="/")) == (["a", "b", "c", "z z", "é"], ["a/", "b/"])
    assert names(filled.list_objects_v2(Bucket="data", Delimiter="/", Prefix="a/")) == (["a/1", "a/2"], ["a/b/"])
    assert names(filled.list_objects_v2(Bucket="data", Prefix="none")) == ([], [])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_pages_hold_together_all_there_is(filled: Any, operation: str, size: int) -> None:
    pages = list(filled.get_paginator(operation).paginate(Bucket="data", Delimiter="/", PaginationConfig={"PageSize": size}))
    found = [names(page) for page in pages]
    assert [k for keys, _ in found for k in keys] == ["a", "b", "c", "z z", "é"]
    assert [p for _, prefixes in found for p in prefixes] == ["a/", "b/"]
    assert all(len(keys) + len(prefixes) <= size for keys, prefixes in found)


def test_start_after_and_markers(filled: Any) -> None:
    assert names(filled.list_objects_v2(Bucket="data", StartAfter="b/"))[0] == ["b/x", "c", "z z", "é"]
    assert names(filled.list_objects(Bucket="data", Marker="a/2", Delimiter="/")) == (["b", "c", "z z", "é"], ["b/"])


def test_limits(filled: Any, refused: Refused) -> None:
    none = filled.list_objects_v2(Bucket="data", MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert filled.list_objects_v2(Bucket="data", MaxKeys=5000)["MaxKeys"] == 1000
    assert refused(filled.list_objects_v2, Bucket="data", MaxKeys=-1) == ("InvalidArgument", 400)
    assert refused(filled.list_objects_v2, Bucket="data", ContinuationToken="!") == ("InvalidArgument", 400)


def test_owners_come_when_asked_for(filled: Any) -> None:
    assert "Owner" not in filled.list_objects_v2(Bucket="data")["Contents"][0]
    assert "ID" in filled.list_objects_v2(Bucket="data", FetchOwner=True)["Contents"][0]["Owner"]


def test_versions_are_listed_newest_first_in_pages(versioned: Any) -> None:
    made = [versioned.put_object(Bucket="data", Key=key)["VersionId"] for key in ("k", "k", "l")]
    marker = versioned.delete_object(Bucket="data", Key="k")["VersionId"]
    pages = list(versioned.get_paginator("list_object_versions").paginate(Bucket="data", PaginationConfig={"PageSize": 1}))
    entries = [entry for page in pages for entry in page.get("Versions", []) + page.get("DeleteMarkers", [])]
    assert [entry["VersionId"] for entry in entries] == [marker, made[1], made[0], made[2]]
    assert [entry["IsLatest"] for entry in entries] == [True, False, False, True]


@given(st.text(max_size=5), st.text(max_size=5))
def test_every_text_with_a_prefix_is_before_its_end(prefix: str, rest: str) -> None:
    end = prefix_end(prefix)
    text = (prefix + rest).encode("utf-8", "surrogatepass")
    assert end is None or text < end.encode("utf-8", "surrogatepass")
    assert text < after_key(prefix + rest).encode("utf-8", "surrogatepass")


def test_versions_that_are_deleted_page_by_page_all_go(versioned: Any) -> None:
    for n in range(8):
        versioned.put_object(Bucket="data", Key=f"k{n // 4}")
    pages = versioned.get_paginator("list_object_versions").paginate(Bucket="data", PaginationConfig={"PageSize": 3})
    for page in pages:
        listed = [{name: version[name] for name in ("Key", "VersionId")} for version in page["Versions"]]
        versioned.delete_objects(Bucket="data", Delete={"Objects": listed})
    assert "Versions" not in versioned.list_object_versions(Bucket="data")
