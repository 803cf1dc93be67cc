"""`from smdebug.core.logger import get_logger`."""

from dewfall.images.debugging.analysis.rule import get_logger

__all__ = ["get_logger"]
