"""SageMaker SDK v3 as a user writes it: ModelTrainer with source code and with built-in images, ModelBuilder, Endpoint.invoke."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import TrainingJob
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def table(rows: int = 120) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4))
    return np.column_stack([(x[:, 0] + x[:, 1] > 0).astype(int), x])


def clear_rows() -> np.ndarray:
    """Three rows far on either side of the border."""
    rows = table()
    return rows[np.argsort(rows[:, 1] + rows[:, 2])][[0, 1, 2, -3, -2, -1]]


session = Session()
role = get_execution_role(session)
tell(bucket=session.default_bucket(), role=role)
(FOLDER / "data").mkdir()
np.savetxt(FOLDER / "data" / "train.csv", table(), delimiter=",")

source = FOLDER / "source"
source.mkdir()
(source / "train.py").write_text(
    """
import argparse, os, joblib, numpy as np
from sklearn.linear_model import LogisticRegression

parser = argparse.ArgumentParser()
parser.add_argument("--strength", type=float)
options, _ = parser.parse_known_args()
data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
model = LogisticRegression(C=options.strength).fit(data[:, 1:], data[:, 0])
print("accuracy=%.3f;" % model.score(data[:, 1:], data[:, 0]))
joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""
)
region = session.boto_region_name
sklearn = image_uris.retrieve("sklearn", region, version="1.2-1")
began = time.time()
trainer = ModelTrainer(
    training_image=sklearn,
    source_code=SourceCode(source_dir=str(source), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    base_job_name="v3-script",
    role=role,
    hyperparameters={"strength": 0.5},
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=str(FOLDER / "data"))])
job = trainer._latest_training_job
tell(script=TrainingJob.get(job.training_job_name).training_job_status, train_seconds=time.time() - began)

xgboost = image_uris.retrieve("xgboost", region, version="1.7-1")
trainer = ModelTrainer(
    training_image=xgboost,
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    base_job_name="v3-xgboost",
    role=role,
    hyperparameters={"num_round": 10, "objective": "binary:logistic"},
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=str(FOLDER / "data"), content_type="text/csv")])
done = TrainingJob.get(trainer._latest_training_job.training_job_name)
artifact = done.model_artifacts.s3_model_artifacts
tell(xgboost=done.training_job_status, artifact=artifact)

began = time.time()
builder = ModelBuilder(image_uri=xgboost, s3_model_data_url=artifact, role_arn=role, instance_type="ml.m5.large", sagemaker_session=session)
builder.build()
endpoint = builder.deploy(endpoint_name="v3-endpoint", initial_instance_count=1, instance_type="ml.m5.large")
body = "\n".join(",".join(str(v) for v in row) for row in clear_rows()[:, 1:])
answer = endpoint.invoke(body=body, content_type="text/csv", accept="text/csv")
scores = [float(v) for v in answer.body.read().decode().replace("\n", ",").strip(",").split(",")]
tell(deploy_seconds=time.time() - began, predicted=[round(s) for s in scores], wanted=clear_rows()[:, 0].tolist())
endpoint.delete()
