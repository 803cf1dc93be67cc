"""Errors that scripts raise or catch."""

from dewfall.images.formats import UnsupportedFormat as UnsupportedFormatError

__all__ = ["ClientError", "UnsupportedFormatError"]


class ClientError(Exception):
    """The caller's mistake."""
