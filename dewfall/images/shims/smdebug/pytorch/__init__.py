"""`import smdebug.pytorch as smd`."""

from dewfall.images.debugging.saving import SaveConfig, modes
from dewfall.images.debugging.torch_script import Hook, get_hook

__all__ = ["Hook", "SaveConfig", "get_hook", "modes"]
