"""SageMaker SDK v3's batch transform as a user writes it: Model, Transformer, TransformJob. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import Model, TrainingJob, TransformJob
from sagemaker.core.shapes import ContainerDefinition
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.core.transformer import Transformer
from sagemaker.train import ModelTrainer

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


began = datetime.now(UTC)
session = Session()
role, bucket = get_execution_role(session), session.default_bucket()

x = np.random.default_rng(0).normal(size=(200, 3))
(FOLDER / "data").mkdir()
np.savetxt(FOLDER / "data" / "train.csv", np.column_stack([(x[:, 0] > 0).astype(int), x]), delimiter=",")
(FOLDER / "rows.csv").write_text("0,-2,0,0\n1,-1,0,0\n2,1,0,0\n3,2,0,0\n")
batch = session.upload_data(str(FOLDER / "rows.csv"), key_prefix="transform3/batch")

image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
trainer = ModelTrainer(
    training_image=image,
    role=role,
    sagemaker_session=session,
    base_job_name="boosted",
    compute=Compute(instance_type="ml.m5.large", instance_count=1),
    hyperparameters={"num_round": 10, "objective": "binary:logistic"},
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=str(FOLDER / "data"), content_type="text/csv")])
job = TrainingJob.get(training_job_name=trainer._latest_training_job.training_job_name)
container = ContainerDefinition(image=image, model_data_url=job.model_artifacts.s3_model_artifacts)
Model.create(model_name="boosted", primary_container=container, execution_role_arn=role)

transformer = Transformer(
    model_name="boosted", instance_count=1, instance_type="ml.m5.large", strategy="MultiRecord", assemble_with="Line", accept="text/csv",
    output_path=f"s3://{bucket}/transform3/out", sagemaker_session=session,
)  # fmt: skip
transformer.transform(
    data=batch, content_type="text/csv", split_type="Line", input_filter="$[1:]", join_source="Input", output_filter="$[0,-1]", wait=True, logs=False
)
body = session.read_s3_file(bucket, "transform3/out/rows.csv.out")
rows = [line.split(",") for line in body.splitlines()]
tell(ids=[row[0] for row in rows], classes=[round(float(row[1])) for row in rows])
names = [found.transform_job_name for found in TransformJob.get_all(creation_time_after=began)]
tell(jobs=len(names), status=TransformJob.get(transform_job_name=names[0]).transform_job_status)
