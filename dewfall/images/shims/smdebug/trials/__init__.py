"""`from smdebug.trials import create_trial`."""

from dewfall.images.debugging.analysis.trial import Trial, create_trial

__all__ = ["Trial", "create_trial"]
