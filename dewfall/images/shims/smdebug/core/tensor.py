"""`from smdebug.core.tensor import StepState, Tensor`."""

from dewfall.images.debugging.analysis.tensor import StepState, Tensor

__all__ = ["StepState", "Tensor"]
