"""A tuning job's record and its trials: the first document, what the trials come to (counters, the best), and the event of each change.

Nothing about a trial is kept twice: it is a training job, and its record says all.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.common import tag_map
from dewfall.services.sagemaker import training_status
from dewfall.services.sagemaker.training_logs import definitions
from dewfall.services.sagemaker.training_status import put_event
from dewfall.services.sagemaker.tuning_ranges import own_ranges

KIND = training_status.TUNING
OBJECTIVE = "_tuning_objective_metric"
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")  # hyperparameters that MaxResource is inferred from
FINAL = ("Completed", "Failed", "Stopped")
EVENT_MEMBERS = (
    "HyperParameterTuningJobName", "HyperParameterTuningJobArn", "HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions",
    "HyperParameterTuningJobStatus", "CreationTime", "HyperParameterTuningEndTime", "LastModifiedTime", "TrainingJobStatusCounters",
    "ObjectiveStatusCounters", "BestTrainingJob", "OverallBestTrainingJob", "FailureReason", "WarmStartConfig", "TuningJobCompletionDetails",
    "ConsumedResources",
)  # fmt: skip
KEPT_MEMBERS = ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions", "WarmStartConfig", "Autotune")
SUMMARY_MEMBERS = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime", "TrainingJobStatus", "FailureReason")


@dataclass(frozen=True, slots=True)
class Trial:
    """A training job of a tuning job. `sign` is -1 where its objective is to be small, so that a larger `score` is always better."""

    document: dict[str, Any]
    objective: dict[str, str]
    value: float | None

    @property
    def name(self) -> str:
        return str(self.document["TrainingJobName"])

    @property
    def number(self) -> int:
        return int(self.document["Trial"]["Number"])

    @property
    def definition(self) -> str:
        return str(self.document["Trial"].get("Definition", ""))

    @property
    def tuned(self) -> dict[str, str]:
        found: dict[str, str] = self.document["Trial"]["Tuned"]
        return found

    @property
    def parameters(self) -> dict[str, str]:
        """All hyperparameters, without the quotes of JSON that the SDK writes."""
        return {name: str(text).strip('"') for name, text in self.document.get("HyperParameters", {}).items()} | self.tuned

    @property
    def status(self) -> str:
        return str(self.document["TrainingJobStatus"])

    @property
    def is_over(self) -> bool:
        return self.status in FINAL

    @property
    def has_failed(self) -> bool:
        return self.status == "Failed"

    @property
    def score(self) -> float:
        value = self.value if self.value is not None else float("nan")
        return value if self.objective["Type"] == "Maximize" else -value

    @property
    def objective_status(self) -> str:
        if not self.is_over:
            return "Pending"
        return "Succeeded" if self.value is not None else "Failed"


def job_key(ctx: Ctx, name: str) -> Key:
    """A tuning job's record."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def first_document(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """What DescribeHyperParameterTuningJob answers right after the creation; `Seed` is ours, what the search draws from."""
    name, now = req["HyperParameterTuningJobName"], ctx.now()
    seed = req["HyperParameterTuningJobConfig"].get("RandomSeed")
    told = {member: req[member] for member in KEPT_MEMBERS if req.get(member)}
    config = {"TrainingJobEarlyStoppingType": "Off", **req["HyperParameterTuningJobConfig"]}
    if "ParameterRanges" in config:
        config["ParameterRanges"] = _filled_ranges(config["ParameterRanges"])
    told["HyperParameterTuningJobConfig"] = config
    if "TrainingJobDefinition" in told:
        told["TrainingJobDefinition"] = _filled(req, told["TrainingJobDefinition"])
    if "TrainingJobDefinitions" in told:
        told["TrainingJobDefinitions"] = [_filled(req, one) for one in told["TrainingJobDefinitions"]]
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobArn": ctx.arn("sagemaker", f"{KIND}/{name}"),
        **told,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
        "Seed": secrets.randbelow(2**31) if seed is None else seed,
    }


