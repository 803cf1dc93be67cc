"""What smdebug raises: which step, tensor or worker is not there, or that a rule's condition is met."""

from __future__ import annotations

from dewfall.images.debugging.saving import ModeKeys


class SMDebugError(Exception):
    """Any of them."""


class MissingCollectionFiles(SMDebugError):
    """The job has ended and has saved nothing."""

    def __str__(self) -> str:
        return "The training job has ended without saving a collection of tensors"


class StepNotYetAvailable(SMDebugError):
    """A step that may still come."""

    def __init__(self, step: int, mode: ModeKeys) -> None:
        super().__init__(f"Step {step} of mode {mode.name} not yet available")
        self.step, self.mode = step, mode


class StepUnavailable(SMDebugError):
    """A step that was not saved."""

    def __init__(self, step: int, mode: ModeKeys) -> None:
        super().__init__(f"Step {step} of mode {mode.name} is not available as it was not saved")
        self.step, self.mode = step, mode


class TensorUnavailable(SMDebugError):
    """A tensor that was saved at no step."""

    def __init__(self, tname: str) -> None:
        super().__init__(f"Tensor {tname} was not saved.")
        self.tname = tname


class TensorUnavailableForStep(SMDebugError):
    """A tensor that this step does not have."""

    def __init__(self, tname: str, step: int, mode: ModeKeys = ModeKeys.GLOBAL, has_reductions: bool = False) -> None:
        super().__init__(f"Value for tensor {tname} is not available for step {step} with mode {mode.name} as it was not saved.")
        self.tname, self.step, self.mode, self.has_reductions = tname, step, mode, has_reductions


class InvalidWorker(SMDebugError):
    """A worker that has saved nothing."""

    def __init__(self, worker: str) -> None:
        super().__init__(f"Invalid Worker: {worker}")
        self.worker = worker


class NoMoreData(SMDebugError):
    """The job has ended before this step."""

    def __init__(self, step: int, mode: ModeKeys, last_step: int) -> None:
        super().__init__(f"Looking for step {step} of mode {mode.name} and reached end of training. Max step available is {last_step}")
        self.step, self.mode, self.last_step = step, mode, last_step


class NoMoreProfilerData(SMDebugError):
    """The job has ended before this time, in microseconds since the epoch."""

    def __init__(self, timestamp: float) -> None:
        super().__init__(f"Looking for timestamp {timestamp} and reached end of training.")
        self.timestamp = timestamp


class RuleEvaluationConditionMet(SMDebugError):
    """A rule has found what it looks for."""

    def __init__(self, rule_name: str, step: int, end_of_rule: bool = False) -> None:
        super().__init__(f"Evaluation of the rule {rule_name} at step {step} resulted in the condition being met")
        self.rule_name, self.step, self.end_of_rule = rule_name, step, end_of_rule


class InsufficientInformationForRuleInvocation(SMDebugError):
    """A rule that lacks something."""

    def __init__(self, rule_name: str, message: str) -> None:
        super().__init__(f"Insufficient information to invoke rule {rule_name}: {message}")
        self.rule_name, self.message = rule_name, message
