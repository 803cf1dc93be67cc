"""SDK v3: how long train of a 1-second job takes, and deploy of a model."""

import json
import tempfile
import time
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import TrainingJob
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer

folder = Path(tempfile.mkdtemp())
(folder / "train.py").write_text("import time\ntime.sleep(1)\n")
session = Session()
role = "arn:aws:iam::000000000000:role/DewfallExecutionRole"


def trainer(image: str, source: SourceCode | None, parameters: dict[str, object]) -> ModelTrainer:
    compute = Compute(instance_type="ml.m5.large", instance_count=1)
    return ModelTrainer(training_image=image, source_code=source, compute=compute, role=role, hyperparameters=parameters)


sklearn = image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1")
xgboost = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
source = SourceCode(source_dir=str(folder), entry_script="train.py")
trainer(sklearn, source, {}).train()
made = trainer(sklearn, source, {})
began = time.perf_counter()
made.train()
fit = time.perf_counter() - began
boosted = trainer(xgboost, None, {"num_round": 5, "objective": "binary:logistic"})
boosted.train(input_data_config=[InputData(channel_name="train", data_source="s3://bench/train/", content_type="text/csv")])
artifact = TrainingJob.get(boosted._latest_training_job.training_job_name).model_artifacts.s3_model_artifacts
builder = ModelBuilder(image_uri=xgboost, s3_model_data_url=artifact, role_arn=role, instance_type="ml.m5.large", sagemaker_session=session)
builder.build()
began = time.perf_counter()
builder.deploy(endpoint_name="bench-v3", initial_instance_count=1, instance_type="ml.m5.large")
print("FOUND " + json.dumps({"fit": fit, "deploy": time.perf_counter() - began}))
