"""Bytes ↔ arrays by content type."""

from typing import Any

from dewfall.images import frameworks
from dewfall.images.frameworks import decode

__all__ = ["array_to_csv", "array_to_json", "array_to_npy", "csv_to_numpy", "decode", "encode", "json_to_numpy", "npy_to_numpy"]


def encode(array_like: Any, content_type: str) -> Any:
    """npy as bytes, csv and json as text."""
    return frameworks.encode(array_like, content_type)[0]


def array_to_npy(array_like: Any) -> Any:
    return encode(array_like, "application/x-npy")


def array_to_json(array_like: Any) -> Any:
    return encode(array_like, "application/json")


def array_to_csv(array_like: Any) -> Any:
    return encode(array_like, "text/csv")


def npy_to_numpy(npy_array: Any) -> Any:
    return decode(npy_array, "application/x-npy")


def json_to_numpy(string_like: Any, dtype: Any = None) -> Any:
    return _cast(decode(string_like, "application/json"), dtype)


def csv_to_numpy(string_like: Any, dtype: Any = None) -> Any:
    return _cast(decode(string_like, "text/csv"), dtype)


def _cast(array: Any, dtype: Any) -> Any:
    return array if dtype is None else array.astype(dtype)
