"""Array → bytes by content type."""

from typing import Any

from dewfall.images import frameworks

SUPPORTED_CONTENT_TYPES = set(frameworks.ENCODED)


def encode(array_like: Any, content_type: str) -> Any:
    """npy as bytes, csv and json as text."""
    return frameworks.encode(array_like, content_type)[0]
