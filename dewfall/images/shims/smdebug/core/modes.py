"""`from smdebug.core.modes import ModeKeys`."""

from dewfall.images.debugging.saving import ModeKeys

__all__ = ["ModeKeys"]
