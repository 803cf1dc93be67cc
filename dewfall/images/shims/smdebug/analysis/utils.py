"""`from smdebug.analysis.utils import no_refresh`."""

from dewfall.images.debugging.analysis.rule import no_refresh, refresh

__all__ = ["no_refresh", "refresh"]
