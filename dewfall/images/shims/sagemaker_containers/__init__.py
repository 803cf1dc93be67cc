"""AWS's older toolkit, as scripts import it."""

from sagemaker_containers.beta.framework import training_env  # type: ignore[import-not-found]

__all__ = ["training_env"]
