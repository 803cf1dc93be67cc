"""Importing a library without the optional ones that it looks for.

LightGBM and XGBoost import scikit-learn and pandas where they find them, for a second or more; an algorithm's own command, which gives
them arrays and nothing else, has no use for these. Where a script of a user's runs, the whole library is imported.
"""

import contextlib
import importlib
import sys

OPTIONAL = ("sklearn", "pandas", "pyarrow", "dask", "distributed", "matplotlib", "graphviz")


def import_lean(name: str) -> None:
    """Import a library as if OPTIONAL were not installed, unless it or they are imported already. What fails to import is told by its user."""
    if name in sys.modules:
        return
    hidden = [optional for optional in OPTIONAL if optional not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import raise ImportError
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    finally:
        for optional in hidden:
            del sys.modules[optional]
