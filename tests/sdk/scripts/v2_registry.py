"""SageMaker SDK v2's registry and right-sizing: register, approve, deploy from the package, right_size. Prints a JSON line per finding."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import ModelPackage, image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()

x = np.random.default_rng(0).normal(size=(200, 3))
np.savetxt(FOLDER / "train.csv", np.column_stack([(x[:, 0] > 0).astype(int), x]), delimiter=",")
(FOLDER / "sample.csv").write_text("-2.0,0.0,0.0\n")
with tarfile.open(FOLDER / "payload.tar.gz", "w:gz") as archive:
    archive.add(FOLDER / "sample.csv", "sample.csv")
train = session.upload_data(str(FOLDER / "train.csv"), key_prefix="registry/train")
payload = session.upload_data(str(FOLDER / "payload.tar.gz"), key_prefix="registry/payload")
image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
boosted = Estimator(image, role, 1, "ml.m5.large", hyperparameters={"num_round": 10, "objective": "binary:logistic"})
boosted.fit({"train": TrainingInput(train, content_type="text/csv")}, logs=False)

model = boosted.create_model(image_uri=image)
package = model.register(
    content_types=["text/csv"],
    response_types=["text/csv"],
    inference_instances=["ml.m5.large"],
    transform_instances=["ml.m5.large"],
    model_package_group_name="registry",
    approval_status="PendingManualApproval",
    domain="MACHINE_LEARNING",
    task="OTHER",
    sample_payload_url=payload,
    framework="XGBOOST",
)
arn = package.model_package_arn
held = ModelPackage(role=role, model_package_arn=arn, sagemaker_session=session)
held.deploy(1, "ml.m5.large", endpoint_name="registry")
approval = session.sagemaker_client.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"]
predictor = Predictor("registry", session, serializer=CSVSerializer())
tell(arn=arn, approval=approval, low=float(predictor.predict([-2.0, 0.0, 0.0])) < 0.5)
predictor.delete_endpoint()

begun = time.monotonic()
sized = boosted.create_model(image_uri=image)
sized.right_size(
    sample_payload_url=payload, supported_content_types=["text/csv"], supported_instance_types=["ml.m5.large"], framework="XGBOOST", job_name="sized"
)
best = sized.inference_recommendations[0]
tell(seconds=round(time.monotonic() - begun), best=best["EndpointConfiguration"]["InstanceType"], metrics=best["Metrics"])
sized.deploy(serializer=CSVSerializer(), endpoint_name="right", inference_recommendation_id=best["RecommendationId"])
right = Predictor("right", session, serializer=CSVSerializer())
tell(right=float(right.predict([-2.0, 0.0, 0.0])) < 0.5)
right.delete_endpoint()
sys.stdout.flush()
os._exit(0)
