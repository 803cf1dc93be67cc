"""SageMaker SDK v2's Transformer as a user writes it: estimator.transformer, model.transformer, filters, logs. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.transformer import Transformer

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def output(transformer: Transformer, name: str) -> list[str]:
    bucket, prefix = transformer.output_path.removeprefix("s3://").split("/", 1)
    text: str = session.read_s3_file(bucket, f"{prefix}/{name}")
    return text.splitlines()


session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()

x = np.random.default_rng(0).normal(size=(200, 3))
np.savetxt(FOLDER / "train.csv", np.column_stack([(x[:, 0] > 0).astype(int), x]), delimiter=",")
rows = np.column_stack([np.arange(4), [-2, -1, 1, 2], np.zeros(4), np.zeros(4)])
np.savetxt(FOLDER / "rows.csv", rows, delimiter=",", fmt="%g")
train = session.upload_data(str(FOLDER / "train.csv"), key_prefix="transform/train")
batch = session.upload_data(str(FOLDER / "rows.csv"), key_prefix="transform/batch")

image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
boosted = Estimator(image, role, 1, "ml.m5.large", hyperparameters={"num_round": 10, "objective": "binary:logistic"})
boosted.fit({"train": TrainingInput(train, content_type="text/csv")})

transformer = boosted.transformer(1, "ml.m5.large", strategy="MultiRecord", assemble_with="Line", accept="text/csv")
transformer.transform(batch, content_type="text/csv", split_type="Line", input_filter="$[1:]", join_source="Input", output_filter="$[0,-1]")
transformer.wait()
joined = [line.split(",") for line in output(transformer, "rows.csv.out")]
tell(ids=[row[0] for row in joined], classes=[round(float(row[1])) for row in joined])

by_name = Transformer(
    transformer.model_name,
    1,
    "ml.m5.large",
    output_path=f"s3://{bucket}/transform/out",
    max_payload=1,
    env={"EXTRA": "yes"},
    base_transform_job_name="named",
)
by_name.transform(batch, content_type="text/csv", split_type="Line", input_filter="$[1:]", logs=False, wait=True)
tell(plain=len(output(by_name, "rows.csv.out")))

attached = Transformer.attach(by_name.latest_transform_job.name)
tell(attached=attached.model_name == transformer.model_name, payload=attached.max_payload)

try:
    transformer.transform(batch, content_type="text/nonsense", split_type="Line", wait=True, logs=False)
except Exception as error:
    tell(error=type(error).__name__, reason=str(error))
