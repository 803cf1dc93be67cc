"""SageMaker SDK v2 with nothing but the variables of `dewfall env`: no proxy, an explicit role."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker.sklearn import SKLearn

FOLDER = Path(sys.argv[1])
(FOLDER / "train.py").write_text(
    """
import joblib, os
from sklearn.linear_model import LinearRegression

def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))

if __name__ == "__main__":
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]), os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""
)
session = sagemaker.Session()
estimator = SKLearn(
    entry_point="train.py",
    source_dir=str(FOLDER),
    framework_version="1.2-1",
    instance_type="ml.m5.large",
    role="arn:aws:iam::000000000000:role/DewfallExecutionRole",
    sagemaker_session=session,
)
estimator.fit(logs=False)
predictor = estimator.deploy(1, "ml.m5.large")
print("FOUND " + json.dumps({"bucket": session.default_bucket(), "prediction": predictor.predict(np.array([[2.0]])).round(6).tolist()}), flush=True)
predictor.delete_endpoint()
