"""SDK v2: how long fit of a 1-second job takes, and deploy of its model."""

import json
import sys
import tempfile
import time
from pathlib import Path

if len(sys.argv) > 1:  # a notebook's way
    import dewfall

    dewfall.activate(sys.argv[1])

import sagemaker
from sagemaker.sklearn import SKLearn

folder = Path(tempfile.mkdtemp())
(folder / "train.py").write_text(
    """
import os, time
from pathlib import Path
def model_fn(folder):
    return 1
def predict_fn(data, model):
    return data
if __name__ == "__main__":
    time.sleep(1)
    Path(os.environ["SM_MODEL_DIR"], "model").write_text("1")
"""
)
session = sagemaker.Session()


def estimator() -> SKLearn:
    role = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
    return SKLearn("train.py", source_dir=str(folder), framework_version="1.2-1", instance_type="ml.m5.large", role=role)


estimator().fit("s3://bench/train/")
made = estimator()
began = time.perf_counter()
made.fit("s3://bench/train/")
fit = time.perf_counter() - began
began = time.perf_counter()
made.deploy(1, "ml.m5.large")
print("FOUND " + json.dumps({"fit": fit, "deploy": time.perf_counter() - began}))
