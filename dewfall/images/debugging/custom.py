"""The evaluation of a rule of one's own: a class of the script at `source_s3_uri`, which is given the trial and the rule's parameters as text.

`from smdebug.rules.rule import Rule` and smdebug's other names are there, whether or not smdebug is installed.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dewfall.images import contract
from dewfall.images.contract import UserError
from dewfall.images.debugging.analysis.errors import NoMoreData, NoMoreProfilerData, RuleEvaluationConditionMet
from dewfall.images.debugging.analysis.rule import invoke_rule
from dewfall.images.debugging.analysis.trial import create_trial
from dewfall.images.debugging.reading import patiently
from dewfall.images.packages import SHIMS
from dewfall.ml.debugging.trial import Options

OTHER = re.compile(r"other_trial_\d+")
# Of the environment that the rule's job was given, what is no parameter of the class.
PLATFORM = ("rule_configuration_name", "training_job_name", "tensors_s3_uri", "profile_s3_uri", "rule_output_path")
ABOUT = ("rule_to_invoke", "source_s3_uri", "action_json", "start_step", "end_step", "scan_interval_us")


def evaluate(invoked: str, options: Options, client: Any) -> tuple[int, str] | None:
    """(step, "") when the class says that its condition is met; None at the job's end. Raises UserError at whatever it raises."""
    if not invoked:
        raise UserError("rule_to_invoke must name a class of the script at source_s3_uri.")
    script = _fetch(options.text("source_s3_uri"), client)
    start = int(options.number("start_step", 0))
    end = int(options.number("end_step", 0)) or None
    try:
        rule = _made(_load(script, invoked), options)
        invoke_rule(rule, start, end, raise_eval_cond=True)
    except RuleEvaluationConditionMet as met:
        return met.step, ""
    except (NoMoreData, NoMoreProfilerData):
        return None
    except UserError:
        raise
    except Exception as problem:
        traceback.print_exc()
        raise UserError(f"{invoked}: {type(problem).__name__}: {problem}") from None
    return None


def parameters(environment: Mapping[str, str]) -> dict[str, str]:
    """The rule's own parameters, as they were given: text."""
    return {name: value for name, value in environment.items() if name not in PLATFORM and not OTHER.fullmatch(name)}


def _fetch(uri: str, client: Any) -> Path:
    """The script, in a folder of its own."""
    from botocore.exceptions import ClientError

    place = urlsplit(uri)
    if place.scheme != "s3" or not place.path.endswith(".py"):
        raise UserError(f"source_s3_uri must be the s3:// URI of a Python file, not {uri!r}.")
    try:
        body = patiently(lambda: client("s3").get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read())
    except ClientError as problem:
        raise UserError(f"The script {uri} cannot be read: {problem}") from None
    script = Path(tempfile.mkdtemp(prefix="rule-")) / place.path.rpartition("/")[2]
    script.write_bytes(body)
    return script


def _load(script: Path, invoked: str) -> Any:
    sys.path[:0] = [str(script.parent), str(SHIMS)]
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise UserError(f"{script.name} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    found = getattr(module, invoked, None)
    if not inspect.isclass(found):
        raise UserError(f"The script {script.name} has no class {invoked}.")
    return found


def _made(rule: Any, options: Options) -> Any:
    """An object of the class, on the job's trial. What is not a parameter of its own goes to it only where it asks for it by name."""
    config = contract.folders().home / "config" / "processingjobconfig.json"
    environment = json.loads(config.read_text())["Environment"]
    asked = inspect.signature(rule.__init__).parameters
    given: dict[str, Any] = {name: value for name, value in parameters(environment).items() if name not in ABOUT or name in asked}
    others = [environment[name] for name in sorted(environment) if OTHER.fullmatch(name)]
    if others:
        given["other_trials"] = [create_trial(uri) for uri in others]
    if "action_str" in asked:
        given.setdefault("action_str", "")  # the evaluator itself does what is asked for
    uri, name = options.text("tensors_s3_uri") or options.text("profile_s3_uri"), options.text("training_job_name")
    trial = create_trial(uri, name, profiler=not options.text("tensors_s3_uri"), output_dir=f"{options.text('rule_output_path')}/profiler-output")
    return rule(trial, **given)
