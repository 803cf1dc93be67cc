"""Keys become paths and come back, whatever they hold."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewfall.engine.keypaths import key_path, read_key_path

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300) | st.text("./%@+a", min_size=1, max_size=1024)


@given(KEYS)
def test_a_key_comes_back_from_its_path(key: str) -> None:
    assert read_key_path(key_path(key, 17)) == (key, 17)


@given(KEYS)
def test_no_path_leaves_its_folder_or_has_a_name_too_long(key: str) -> None:
    parts = key_path(key, 17).split("/")
    assert not {"", ".", ".."} & set(parts)
    assert all(len(p.encode()) <= 255 for p in parts)
    assert all("@" not in p for p in parts[:-1])
    assert not PurePosixPath(*parts).is_absolute()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("data/train.csv", "data/train.csv@1"),
        ("a//b/", "a/%/b/%@1"),
        ("../x@y", "%2E%2E/x%40y@1"),
        ("100%", "100%25@1"),
        ("é/日本", "é/日本@1"),
        ("x" * 200 + "..", "x" * 200 + "%+/%2E%2E@1"),
    ],
)
def test_paths_stay_readable(key: str, path: str) -> None:
    assert key_path(key, 1) == path
