"""The public names of AWS's older toolkit.

Examples import more of them than they use: what only AWS's own containers call is there by name, and says so when it is called.
"""

import sys
from types import ModuleType
from typing import Any

from sagemaker_inference import content_types  # type: ignore[import-not-found]

from . import encoders, env, errors, worker

INTERNAL = ("files", "functions", "logging", "mapping", "modules", "mpi", "params", "process", "runner", "server", "trainer", "transformer")


class Internal(ModuleType):
    """A part of the toolkit that its containers are made of; nothing of it can be called here."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__} is a part of AWS's containers that Dewfall's do not have; {name} cannot be used.")


for _name in INTERNAL:
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = Internal(f"{__name__}.{_name}")


def training_env(**_: Any) -> env.TrainingEnv:
    """The training environment with its members as attributes."""
    return env.TrainingEnv()


__all__ = ["INTERNAL", "content_types", "encoders", "env", "errors", "training_env", "worker"]
