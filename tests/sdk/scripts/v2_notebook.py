"""A notebook's first cells: activate, then SageMaker SDK v2 as on AWS, with the role that the SDK finds itself."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import dewfall

dewfall.activate(sys.argv[2])

import sagemaker  # noqa: E402
from sagemaker.sklearn import SKLearn  # noqa: E402

folder = Path(sys.argv[1])
(folder / "train.py").write_text("print('trained')")
role = sagemaker.get_execution_role()
began = time.time()
estimator = SKLearn("train.py", source_dir=str(folder), framework_version="1.2-1", instance_type="ml.m5.large", role=role)
estimator.fit()
found = {"role": role, "status": estimator.latest_training_job.describe()["TrainingJobStatus"], "fit_seconds": round(time.time() - began, 1)}
print("FOUND " + json.dumps(found), flush=True)
