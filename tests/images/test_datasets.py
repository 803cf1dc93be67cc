"""A channel's files as one table."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dewfall.images.contract import Channel, UserError
from dewfall.images.datasets import read_table
from dewfall.images.recordio import write_matrix


def channel(folder: Path, files: dict[str, bytes], content_type: str) -> Channel:
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return Channel("train", folder, content_type)


def test_csv_files_join_label_first(tmp_path: Path) -> None:
    table = read_table(channel(tmp_path, {"a.csv": b"1,2,3\n", "b.csv": gzip.compress(b"4,5,6\n"), ".hidden": b"x"}, "text/csv"))
    assert table.features.tolist() == [[2, 3], [5, 6]]
    assert table.labels is not None
    assert table.labels.tolist() == [1, 4]


def test_label_size_of_the_content_type_wins(tmp_path: Path) -> None:
    table = read_table(channel(tmp_path, {"a": b"1,2\n"}, "text/csv;label_size=0"))
    assert (table.columns, table.labels) == (2, None)


def test_weights_come_second(tmp_path: Path) -> None:
    table = read_table(channel(tmp_path, {"a": b"1,0.5,7\n"}, "text/csv"), weighted=True)
    assert table.weights is not None
    assert (table.features.tolist(), table.weights.tolist()) == ([[7]], [0.5])


def test_libsvm_files_of_different_width(tmp_path: Path) -> None:
    table = read_table(channel(tmp_path, {"a": b"1 0:1\n", "b": b"0 4:1\n"}, "text/libsvm"))
    assert table.features.shape == (2, 5)


def test_recordio(tmp_path: Path) -> None:
    table = read_table(channel(tmp_path, {"a": write_matrix(np.eye(2, dtype=np.float32), np.array([5, 6]))}, "application/x-recordio-protobuf"))
    assert table.labels is not None
    assert table.labels.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("files", "content_type", "message"),
    [
        ({}, "text/csv", "No data file found for channel 'train'"),
        ({"a": b"1,x\n"}, "text/csv", "Requested content-type is 'text/csv'"),
        ({"a": b"1,2\n"}, "application/x-recordio-protobuf", "verify the data matches"),
        ({"a": b"1,2\n", "b": b"1,2,3\n"}, "text/csv", "differ in their number of columns"),
        ({"a": b"1"}, "image/png", "not supported"),
        ({"a": b"1,2\n"}, "text/csv;label_size=x", "label_size of content type"),
        ({"a": b"\x1f\x8bnothing"}, "text/csv", "cannot be unpacked"),
        ({"a": b"PAR1nothing"}, "application/x-parquet", "must have columns of numbers"),
    ],
)
def test_user_errors(tmp_path: Path, files: dict[str, bytes], content_type: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_table(channel(tmp_path, files, content_type))
