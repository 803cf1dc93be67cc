"""RecordIO-protobuf: written, read, and refused; one body made by an independent hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from dewfall.images import recordio
from dewfall.images.recordio import Record, RecordError, Tensor

# Record{features{"values": float32_tensor{values: 1.0, 2.0}} label{"values": float32_tensor{values: 3.0}}}, encoded by hand.
BODY = bytes.fromhex("0a160a0676616c756573120c120a0a080000803f00000040")
LABEL = bytes.fromhex("12120a0676616c756573120812060a0400004040")


def framed(payload: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + b"\0" * (-len(payload) % 4)


def test_reads_what_protobuf_writes() -> None:
    matrix = recordio.read_matrix(framed(BODY + LABEL) * 2)
    assert matrix.features.tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert matrix.labels is not None
    assert matrix.labels.tolist() == [3.0, 3.0]


def test_writes_what_protobuf_reads() -> None:
    assert recordio.write_matrix(np.array([[1, 2]], np.float32), np.array([3], np.float32)) == framed(BODY + LABEL)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_dense_round_trip(dtype: str) -> None:
    rows = np.arange(-6, 6).reshape(4, 3).astype(dtype)
    matrix = recordio.read_matrix(recordio.write_matrix(rows, rows[:, 0]))
    assert (matrix.features == rows).all()
    assert matrix.labels is not None
    assert matrix.labels.tolist() == rows[:, 0].tolist()


def test_records_of_different_kinds_are_read_one_by_one() -> None:
    body = recordio.write_matrix(np.ones((1, 2), np.float32)) + recordio.write_matrix(np.ones((1, 2), np.float64))
    assert recordio.read_matrix(body).features.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_sparse_round_trip() -> None:
    rows = csr_matrix(np.array([[0, 1.5, 0], [0, 0, 0], [2.5, 0, 3.5]], np.float32))
    matrix = recordio.read_matrix(recordio.write_matrix(rows, np.array([1, 0, 1], np.float32)))
    assert matrix.features.shape == (3, 3)
    assert (matrix.features != rows).nnz == 0


def test_large_keys_take_several_bytes() -> None:
    rows = csr_matrix((np.array([1.0, 2.0], np.float32), np.array([127, 70_000]), [0, 2]), shape=(1, 100_000))
    assert recordio.read_matrix(recordio.write_matrix(rows)).features.indices.tolist() == [127, 70_000]


def test_texts_and_bytes_of_a_record() -> None:
    record = Record({"image": Tensor(np.zeros(0, np.uint8), content=b"\xff\xd8")}, uid="a", metadata="b", configuration="{}")
    found = next(recordio.read_records(recordio.write_records([record])))
    assert (found.features["image"].content, found.uid, found.metadata, found.configuration) == (b"\xff\xd8", "a", "b", "{}")


def test_answers_are_label_maps() -> None:
    body = recordio.write_answers({}, {"score": np.array([0.25, 0.5], np.float32), "predicted_label": np.array([0, 1], np.float32)})
    assert [record.label["score"].values.tolist() for record in recordio.read_records(body)] == [[0.25], [0.5]]


def test_other_bytes_are_refused() -> None:
    with pytest.raises(RecordError, match="magic"):
        recordio.read_matrix(b"1,2,3,4,5,6,7,8")


@given(st.binary(max_size=200))
def test_garbage_never_does_worse_than_refuse(payload: bytes) -> None:
    try:
        recordio.read_matrix(framed(payload))
    except RecordError:
        return
