"""SageMaker SDK v2 as a user writes it: session, roles, fit, deploy, predict, delete. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.amazon.kmeans import KMeans
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearn

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


session = sagemaker.Session()
bucket = session.default_bucket()
role = sagemaker.get_execution_role()
tell(bucket=bucket, role=role)

(FOLDER / "train.py").write_text(
    """
import argparse, os, joblib, numpy as np
from sklearn.linear_model import LogisticRegression

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--strength", type=float)
    options, _ = parser.parse_known_args()
    data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
    model = LogisticRegression(C=options.strength).fit(data[:, 1:], data[:, 0])
    print("accuracy=%.3f;" % model.score(data[:, 1:], data[:, 0]))
    joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""
)
np.savetxt(FOLDER / "train.csv", table(), delimiter=",")
data = session.upload_data(str(FOLDER / "train.csv"), key_prefix="flow/train")

began = time.time()
sklearn = SKLearn(
    entry_point="train.py",
    source_dir=str(FOLDER),
    framework_version="1.2-1",
    instance_type="ml.m5.large",
    role=role,
    hyperparameters={"strength": 0.5},
    metric_definitions=[{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}],
)
sklearn.fit({"train": data})
job = session.describe_training_job(sklearn.latest_training_job.name)
tell(sklearn=job["TrainingJobStatus"], metric=job["FinalMetricDataList"][0]["Value"], fit_seconds=time.time() - began)

began = time.time()
predictor = sklearn.deploy(initial_instance_count=1, instance_type="ml.m5.large")
tell(deploy_seconds=time.time() - began, prediction=predictor.predict(clear_rows()[:, 1:]).tolist(), wanted_classes=clear_rows()[:, 0].tolist())
predictor.delete_model()
predictor.delete_endpoint()

image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
boosted = Estimator(image, role, 1, "ml.m5.large", hyperparameters={"num_round": 10, "objective": "binary:logistic"})
boosted.fit({"train": TrainingInput(data, content_type="text/csv")})
predictor = boosted.deploy(1, "ml.m5.large", serializer=CSVSerializer())
scores = [float(v) for v in predictor.predict(clear_rows()[:, 1:]).decode().replace("\n", ",").strip(",").split(",")]
tell(xgboost=[round(s) for s in scores], wanted=clear_rows()[:, 0].tolist())
predictor.delete_model()
predictor.delete_endpoint()

kmeans = KMeans(role=role, instance_count=1, instance_type="ml.m5.large", k=2, output_path=f"s3://{bucket}/flow/out")
points = (
    np.vstack([np.zeros((50, 3)), np.full((50, 3), 9.0)]).astype("float32") + np.random.default_rng(1).normal(size=(100, 3)).astype("float32") / 9
)
kmeans.fit(kmeans.record_set(points))
predictor = kmeans.deploy(1, "ml.m5.large")
clusters = [record.label["closest_cluster"].float32_tensor.values[0] for record in predictor.predict(points[[0, 1, 98, 99]])]
tell(kmeans=clusters)
predictor.delete_model()
predictor.delete_endpoint()
