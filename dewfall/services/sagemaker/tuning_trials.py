"""The next trial of a tuning job: which definition, which hyperparameters, and the training job that this makes.

A trial's number, the job's seed and the record of the former trials decide all of it, so that a step that runs again asks for the same trial.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError
from dewfall.services.sagemaker.training import start_training_job
from dewfall.services.sagemaker.training_status import job_key as training_job_key
from dewfall.services.sagemaker.tuning_ranges import fixed_hints, ranges_of
from dewfall.services.sagemaker.tuning_status import OBJECTIVE, Trial, definitions_of, job_key, resources_of, trials_of

if TYPE_CHECKING:
    from dewfall.ml.tuning import Seen

COPIED = (
    "AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig", "StoppingCondition", "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining", "CheckpointConfig", "RetryStrategy", "Environment",
)  # fmt: skip


def number_of_trials(document: dict[str, Any]) -> int | None:
    """How many trials there will be at most; None where only time or criteria end the job."""
    from dewfall.ml.tuning import grid_size

    if document["HyperParameterTuningJobConfig"]["Strategy"] == "Grid":
        return sum(grid_size(ranges_of(definition)) for definition in definitions_of(document))
    most: int | None = document["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    return most


def start_trial(ctx: Ctx, document: dict[str, Any], number: int, trials: list[Trial], former: list[Trial], tags: list[dict[str, str]]) -> None:
    """Ask the search for trial `number` and start it; nothing when it has been started already. AwsError when it cannot be."""
    from dewfall.ml.tuning import suggest

    strategy = document["HyperParameterTuningJobConfig"]["Strategy"]
    definition, place = _choose(document, number)
    ranges = ranges_of(definition)
    name = definition.get("DefinitionName", "")
    seen = _seen([*former, *(trial for trial in trials if trial.definition == name)], definition)
    maximize = definition["TuningObjective"]["Type"] == "Maximize"
    tuned = suggest(ranges, seen, strategy=strategy, maximize=maximize, seed=document["Seed"], number=place)
    arn, born = document["HyperParameterTuningJobArn"], document["CreationTime"].isoformat()
    beside = document["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"]
    notes = {"Number": number, "Definition": name, "Tuned": tuned, "Born": born, "Beside": beside, **definition["TuningObjective"]}
    request = trial_request(document, definition, number, tuned, _digest(arn, born, number))
    if tags:
        request["Tags"] = tags
    try:
        start_training_job(ctx, request, tuning_job_arn=arn, trial=notes)
    except AwsError as error:
        if error.code != "ResourceInUse" or not _is_ours(ctx, request["TrainingJobName"], arn):
            raise


def trial_request(document: dict[str, Any], definition: dict[str, Any], number: int, tuned: dict[str, str], digest: str) -> dict[str, Any]:
    """CreateTrainingJob's request for a trial."""
    static = definition.get("StaticHyperParameters", {})
    request = {member: definition[member] for member in COPIED if definition.get(member) is not None}
    request["TrainingJobName"] = f"{document['HyperParameterTuningJobName']}-{number:03d}-{digest}"
    request["HyperParameters"] = {OBJECTIVE: definition["TuningObjective"]["MetricName"], **static, **fixed_hints(definition), **tuned}
    request["ResourceConfig"] = resources_of(definition)
    if "CheckpointConfig" in request:  # a folder for each trial, else one would go on where another one stopped
        stored = request["CheckpointConfig"]["S3Uri"].rstrip("/")
        request["CheckpointConfig"] = {**request["CheckpointConfig"], "S3Uri": f"{stored}/{request['TrainingJobName']}"}
    return request


def former_trials(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> list[Trial]:
    """The trials of the tuning jobs that a warm start builds upon; what those built upon themselves is not passed on, as on AWS."""
    parents = document.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    found: list[Trial] = []
    for parent in parents:
        record = tx.records.get(job_key(ctx, parent["HyperParameterTuningJobName"]))
        if record is not None:
            found += trials_of(ctx, tx, record.document)
    return found


def _choose(document: dict[str, Any], number: int) -> tuple[dict[str, Any], int]:
    """The definition of a trial, and which of the definition's trials it is. Grids come one after the other, else they take turns."""
    from dewfall.ml.tuning import grid_size

    found = definitions_of(document)
    if document["HyperParameterTuningJobConfig"]["Strategy"] != "Grid":
        return found[(number - 1) % len(found)], (number - 1) // len(found) + 1
    for definition in found[:-1]:
        size = grid_size(ranges_of(definition))
        if number <= size:
            return definition, number
        number -= size
    return found[-1], number


def _seen(trials: list[Trial], definition: dict[str, Any]) -> list[Seen]:
    """Former trials for the search: those that failed, or gave no objective, tell nothing. What was static then may be tuned now."""
    from dewfall.ml.tuning import Seen

    mine = [trial for trial in trials if trial.objective == definition["TuningObjective"]]
    return [Seen(trial.parameters, trial.value) for trial in mine if trial.value is not None or not trial.is_over]


def _digest(*words: object) -> str:
    return hashlib.sha256("\0".join(map(str, words)).encode()).hexdigest()[:8]


def _is_ours(ctx: Ctx, name: str, arn: str) -> bool:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(training_job_key(ctx, name))
    return record is not None and record.parent == arn
