"""The evaluation of a built-in Debugger rule: at each step that the training job saves, until the first where its condition is met."""

from __future__ import annotations

import re
import time
from typing import Any

from botocore.exceptions import ClientError

from dewfall.images.contract import UserError
from dewfall.images.debugging import report
from dewfall.images.debugging.actions import act
from dewfall.images.debugging.reading import Reader
from dewfall.images.debugging.source import Source
from dewfall.ml.debugging import RULES
from dewfall.ml.debugging.trial import Options, Trial

POLL = 1.0
STALLED = "StalledTrainingRule"
REPORT = "CreateXgboostReport"
COMPARING = "SimilarAcrossRuns"
OTHER = re.compile(r"other_trial(_\d+)?")  # the second form is the SDK's other_trials_s3_input_paths
NAMES = (*RULES, STALLED, REPORT)


def evaluate(invoked: str, options: Options, client: Any) -> tuple[int, str] | None:
    """(step, why) of the first step that meets the condition; None when the job has ended without. `client` makes boto3 clients."""
    source = Source(Reader(client("s3"), options.text("tensors_s3_uri")))
    if invoked == COMPARING:
        source.trial.other = _other_trial(options, client)
    rule, last, came = RULES.get(invoked), -1, time.monotonic()
    start, end = options.number("start_step", 0), options.number("end_step", float("inf"))
    while True:
        has_ended, found = source.has_ended(), source.update()
        if found:
            last, came = found[-1], time.monotonic()
        for step in found if rule is not None else ():
            why = rule(source.trial, step, options) if rule is not None and start <= step < end else ""
            if why:
                return step, why
        if invoked == STALLED and time.monotonic() - came > options.number("threshold", 1800):
            _stop_stalled(options, client)
            return max(0, last), f"no new step for {options.number('threshold', 1800):g} seconds"
        if source.is_behind:
            continue
        if has_ended:
            if invoked == REPORT:
                report.write(source.trial, options.text("rule_output_path"), options.text("training_job_name"))
            return None
        time.sleep(POLL)


def _other_trial(options: Options, client: Any) -> Trial:
    """The tensors of the run that `other_trial` names: a training job, or their place in S3. Raises UserError where there are none."""
    named = next((options.given[name] for name in sorted(options.given) if OTHER.fullmatch(name)), "")
    if not named:
        raise UserError(f"{COMPARING} needs other_trial: a completed training job whose tensors are compared.")
    uri = named if named.startswith("s3://") else _tensors_of(named, client("sagemaker"))
    source = Source(Reader(client("s3"), uri.rstrip("/") + "/"))
    try:
        found = source.update()
        while source.is_behind:
            source.update()
    except ClientError as error:
        raise UserError(f"The tensors of the other trial {named} cannot be read: {error}") from None
    if not found:
        raise UserError(f"The other trial {named} has no tensors at {uri}.")
    return source.trial


def _tensors_of(job: str, sagemaker: Any) -> str:
    try:
        document = sagemaker.describe_training_job(TrainingJobName=job)
    except ClientError as error:
        raise UserError(f"The other trial {job} cannot be found: {error}") from None
    base = document.get("DebugHookConfig", {}).get("S3OutputPath", "")
    if not base:
        raise UserError(f"The other trial {job} has saved no tensors: it has no DebugHookConfig.")
    return f"{base.rstrip('/')}/{job}/debug-output/"


def _stop_stalled(options: Options, client: Any) -> None:
    if options.flag("stop_training_on_fire", False):
        action = {"name": "stoptraining", "training_job_prefix": options.text("training_job_name_prefix")}
        print(act(action, STALLED, options.text("training_job_name"), "", client), flush=True)
