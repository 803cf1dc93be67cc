"""smdebug's hooks as scripts of XGBoost and PyTorch import them, and its trials and rules as custom rules do."""

from dewfall.images.debugging.saving import ModeKeys, SaveConfig, modes

__all__ = ["ModeKeys", "SaveConfig", "modes"]
