"""A tuning job of 50 LightGBM trials against Optuna alone in one process with the same parallelism, and how fast a warm job starts.

The trials are the built-in algorithm's, the peer is what a user would write: read the file once, train in threads. Both search the same
ranges with the same sampler. Everything is a ratio of one run, so that other load on the machine weighs on both.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import numpy as np

from benchmarks import peers

Row = tuple[str, str, str, bool]
TRIALS, PARALLEL, STARTS = int(os.environ.get("DEWFALL_BENCH_TRIALS", "50")), 2, 9
ROWS, COLUMNS, ROUNDS = 80_000, 30, 60  # two seconds of one thread
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
LIGHTGBM = "dewfall/lightgbm:1"
SHARE_GOAL, PEER_GOAL, START_GOAL = 0.85, 0.75, 1.0

PEER = """
import sys, time
began = time.perf_counter()
import lightgbm, optuna, pandas as pd
optuna.logging.set_verbosity(optuna.logging.WARNING)
path, trials, parallel, rounds = sys.argv[1], *map(int, sys.argv[2:])
table = pd.read_csv(path, header=None, dtype="float32")
cut = int(len(table) * 0.8)
def objective(trial):
    given = {"objective": "binary", "metric": "binary_logloss", "num_threads": 1, "verbosity": -1, "max_depth": 6, "min_data_in_leaf": 3,
             "bagging_fraction": 0.9, "bagging_freq": 1, "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
             "num_leaves": trial.suggest_int("num_leaves", 16, 64), "feature_fraction": trial.suggest_float("feature_fraction", 0.5, 1.0)}
    train = lightgbm.Dataset(table.iloc[:cut, 1:], table.iloc[:cut, 0])
    held = lightgbm.Dataset(table.iloc[cut:, 1:], table.iloc[cut:, 0], reference=train)
    return lightgbm.train(given, train, rounds, valid_sets=[held]).best_score["valid_0"]["binary_logloss"]
study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1, n_startup_trials=5, constant_liar=True))
study.optimize(objective, n_trials=trials, n_jobs=parallel)
print("FOUND", time.perf_counter() - began, study.best_value)
"""


def tuning() -> list[Row]:
    """The share of the time that trials train, the peer's time, and a warm start."""
    with _all_cores(), peers.dewfall(pin=False) as (url, _, _), tempfile.TemporaryDirectory() as name:
        file = _data(Path(name))
        s3, sagemaker = _client(url, "s3"), _client(url, "sagemaker")
        s3.create_bucket(Bucket="bench")
        s3.upload_file(str(file), "bench", "train/train.csv")
        start, bare = _starts(sagemaker), _bare_import()
        began = time.perf_counter()
        sagemaker.create_hyper_parameter_tuning_job(**_request())
        job = _ended(sagemaker)
        ours = time.perf_counter() - began
        share, trial = _share(sagemaker, job)
        command = [sys.executable, "-c", PEER, str(file), str(TRIALS), str(PARALLEL), str(ROUNDS)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    theirs, best = float(told[1]), job["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    return [
        (f"{TRIALS} LightGBM trials of {trial:.1f} s, share of the time in training", f"{share:.0%}", f"≥ {SHARE_GOAL:.0%}", share >= SHARE_GOAL),
        (
            f"{TRIALS} LightGBM trials against Optuna alone",
            f"{theirs / ours:.2f} × ({ours:.0f} s, best {best:.4f}; {theirs:.0f} s, best {float(told[2]):.4f})",
            f"≥ {PEER_GOAL} ×",
            theirs / ours >= PEER_GOAL,
        ),
        ("warm start of a job, creation to training, against `import lightgbm`", f"{start / bare:.2f} × ({start:.2f} s)", f"≤ {START_GOAL:.0f} ×",
         start <= bare),
    ]  # fmt: skip


@contextlib.contextmanager
def _all_cores() -> Iterator[None]:
    """The benchmarks' process has one core to itself, which its children would inherit."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _client(url: str, service: str) -> Any:
    return boto3.client(service, endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="secret", region_name="us-east-1")


def _data(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS)).astype("float32")
    y = (x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=ROWS) > 0).astype(int)
    np.savetxt(folder / "train.csv", np.column_stack([y, x]), delimiter=",", fmt="%.5g")
    return folder / "train.csv"


def _definition() -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/train/"}
    return {
        "AlgorithmSpecification": {"TrainingImage": LIGHTGBM, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bench/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


def _request() -> dict[str, Any]:
    numbers = [("learning_rate", "0.01", "0.3", "Logarithmic"), ("feature_fraction", "0.5", "1.0", "Linear")]
    ranges = [{"Name": name, "MinValue": low, "MaxValue": high, "ScalingType": scaling} for name, low, high, scaling in numbers]
    static = {"num_boost_round": str(ROUNDS), "metric": "binary_logloss", "early_stopping_rounds": "0"}
    return {
        "HyperParameterTuningJobName": "bench",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "binary_logloss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": TRIALS, "MaxParallelTrainingJobs": PARALLEL},
            "ParameterRanges": {
                "ContinuousParameterRanges": ranges,
                "IntegerParameterRanges": [{"Name": "num_leaves", "MinValue": "16", "MaxValue": "64", "ScalingType": "Linear"}],
            },
            "RandomSeed": 1,
        },
        "TrainingJobDefinition": {**_definition(), "StaticHyperParameters": static},
    }


def _ended(sagemaker: Any) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="bench")
        if job["HyperParameterTuningJobStatus"] != "InProgress":
            break
        time.sleep(0.5)
    if job["HyperParameterTuningJobStatus"] != "Completed":
        raise RuntimeError(json.dumps(job, default=str))
    return job


def _share(sagemaker: Any, job: dict[str, Any]) -> tuple[float, float]:
    """(share of the job's time, in all its places, that trials were in Training; seconds of a trial)."""
    trials = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName="bench", MaxResults=100)
    spans = [_training(sagemaker, one["TrainingJobName"]) for one in trials["TrainingJobSummaries"]]
    wall = (job["HyperParameterTuningEndTime"] - job["CreationTime"]).total_seconds()
    return sum(spans) / (PARALLEL * wall), sum(spans) / len(spans)


def _training(sagemaker: Any, name: str) -> float:
    entries = sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatusTransitions"]
    return float(sum((_end(entry) - entry["StartTime"]).total_seconds() for entry in entries if entry["Status"] == "Training"))


def _end(entry: dict[str, Any]) -> datetime:
    end: datetime = entry.get("EndTime", entry["StartTime"])
    return end


def _starts(sagemaker: Any) -> float:
    """The median seconds from a job's creation to its training, the first job left out."""
    found = []
    for number in range(STARTS):
        name = f"start-{number}"
        sagemaker.create_training_job(TrainingJobName=name, HyperParameters={"num_boost_round": "1"}, **_definition())
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
        job = sagemaker.describe_training_job(TrainingJobName=name)
        entry = next(one for one in job["SecondaryStatusTransitions"] if one["Status"] == "Training")
        found.append((entry["StartTime"] - job["CreationTime"]).total_seconds())
    return float(np.median(found[1:]))


def _bare_import() -> float:
    found = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import lightgbm"], check=True)
        found.append(time.perf_counter() - began)
    return float(np.median(found[1:]))
