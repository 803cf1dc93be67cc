"""Request bodies → DMatrix."""

from typing import Any

from dewfall.images.frameworks import xgboost_input


def decode(obj: Any, content_type: str) -> Any:
    """By content type: csv, libsvm or recordio-protobuf."""
    return xgboost_input(obj, content_type)


def csv_to_dmatrix(input: Any, dtype: Any = None) -> Any:
    return xgboost_input(input, "text/csv")


def libsvm_to_dmatrix(string_like: Any) -> Any:
    return xgboost_input(string_like, "text/libsvm")


def recordio_protobuf_to_dmatrix(string_like: Any) -> Any:
    return xgboost_input(string_like, "application/x-recordio-protobuf")