def definitions_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The training definitions, each with its own objective and ranges wherever the request gave them."""
    config = document["HyperParameterTuningJobConfig"]
    found = document.get("TrainingJobDefinitions") or [document["TrainingJobDefinition"]]
    common = {"TuningObjective": config.get("HyperParameterTuningJobObjective"), "HyperParameterRanges": config.get("ParameterRanges", {})}
    filled = [{**{member: value for member, value in common.items() if value is not None}, **one} for one in found]
    return [own_ranges(one) for one in filled] if document.get("Autotune") else filled


def trials_of(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> list[Trial]:
    """The trials of a tuning job by number; those of a deleted one of its name are not its own."""
    arn, born = document["HyperParameterTuningJobArn"], document["CreationTime"].isoformat()
    records = tx.records.list(ctx.account, ctx.region, "sagemaker", training_status.KIND, parent=arn)
    return sorted((_trial(r.document) for r in records if r.document["Trial"].get("Born") == born), key=lambda trial: trial.number)


def best_of(trials: Iterable[Trial]) -> Trial | None:
    """The trial with the best objective, the earliest of equals."""
    done = [trial for trial in trials if trial.is_over and trial.value is not None]
    return max(done, key=lambda trial: (trial.score, -trial.number), default=None)


def results(document: dict[str, Any], trials: list[Trial], now: datetime, former: Iterable[Trial] = ()) -> dict[str, Any]:
    """The members that follow from the trials. `now`: when the job ends, or is looked at; `former`: the trials of a warm start."""
    statuses = {"Completed": 0, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    objectives = {"Succeeded": 0, "Pending": 0, "Failed": 0}
    for trial in trials:
        statuses[_counter(trial)] += 1
        objectives[trial.objective_status] += 1
    found: dict[str, Any] = {"TrainingJobStatusCounters": statuses, "ObjectiveStatusCounters": objectives}
    best = best_of(trials)
    if best:
        found["BestTrainingJob"] = summary(best)
    if document.get("WarmStartConfig", {}).get("WarmStartType") == "IdenticalDataAndAlgorithm":
        overall = best_of([*former, *trials])
        if overall:
            found["OverallBestTrainingJob"] = summary(overall)
    found["TuningJobCompletionDetails"] = completion_details(document, trials)
    return {**found, "ConsumedResources": {"RuntimeInSeconds": int((now - document["CreationTime"]).total_seconds())}}


def in_order_of_end(trials: Iterable[Trial]) -> list[Trial]:
    """The trials with an objective, by the time of their end."""
    scored = (trial for trial in trials if trial.is_over and trial.value is not None)
    return sorted(scored, key=lambda trial: (trial.document["LastModifiedTime"], trial.number))


def completion_details(document: dict[str, Any], trials: Iterable[Trial]) -> dict[str, Any]:
    """TuningJobCompletionDetails: how many trials have brought nothing lately, and since when the search has converged."""
    from dewfall.ml.tuning import converged_after, not_improving

    scored = in_order_of_end(trials)
    scores = [trial.score for trial in scored]
    found: dict[str, Any] = {"NumberOfTrainingJobsObjectiveNotImproving": not_improving(scores, maximize=True)}
    since = converged_after(scores, maximize=True)
    if since:
        found["ConvergenceDetectedTime"] = scored[since - 1].document["LastModifiedTime"]
    return found


def summary(trial: Trial) -> dict[str, Any]:
    """A trial as the tuning job lists it."""
    found = {member: trial.document[member] for member in SUMMARY_MEMBERS if member in trial.document}
    found |= {"TunedHyperParameters": trial.tuned, "ObjectiveStatus": trial.objective_status}
    found["TuningJobName"] = str(trial.document["TuningJobArn"]).rpartition("/")[2]
    if trial.definition:
        found["TrainingJobDefinitionName"] = trial.definition
    if trial.is_over and trial.value is not None:
        found["FinalHyperParameterTuningJobObjectiveMetric"] = {**trial.objective, "Value": trial.value}
    return found


def save(ctx: Ctx, tx: Tx, record: Record) -> Record:
    """Save the record after a change of its document, and tell EventBridge."""
    record.document["LastModifiedTime"] = ctx.now()
    record.status = record.document["HyperParameterTuningJobStatus"]
    saved = tx.records.save(record)
    tell(ctx, tx, record.document)
    return saved


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a changed job."""
    detail = {member: document[member] for member in EVENT_MEMBERS if member in document}
    detail["Tags"] = tag_map(tx, ctx, document["HyperParameterTuningJobArn"])
    put_event(ctx, tx, "SageMaker HyperParameter Tuning Job State Change", document["HyperParameterTuningJobArn"], detail)


