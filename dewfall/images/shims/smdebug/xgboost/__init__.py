"""`from smdebug.xgboost import Hook`."""

from dewfall.images.debugging.saving import SaveConfig, modes
from dewfall.images.debugging.xgboost_script import Hook

__all__ = ["Hook", "SaveConfig", "modes"]
