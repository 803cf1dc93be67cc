"""`python -m dewfall.images.debugging`: the evaluation of one rule, as a processing job of its own.

    rule_to_invoke   a name of Debugger's  → built_in.py, on the job's tensors
                     a name of Profiler's  → profiler.py, on what was measured of its instances
                     a class of one's own  → custom.py, from the script at source_s3_uri

It ends with the condition being met, which its exit message tells, else with the training job. It is nice to the job that it watches.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

from dewfall.images import contract
from dewfall.images.contract import UserError
from dewfall.images.debugging.actions import act, read_actions
from dewfall.ml.debugging.trial import Options

NICE = 5
MESSAGE = "RuleEvaluationConditionMet: Evaluation of the rule {rule} at step {step} resulted in the condition being met\n"


def main() -> int:
    """The job's exit code."""
    signal.signal(signal.SIGTERM, _end)
    os.nice(NICE)
    options = Options(dict(os.environ))
    invoked = options.text("rule_to_invoke")
    try:
        actions = read_actions(options.text("action_json"))
        met = _evaluate(invoked, options)
    except (UserError, ValueError) as error:
        print(f"ClientError: {error}", file=sys.stderr, flush=True)
        contract.write_failure(f"ClientError: {error}")
        return contract.CLIENT_ERROR_EXIT
    if met is None:
        print(f"The condition of the rule {invoked} was not met.", flush=True)
        return 0
    step, why = met
    if step is None:
        print(f"The condition of the rule {invoked} was not met. {why}", flush=True)
        _write_message(why)
        return 0
    message = MESSAGE.format(rule=invoked, step=step)
    print(f"{message}{why}", flush=True)
    for action in actions:
        print(act(action, invoked, options.text("training_job_name"), message + why, _client), flush=True)
    _write_message(message)
    return 0


def _evaluate(invoked: str, options: Options) -> tuple[int | None, str] | None:
    """(step, why); the step is None where the rule had nothing to look at."""
    from dewfall.images.debugging import built_in, custom, profiler

    if options.text("source_s3_uri"):
        return custom.evaluate(invoked, options, _client)
    if invoked in profiler.NAMES:
        return profiler.evaluate(invoked, options, _client)
    if invoked not in built_in.NAMES:
        raise UserError(f"There is no built-in rule {invoked!r}.")
    return built_in.evaluate(invoked, options, _client)


def _write_message(message: str) -> None:
    path = contract.folders().output / "message"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(message)


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
