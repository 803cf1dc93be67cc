"""Tensors as bytes: one TensorFlow event record per tensor, as smdebug writes and reads them.

Why by hand: it is one message of five nested ones, and protobuf would be a dependency of every job.

    record: length u64 · masked CRC of the length u32 · event · u32 of smdebug's own (the masked CRC of a constant)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER, CHECK = struct.Struct("<Q"), struct.Struct("<I")
MAGIC = b"0x12345678"  # what the last word of each record is the checksum of
MODES = {"TRAIN": 1, "EVAL": 2, "PREDICT": 3, "GLOBAL": 4}
TYPES = {
    "float16": 19, "float32": 1, "float64": 2, "int32": 3, "int64": 9, "uint8": 4, "uint16": 17, "uint32": 22, "uint64": 23, "int8": 6, "int16": 5,
    "complex64": 8, "complex128": 18, "bool": 10,
}  # fmt: skip
TEXT = 7
NAMES = {number: name for name, number in TYPES.items()}
POLYNOMIAL = 0x82F63B78


@dataclass(frozen=True, slots=True)
class Saved:
    """A tensor of one step."""

    name: str
    step: int
    mode: str
    mode_step: int
    value: NDArray[Any]


def encode(saved: Saved, wall_time: float) -> bytes:
    """The whole record of a tensor."""
    plugins = (("mode_step", str(saved.mode_step)), ("mode", str(MODES[saved.mode])))
    metadata = b"".join(_part(1, _text(1, name) + _text(2, content)) for name, content in plugins)
    value = _text(1, saved.name) + _part(8, _tensor(saved)) + _part(9, metadata)
    event = b"\x09" + struct.pack("<d", wall_time) + b"\x10" + _varint(saved.step) + _part(5, _part(1, value))
    header = HEADER.pack(len(event))
    return header + CHECK.pack(masked(header)) + event + CHECK.pack(masked(MAGIC))


def decode(data: bytes) -> Iterator[Saved]:
    """Every tensor of a file's bytes; a last record that is not complete yet is left out."""
    place = 0
    while place + 12 <= len(data):
        (length,) = HEADER.unpack_from(data, place)
        end = place + 12 + length
        if end + 4 > len(data):
            return
        yield _event(data[place + 12 : end])
        place = end + 4


def masked(data: bytes) -> int:
    """TensorFlow's masked CRC-32C."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _tensor(saved: Saved) -> bytes:
    array: NDArray[Any] = np.ascontiguousarray(saved.value).reshape(np.shape(saved.value))
    shape = b"".join(_part(2, b"\x08" + _varint(size) + _text(2, f"{saved.name}_{size}")) for size in array.shape)
    if array.dtype.kind in "USO":
        return b"\x08" + _varint(TEXT) + _part(2, shape) + b"".join(_part(8, str(one).encode()) for one in array.reshape(-1))
    if array.dtype.name not in TYPES:
        raise ValueError(f"{saved.name}: tensors of type {array.dtype} cannot be saved")
    return b"\x08" + _varint(TYPES[array.dtype.name]) + _part(2, shape) + _part(4, array.tobytes())


def _event(data: bytes) -> Saved:
    event = _fields(data)
    value = _fields(_fields(event[5][0])[1][0])
    tensor = _fields(value[8][0])
    shape = [int(_fields(size).get(1, [0])[0]) for size in _fields(tensor[2][0]).get(2, ())] if 2 in tensor else []
    marks = {_fields(one)[1][0].decode(): _fields(one)[2][0].decode() for one in _fields(value[9][0])[1]}
    number = tensor.get(1, [TEXT])[0]
    if number == TEXT:
        array = np.array([one.decode() for one in tensor.get(8, ())]).reshape(shape or -1)
    else:
        array = np.frombuffer(tensor.get(4, [b""])[0], NAMES[number]).reshape(shape)
    mode = next(name for name, one in MODES.items() if str(one) == marks["mode"])
    return Saved(value[1][0].decode(), int(event.get(2, [0])[0]), mode, int(marks["mode_step"]), array)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _part(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())


def _fields(data: bytes) -> dict[int, list[Any]]:
    """A message's fields by number: integers, or bytes."""
    found: dict[int, list[Any]] = {}
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _read_varint(data, place)
            found.setdefault(key >> 3, []).append(value)
            continue
        length, place = (8, place) if kind == 1 else (4, place) if kind == 5 else _read_varint(data, place)
        found.setdefault(key >> 3, []).append(data[place : place + length])
        place += length
    return found


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
