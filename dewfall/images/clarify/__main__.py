"""`python -m dewfall.images.clarify`: one Clarify processing job, from its configuration to its reports."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from dewfall.images import clients, contract
from dewfall.images.clarify import bias, config, dataset, pdp, predictor, report, series, shap, vision
from dewfall.images.clarify.config import Analysis
from dewfall.images.contract import UserError

SCHEDULE = "sagemaker_monitoring_schedule_name"  # of a monitoring run


def main() -> int:
    """The job's exit code; what the customer can mend is told as ClientError."""
    signal.signal(signal.SIGTERM, _end)
    home = contract.folders().home / "processing"
    try:
        if os.environ.get(SCHEDULE):
            return _monitor()
        check_outputs(contract.folders().home / "config" / "processingjobconfig.json")
        run(home / "input" / "config" / "analysis_config.json", home / "input" / "data", home / "output", clients.make_session())
    except UserError as error:
        print(f"ClientError: {error}", file=sys.stderr, flush=True)
        contract.write_failure(f"ClientError: {error}")
        return contract.CLIENT_ERROR_EXIT
    return 0


def _monitor() -> int:
    """A run of a bias or explainability schedule."""
    from dewfall.images.monitor import clarified, outcome, settings

    session, held = clients.make_session(), settings.read()
    outcome.finish(clarified.run(held, session, Fetch(session)))
    return 0


def check_outputs(job: Path) -> None:
    """Raise UserError where the results would go nowhere. A run without the platform has no such file."""
    if not job.exists():
        return
    outputs = (json.loads(job.read_text()).get("ProcessingOutputConfig") or {}).get("Outputs") or ()
    paths = [str((one.get("S3Output") or {}).get("LocalPath", "")).rstrip("/") for one in outputs]
    if not any(path.endswith("/processing/output") for path in paths):
        raise UserError(f"The job needs an output with the LocalPath /opt/ml/processing/output; its outputs have {', '.join(paths) or 'none'}.")


def run(configuration: Path, data: Path, output: Path, session: Any) -> dict[str, Any]:
    """All analyses of a configuration; returns what analysis.json holds."""
    analysis = config.read(configuration)
    print(f"Analysis configuration: {json.dumps(analysis.document)[:2000]}", flush=True)
    fetch = Fetch(session)
    output.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    if "time_series_data_config" in analysis.document:
        document = _forecasts(analysis, data, output, session, fetch)
    elif analysis.kind == config.IMAGE:
        document, failures = vision.run(analysis, data, output, session, fetch)
    else:
        document, failures = _table(analysis, data, output, session, fetch)
    (output / "analysis.json").write_text(json.dumps(_printable(document), indent=1))
    if analysis.kind == config.IMAGE and len(failures) == len(document["explanations"]["images"]):
        raise UserError(next(iter(failures.values())))
    for name, said in failures.items():
        print(f"ClientError: {name}: {said}", file=sys.stderr, flush=True)
    outcome = f"with errors in {', '.join(failures)}" if failures else "successfully with all requested analyses"
    print(f"Exit Message: Completed: Job completed {outcome}.", flush=True)
    return document


def _table(analysis: Analysis, folder: Path, output: Path, session: Any, fetch: Fetch) -> tuple[dict[str, Any], dict[str, str]]:
    """What analysis.json holds, and which analyses failed for what."""
    held = dataset.load(analysis, folder, fetch)
    print(f"The dataset has {held.frame.height} records and {len(held.features)} features", flush=True)
    if "shap" in analysis.methods:
        shap.check(dict(analysis.methods["shap"] or {}))
    job = Job(analysis, held, output, fetch)
    with ExitStack() as stack:
        job.run(stack, session)
    if not job.done:
        raise UserError(next(iter(job.failures.values()), "there is nothing to analyse"))
    if "report" in analysis.methods:
        positive = list(analysis.get("label_values_or_threshold", []))
        sections = report.blocks(job.document, held, job.labels, job.scores, job.found, positive)
        report.write(analysis.methods["report"] or {}, output, sections, held.frame.height)
    return job.document, job.failures


