"""SageMaker SDK v3: built-in K-Means, a job of one second, one that fails, and how long the SDK waits for each."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = Session()
role = get_execution_role(session)
region = session.boto_region_name
source = FOLDER / "source"
source.mkdir()
(source / "good.py").write_text("import time; time.sleep(1); print('done')")
(source / "bad.py").write_text("raise ValueError('the data is all wrong')")


def trainer(script: str) -> ModelTrainer:
    return ModelTrainer(
        training_image=image_uris.retrieve("sklearn", region, version="1.2-1"),
        source_code=SourceCode(source_dir=str(source), entry_script=script),
        compute=Compute(instance_type="ml.m5.large", instance_count=1),
        base_job_name=f"v3-{Path(script).stem}",
        role=role,
    )


began = time.time()
good = trainer("good.py")
good.train()
tell(good=TrainingJob.get(good._latest_training_job.training_job_name).training_job_status, train_seconds=round(time.time() - began, 1))

began = time.time()
good.train(logs=False)
tell(quiet_train_seconds=round(time.time() - began, 1))

try:
    trainer("bad.py").train()
except Exception as problem:
    tell(failed=str(problem)[-600:])  # the SDK's own driver says which command failed; what that printed is in the log

points = np.vstack([np.zeros((50, 3)), np.full((50, 3), 9.0)]) + np.random.default_rng(1).normal(size=(100, 3)) / 9
(FOLDER / "points").mkdir()
np.savetxt(FOLDER / "points" / "points.csv", points, delimiter=",")
image = image_uris.retrieve("kmeans", region)
kmeans = ModelTrainer(
    training_image=image,
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    base_job_name="v3-kmeans",
    role=role,
    hyperparameters={"k": 2, "feature_dim": 3, "mini_batch_size": 100},
)
kmeans.train(input_data_config=[InputData(channel_name="train", data_source=str(FOLDER / "points"), content_type="text/csv;label_size=0")])
done = TrainingJob.get(kmeans._latest_training_job.training_job_name)
tell(kmeans=done.training_job_status)

began = time.time()
container = ContainerDefinition(image=image, model_data_url=done.model_artifacts.s3_model_artifacts)
Model.create(model_name="v3-kmeans", primary_container=container, execution_role_arn=role)
variant = ProductionVariant(variant_name="all", model_name="v3-kmeans", initial_instance_count=1, instance_type="ml.m5.large")
EndpointConfig.create(endpoint_config_name="v3-kmeans", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name="v3-kmeans", endpoint_config_name="v3-kmeans")
endpoint.wait_for_status("InService")
rows = "\n".join(",".join(str(v) for v in row) for row in points[[0, 1, 98, 99]])
answer = json.loads(endpoint.invoke(body=rows, content_type="text/csv", accept="application/json").body.read())
tell(deploy_seconds=round(time.time() - began, 1), clusters=[p["closest_cluster"] for p in answer["predictions"]])
endpoint.delete()
