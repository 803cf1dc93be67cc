"""SageMaker SDK v2: what training, hosting and logs must answer so that the SDK's own code does not stumble."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import boto3
import numpy as np
import sagemaker
from sagemaker.exceptions import UnexpectedStatusException
from sagemaker.sklearn import SKLearn, SKLearnModel

FOLDER = Path(sys.argv[1])
PROGRAM = """
import argparse, json, os, sys, time, joblib, numpy as np
from sklearn.dummy import DummyClassifier

def model_fn(model_dir):
    print("model is loaded")
    return joblib.load(os.path.join(model_dir, "model.joblib"))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="good")
    parser.add_argument("--answer", type=int, default=1)
    options, _ = parser.parse_known_args()
    print("first\\tsecond\\tloss=0.25;", flush=True)
    time.sleep(600 if options.mode == "long" else 1)
    if options.mode == "bad":
        raise ValueError("the data is all wrong")
    model = DummyClassifier(strategy="constant", constant=options.answer).fit([[0.0], [1.0]], [options.answer, 0])
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def estimator(**options: object) -> SKLearn:
    hyperparameters = {"mode": options.pop("mode", "good"), "answer": options.pop("answer", 1)}
    return SKLearn(
        entry_point="train.py",
        source_dir=str(FOLDER),
        framework_version="1.2-1",
        instance_type="ml.m5.large",
        role=role,
        hyperparameters=hyperparameters,
        metric_definitions=[{"Name": "loss", "Regex": "second#011loss=([0-9.]+)"}],
        **options,
    )


(FOLDER / "train.py").write_text(PROGRAM)
session = sagemaker.Session()
role = sagemaker.get_execution_role()

began, printed = time.time(), io.StringIO()
good = estimator()
with contextlib.redirect_stdout(printed):
    good.fit()
tell(fit_seconds=round(time.time() - began, 1), log="first#011second" in printed.getvalue() or "first\tsecond" in printed.getvalue())
job = good.latest_training_job.name
metrics = boto3.client("sagemaker").describe_training_job(TrainingJobName=job)["FinalMetricDataList"]
tell(tab_metric=[(m["MetricName"], m["Value"]) for m in metrics])
tell(analytics=sagemaker.analytics.TrainingJobAnalytics(job, metric_names=["loss"]).dataframe()["value"].tolist())

began = time.time()
estimator().fit(logs=False)
tell(quiet_fit_seconds=round(time.time() - began, 1))

bad = estimator(mode="bad")
try:
    with contextlib.redirect_stdout(io.StringIO()):
        bad.fit()
except UnexpectedStatusException as problem:
    tell(failed=problem.actual_status, reason="the data is all wrong" in str(problem))

long = estimator(mode="long")
long.fit(wait=False)
session.stop_training_job(long.latest_training_job.name)
try:
    long.latest_training_job.wait(logs="None")
except UnexpectedStatusException as problem:
    tell(stopped=problem.actual_status)
else:
    tell(stopped=long.latest_training_job.describe()["TrainingJobStatus"])
try:
    session.stop_training_job(long.latest_training_job.name)
except session.sagemaker_client.exceptions.ClientError as problem:
    tell(stopped_twice=problem.response["Error"]["Code"])

attached = SKLearn.attach(job)
tell(attached=attached.model_data == good.model_data, attached_answer=attached.hyperparameters()["answer"])

began, printed = time.time(), io.StringIO()
with contextlib.redirect_stdout(printed):
    predictor = attached.create_model().deploy(1, "ml.m5.large", endpoint_logging=True, endpoint_name="traps")
tell(logged_deploy_seconds=round(time.time() - began, 1), answer=predictor.predict(np.zeros((2, 1))).tolist())

other = estimator(answer=7)
other.fit(logs=False)
began = time.time()
model = SKLearnModel(
    other.model_data, role, "train.py", source_dir=str(FOLDER), framework_version="1.2-1", name="traps-other", sagemaker_session=session
)
model.create(instance_type="ml.m5.large")
predictor.update_endpoint(model_name="traps-other", initial_instance_count=1, instance_type="ml.m5.large")
tell(update_seconds=round(time.time() - began, 1), updated=predictor.predict(np.zeros((2, 1))).tolist())

model.create(instance_type="ml.m5.large")  # the SDK takes "already exists" for success
predictor.delete_model()
predictor.delete_endpoint()
try:
    session.wait_for_endpoint("traps", poll=1)
except Exception as problem:
    tell(gone="Could not find" in str(problem), known=session.endpoint_from_production_variants is not None)
