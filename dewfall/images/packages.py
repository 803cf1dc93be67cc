"""The packages that AWS's images have beside the framework's own, as far as users' scripts import them.

They stand last on the module search path (`shims/`), so that whoever installs AWS's own packages gets those.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

SHIMS = Path(__file__).parent / "shims"
BUNDLED_JOBLIB = "sklearn.externals.joblib"
LAST_BUNDLED = ("0.20", "0.21", "0.22")  # scikit-learn dropped its own joblib with 0.23


def offer(code: Path) -> None:
    """Let this process and its children import them, and what lies in the folder of the user's code."""
    sys.path.append(str(SHIMS))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(code), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), str(SHIMS)])
    offer_bundled_joblib()


def offer_bundled_joblib() -> None:
    """`from sklearn.externals import joblib`, in images whose scikit-learn brought it along."""
    if os.environ.get("SAGEMAKER_SCIKIT_LEARN_VERSION", "").startswith(LAST_BUNDLED):
        sys.meta_path.append(BundledJoblib())


class BundledJoblib(MetaPathFinder, Loader):
    """Finds joblib itself under the name that it had inside scikit-learn."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == BUNDLED_JOBLIB else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return import_module("joblib")

    def exec_module(self, module: ModuleType) -> None:
        """It has run already, under its own name."""
