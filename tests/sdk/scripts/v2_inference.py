"""SageMaker SDK v2's other ways to predict: data capture, asynchronous and serverless endpoints. Prints a JSON line per finding."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.async_inference import AsyncInferenceConfig, WaiterConfig
from sagemaker.deserializers import CSVDeserializer
from sagemaker.estimator import Estimator
from sagemaker.exceptions import AsyncInferenceModelError
from sagemaker.inputs import TrainingInput
from sagemaker.model_monitor import DataCaptureConfig
from sagemaker.s3 import S3Downloader
from sagemaker.serializers import CSVSerializer
from sagemaker.serverless import ServerlessInferenceConfig

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()
csv = {"serializer": CSVSerializer(), "deserializer": CSVDeserializer()}

x = np.random.default_rng(0).normal(size=(200, 3))
np.savetxt(FOLDER / "train.csv", np.column_stack([(x[:, 0] > 0).astype(int), x]), delimiter=",")
train = session.upload_data(str(FOLDER / "train.csv"), key_prefix="inference/train")
image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
boosted = Estimator(image, role, 1, "ml.m5.large", hyperparameters={"num_round": 10, "objective": "binary:logistic"})
boosted.fit({"train": TrainingInput(train, content_type="text/csv")}, logs=False)

capture = DataCaptureConfig(enable_capture=True, sampling_percentage=100, destination_s3_uri=f"s3://{bucket}/captured")
predictor = boosted.deploy(1, "ml.m5.large", data_capture_config=capture, **csv)
score = float(predictor.predict([-2.0, 0.0, 0.0])[0][0])
end = time.monotonic() + 60
while not (files := S3Downloader.list(f"s3://{bucket}/captured/{predictor.endpoint_name}/AllTraffic")) and time.monotonic() < end:
    time.sleep(0.2)
captured = json.loads(S3Downloader.read_file(files[0]))["captureData"]
tell(sent=captured["endpointInput"]["data"], said=float(captured["endpointOutput"]["data"]) == score)
predictor.delete_endpoint()

later = boosted.deploy(1, "ml.m5.large", async_inference_config=AsyncInferenceConfig(max_concurrent_invocations_per_instance=2), **csv)
tell(answer=float(later.predict([-2.0, 0.0, 0.0])[0][0]) == score)
response = later.predict_async([-2.0, 0.0, 0.0], inference_id="mine")
tell(awaited=float(response.get_result(WaiterConfig(max_attempts=20, delay=1))[0][0]) == score)
try:
    later.predict_async("nonsense").get_result(WaiterConfig(max_attempts=20, delay=1))
except AsyncInferenceModelError as error:
    tell(failed=str(error)[:40])
later.delete_endpoint()

serverless = boosted.deploy(serverless_inference_config=ServerlessInferenceConfig(memory_size_in_mb=1024, max_concurrency=2), **csv)
variant = session.sagemaker_client.describe_endpoint(EndpointName=serverless.endpoint_name)["ProductionVariants"][0]
tell(serverless=float(serverless.predict([-2.0, 0.0, 0.0])[0][0]) == score, config=variant["CurrentServerlessConfig"])
serverless.delete_endpoint()
# The SDK's threads go on looking for failures that never came, for a quarter of an hour, and the interpreter would wait for them.
sys.stdout.flush()
os._exit(0)
