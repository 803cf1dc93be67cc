"""Bytes → array by content type."""

from dewfall.images.frameworks import decode

__all__ = ["decode"]
