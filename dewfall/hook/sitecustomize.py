"""Runs at the start of every Python program under `dewfall exec`: shortens the SDKs' sleeps, then the user's own sitecustomize."""

import importlib.machinery
import importlib.util
import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))


def _users_own() -> None:
    """Run the sitecustomize that this one hides."""
    path = [entry for entry in sys.path if os.path.abspath(entry or ".") != _here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


try:
    import dewfall_waits  # type: ignore[import-not-found]

    dewfall_waits.install()
finally:
    _users_own()
