"""`from smdebug.trials.utils import create_trial`."""

from dewfall.images.debugging.analysis.trial import create_trial

__all__ = ["create_trial"]
