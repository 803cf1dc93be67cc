"""What CreateHyperParameterTuningJob refuses before anything is recorded: AWS's synchronous checks, and what Dewfall has not built.

Why here and not in the step: a wrong request must be answered with an error, not with a job that fails later.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.errors import not_built, validation
from dewfall.services.sagemaker.algorithms import with_algorithm
from dewfall.services.sagemaker.quotas import PARALLEL_TRIALS, RANDOM_TRIALS, TRIALS, check_quota
from dewfall.services.sagemaker.training import check_training_job
from dewfall.services.sagemaker.training_logs import definitions
from dewfall.services.sagemaker.tuning_ranges import check_ranges, check_static, ranges_of
from dewfall.services.sagemaker.tuning_status import FINAL, OBJECTIVE, definitions_of, hyperband_resources, job_key
from dewfall.services.sagemaker.tuning_trials import trial_request

MOST_RESOURCE = 20_000  # Hyperband's
OTHER_NAMES = (
    "The set of tunable plus static HyperParameter names is not the same across current and parent tuning jobs. Please ensure this set is constant"
    " when warm starting. Note that previously static HyperParameters can be tuned in warm start jobs and vice versa."
)


def check_request(ctx: Ctx, req: dict[str, Any]) -> None:
    """Raise the AwsError that answers a wrong request."""
    if bool(req.get("TrainingJobDefinition")) == bool(req.get("TrainingJobDefinitions")):
        raise validation("Exactly one of TrainingJobDefinition or TrainingJobDefinitions must be specified.")
    config = req["HyperParameterTuningJobConfig"]
    wanted = definitions_of(req)
    if req.get("TrainingJobDefinitions"):
        _check_many(config, wanted)
    for definition in wanted:
        _check_definition(ctx, req, definition)
    _check_strategy(config, wanted)
    _check_warm_start(ctx, req)


def _check_many(config: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    names = [definition.get("DefinitionName", "") for definition in wanted]
    if not all(names) or len(set(names)) != len(names):
        raise validation("Each training job definition in TrainingJobDefinitions must have a unique DefinitionName.")
    if config.get("ParameterRanges") or config.get("HyperParameterTuningJobObjective"):
        message = "ParameterRanges and HyperParameterTuningJobObjective cannot be specified in HyperParameterTuningJobConfig with "
        raise validation(message + "TrainingJobDefinitions. Specify HyperParameterRanges and TuningObjective in each definition.")
    if len({definition["TuningObjective"]["Type"] for definition in wanted if definition.get("TuningObjective")}) > 1:
        raise validation("The Type of TuningObjective must be the same in all training job definitions: their training jobs are compared.")


def _check_definition(ctx: Ctx, req: dict[str, Any], definition: dict[str, Any]) -> None:
    from dewfall.images import catalog

    objective = definition.get("TuningObjective")
    if not objective:
        raise validation("A tuning objective is required: HyperParameterTuningJobObjective, or TuningObjective of each training job definition.")
    ranges = ranges_of(definition)
    if not ranges and req["HyperParameterTuningJobConfig"]["Strategy"] != "Grid":
        if req.get("Autotune"):
            raise not_built("Autotune of scripts without parameter ranges or AutoParameters")
        raise validation("At least one hyperparameter range must be specified.")
    check_ranges(definition, ranges)
    check_static(definition)
    _check_resources(definition)
    trial = with_algorithm(ctx, trial_request(req, definition, 1, {one.name: "" for one in ranges}, "check"))
    check_training_job(ctx, trial)
    algorithm, metric = trial["AlgorithmSpecification"], objective["MetricName"]
    if metric not in {known["Name"] for known in definitions(algorithm)}:
        image = algorithm["TrainingImage"]
        found = catalog.find(image)
        if found is None or not found.metric_definitions:
            raise validation("A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions.")
        message = f"The objective metric for the hyperparameter tuning job, [{metric}], isn't valid for the [{image}] algorithm. "
        raise validation(message + "Choose a valid objective metric.")


def _check_strategy(config: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
    from dewfall.ml.tuning import grid_size

    limits, criteria = config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
    most = limits.get("MaxNumberOfTrainingJobs")
    check_quota(PARALLEL_TRIALS, limits["MaxParallelTrainingJobs"])
    check_quota(RANDOM_TRIALS if config["Strategy"] == "Random" else TRIALS, most or 0)
    if config["Strategy"] == "Grid":
        try:
            size = sum(grid_size(ranges_of(definition)) for definition in wanted)
        except ValueError:
            raise validation("Grid search supports only categorical hyperparameter ranges.") from None
        check_quota(TRIALS, size)
        if most is not None and most != size:
            raise validation(f"MaxNumberOfTrainingJobs must equal the number of combinations of a grid search, {size}, or be left out.")
    elif most is None and not limits.get("MaxRuntimeInSeconds") and not criteria:
        raise validation("MaxNumberOfTrainingJobs, MaxRuntimeInSeconds or TuningJobCompletionCriteria must be specified.")
    if config["Strategy"] != "Grid":
        _check_combinations(wanted, most or 0)
    if config["Strategy"] != "Hyperband":
        if config.get("StrategyConfig", {}).get("HyperbandStrategyConfig"):
            raise validation("HyperbandStrategyConfig can be specified with the strategy Hyperband only.")
        return
    if config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise validation("TrainingJobEarlyStoppingType must be Off when the strategy is Hyperband, which stops training jobs by itself.")
    for definition in wanted:
        least, most_resource = hyperband_resources(config, definition)
        if not most_resource:
            message = "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters of TrainingJobDefinition."
            raise validation(message)
        if most_resource > MOST_RESOURCE:
            raise validation(f"MaxResource must not be greater than {MOST_RESOURCE} in HyperbandStrategyConfig.")
        if least > most_resource:
            raise validation("MinResource must not be greater than MaxResource in HyperbandStrategyConfig.")


def _check_combinations(wanted: list[dict[str, Any]], most: int) -> None:
    """As many different trials as are asked for, where no range is continuous."""
    from dewfall.ml.tuning import combinations

    if any((definition.get("HyperParameterRanges") or {}).get("AutoParameters") for definition in wanted):
        return  # these ranges are not the customer's
    total = sum(combinations(ranges_of(definition)) for definition in wanted)
    if total < most:
        message = "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter combinations for the "
        message += f"provided ranges [{total}] must be equal or greater than the value of MaxNumberOfJobs, [{most}]. Provide additional ranges."
        raise validation(message)


def _check_warm_start(ctx: Ctx, req: dict[str, Any]) -> None:
    for parent in req.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ()):
        name = parent["HyperParameterTuningJobName"]
        with ctx.ports.store.reading() as tx:
            record = tx.records.get(job_key(ctx, name))
        if record is None:
            raise validation(f"The parent hyperparameter tuning job {name} does not exist.")
        if record.status not in FINAL:
            raise validation(f"The parent hyperparameter tuning job {name} is in status {record.status}. It must have ended.")
        _check_parent(req, name, record.document)


def _check_parent(req: dict[str, Any], name: str, parent: dict[str, Any]) -> None:
    """What must be as it was: the objective, the names of all hyperparameters, and the image where data and algorithm are identical."""
    ours, theirs = definitions_of(req), definitions_of(parent)
    if {_objective(one) for one in ours} != {_objective(one) for one in theirs}:
        raise validation(f"The objective metric must be the same as that of the parent hyperparameter tuning job {name}.")
    if _names(ours) != _names(theirs):
        raise validation(OTHER_NAMES)
    if req["WarmStartConfig"]["WarmStartType"] == "IdenticalDataAndAlgorithm" and _images(ours) != _images(theirs):
        raise validation(f"IdenticalDataAndAlgorithm needs the training image of the parent hyperparameter tuning job {name}.")


def _objective(definition: dict[str, Any]) -> tuple[str, str]:
    return definition["TuningObjective"]["Type"], definition["TuningObjective"]["MetricName"]


def _images(found: list[dict[str, Any]]) -> set[str]:
    return {one["AlgorithmSpecification"].get("TrainingImage", "") for one in found}


def _names(found: list[dict[str, Any]]) -> set[str]:
    """Hyperparameters by name, but those that the SDK and AWS add by themselves."""
    ranges = {given["Name"] for one in found for kind in (one.get("HyperParameterRanges") or {}).values() for given in kind}
    static = {name for one in found for name in one.get("StaticHyperParameters", {})}
    return {name for name in ranges | static if not name.startswith(("sagemaker_", OBJECTIVE))}


def _check_resources(definition: dict[str, Any]) -> None:
    tuning = definition.get("HyperParameterTuningResourceConfig")
    if bool(tuning) == bool(definition.get("ResourceConfig")):
        raise validation("Exactly one of ResourceConfig or HyperParameterTuningResourceConfig must be specified in a training job definition.")
    alone = [member for member in ("InstanceType", "InstanceCount", "VolumeSizeInGB") if (tuning or {}).get(member)]
    if (tuning or {}).get("InstanceConfigs") and alone:
        raise validation(f"{', '.join(alone)} cannot be specified together with InstanceConfigs in HyperParameterTuningResourceConfig.")
    if definition.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds"):
        raise validation("KeepAlivePeriodInSeconds cannot be specified for the training jobs of a hyperparameter tuning job.")