def _filled(req: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
    """A training definition with what AWS adds to it."""
    objective = definition.get("TuningObjective") or req["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    static = {OBJECTIVE: objective["MetricName"], **definition.get("StaticHyperParameters", {})}
    switches = dict.fromkeys(("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"), False)
    output, algorithm = {"KmsKeyId": "", **definition["OutputDataConfig"]}, definition["AlgorithmSpecification"]
    metrics = definitions(algorithm) if algorithm.get("TrainingImage") else []
    if metrics:
        algorithm = {**algorithm, "MetricDefinitions": metrics}
    filled = {"StaticHyperParameters": static, "AlgorithmSpecification": algorithm, "OutputDataConfig": output}
    if "HyperParameterRanges" in definition:
        filled["HyperParameterRanges"] = _filled_ranges(definition["HyperParameterRanges"])
    return {**switches, **definition, **filled, "ResourceConfig": resources_of(definition)}


def _filled_ranges(ranges: dict[str, Any]) -> dict[str, Any]:
    """All kinds of ranges, also those without one, and every scaling: the SDK's `attach` looks for them."""
    scaled = {
        kind: [{"ScalingType": "Auto", **one} for one in ranges.get(kind, ())] for kind in ("IntegerParameterRanges", "ContinuousParameterRanges")
    }
    return {"CategoricalParameterRanges": [], **ranges, **scaled}


def resources_of(definition: dict[str, Any]) -> dict[str, Any]:
    """A trial's ResourceConfig. The SDK's `attach` looks for it in the definition too."""
    tuning = definition.get("HyperParameterTuningResourceConfig")
    if not tuning:
        return dict(definition.get("ResourceConfig", {}))
    first = (tuning.get("InstanceConfigs") or [{}])[0]
    members = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
    return {member: value for member in members if (value := tuning.get(member, first.get(member))) is not None}


def hyperband_resources(config: dict[str, Any], definition: dict[str, Any]) -> tuple[int, int]:
    """Hyperband's MinResource and MaxResource, the latter inferred from static hyperparameters where it is not given; 0: it cannot be."""
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    static = definition.get("StaticHyperParameters", {})
    known = [int(text) for name in EPOCHS if (text := str(static.get(name, "")).strip('"')).isdigit()]
    return int(given.get("MinResource", 1)), int(given.get("MaxResource", known[0] if known else 0))


def _trial(document: dict[str, Any]) -> Trial:
    notes = document["Trial"]
    metrics = document.get("FinalMetricDataList", ())
    value = next((metric["Value"] for metric in metrics if metric["MetricName"] == notes["MetricName"]), None)
    usable = document["TrainingJobStatus"] in ("Completed", "Stopped") and value is not None and value == value
    return Trial(document, {"Type": notes["Type"], "MetricName": notes["MetricName"]}, float(value) if usable and value is not None else None)


def _counter(trial: Trial) -> str:
    if trial.has_failed:
        return "RetryableError" if trial.document.get("FailureReason", "").startswith("InternalServerError") else "NonRetryableError"
    return trial.status if trial.is_over else "InProgress"
