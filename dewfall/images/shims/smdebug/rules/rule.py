"""`from smdebug.rules.rule import Rule`."""

from dewfall.images.debugging.analysis.rule import Rule

__all__ = ["Rule"]