class Job:
    """The analyses of a table, one after the other. One that fails has its error in the document; the others stand."""

    def __init__(self, analysis: Analysis, data: dataset.Dataset, output: Path, fetch: Fetch) -> None:
        self.analysis = analysis
        self.data = data
        self.output = output
        self.fetch = fetch
        self.document: dict[str, Any] = {"version": "1.0"}
        self.failures: dict[str, str] = {}
        self.done: list[str] = []
        self.labels: list[Any] | None = None
        self.scores: Any = None
        self.found: shap.Found | None = None

    def run(self, stack: ExitStack, session: Any) -> None:
        """All of them. Raises UserError where the configured model cannot be had."""
        methods, failure = self.analysis.methods, None
        model: predictor.Predictor | None = None
        if self.analysis.needs_model:
            model = stack.enter_context(predictor.opened(self.analysis, self.data.features, session))
        try:
            if model is not None and "post_training_bias" in methods and self.data.predicted is None:
                self._predict(model)
        except UserError as error:
            failure = str(error)
        stages = [stage for stage in bias.STAGES if stage in methods]
        if stages:
            self._bias(stages, failure)
        if model is None:
            return
        explanations: dict[str, Any] = {}
        for name, method, explain in (("kernel_shap", "shap", self._shap), ("pdp", "pdp", self._pdp)):
            if method in methods:
                try:
                    explanations[name] = explain(model)
                    self.done.append(method)
                except UserError as error:
                    explanations[name] = {"error": self.failed(method, error)}
        if explanations:
            self.document["explanations"] = explanations

    def failed(self, method: str, error: UserError) -> str:
        """Note why an analysis could not be made; its text."""
        self.failures[method] = str(error)
        return str(error)

    def _predict(self, model: predictor.Predictor) -> None:
        answers = model.answers(shap.table(self.data))
        self.scores = answers.scores
        self.labels = predictor.predicted_labels(self.analysis, answers, list(self.analysis.get("label_values_or_threshold", [])))

    def _bias(self, stages: list[str], failure: str | None) -> None:
        """Metrics after training have the model's failure as their error, where it has failed."""
        failure = failure if self.data.predicted is None and "post_training_bias" in stages else None
        try:
            self.document |= bias.report(self.analysis, self.data, self.labels, failure)
        except UserError as error:
            for stage in stages:
                self.document[f"{stage}_metrics"] = {"error": self.failed(stage, error)}
            return
        if failure is not None:
            self.failures["post_training_bias"] = failure
        self.done += [stage for stage in stages if stage not in self.failures]

    def _shap(self, model: predictor.Predictor) -> dict[str, Any]:
        self.found = shap.explain(self.analysis, self.data, model.scores, self.output, self.fetch)
        return self.found.document

    def _pdp(self, model: predictor.Predictor) -> list[dict[str, Any]]:
        return pdp.explain(self.analysis, self.data, model.scores, self.found)


def _forecasts(analysis: Analysis, folder: Path, output: Path, session: Any, fetch: Fetch) -> dict[str, Any]:
    uri = analysis.get("dataset_uri")
    bodies = fetch(uri) if uri else [(path.name, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
    items = series.read(analysis, bodies)
    if not items:
        raise UserError("The dataset has no series.")
    with predictor.opened(analysis, (), session) as model:
        found = series.explain(analysis, items, model, output, output_uri())
    return {"version": "1.0", "explanations": {"asymmetric_shapley_value": found}}


class Fetch:
    """The bodies of an S3 location, a file or a prefix, by key."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, uri: str) -> list[tuple[str, bytes]]:
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = uri.removeprefix("s3://").partition("/")
        client = self._session.create_client("s3")
        try:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if not entry["Key"].endswith("/")]
            return [(name, client.get_object(Bucket=bucket, Key=name)["Body"].read()) for name in ([key] if key in keys else keys)]
        except (BotoCoreError, ClientError) as error:
            raise UserError(f"{uri} cannot be read: {error}") from None


def output_uri() -> str:
    """Where the platform will put this job's output."""
    try:
        job = json.loads((contract.folders().home / "config" / "processingjobconfig.json").read_text())
        return str(job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"])
    except (OSError, KeyError, IndexError, ValueError):
        return ""


def _printable(value: Any) -> Any:
    """JSON without numbers that JSON has not."""
    if isinstance(value, dict):
        return {str(name): _printable(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # the shadow endpoint is deleted on the way out


if __name__ == "__main__":
    sys.exit(main())
