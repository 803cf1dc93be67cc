"""SageMaker SDK v2: pipes, augmented manifests, spot capacity with checkpoints and an interruption, warm pools, as a user writes them."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import KMeans, image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import ShuffleConfig, TrainingInput
from sagemaker.sklearn import SKLearn

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role = sagemaker.get_execution_role()
common = {"role": role, "instance_type": "ml.m5.large", "instance_count": 1}

points = (np.arange(40).reshape(20, 2) % 7).astype("float32")
kmeans = KMeans(k=2, **common)
records = kmeans.record_set(points)
piped = Estimator(image_uris.retrieve("kmeans", session.boto_region_name), input_mode="Pipe", hyperparameters={"k": 2, "feature_dim": 2}, **common)
data = TrainingInput(records.s3_data, s3_data_type=records.s3_data_type, distribution="ShardedByS3Key", shuffle_config=ShuffleConfig(1))
piped.fit({"train": data})
tell(piped=piped.latest_training_job.describe()["TrainingJobStatus"])

(FOLDER / "read.py").write_text(
    """
import struct
with open("/opt/ml/input/data/train_0", "rb") as pipe:
    while header := pipe.read(8):
        size = struct.unpack("<II", header)[1]
        print("record", pipe.read(size).decode().strip(), flush=True)
        pipe.read(-size % 4)
"""
)
lines = []
for number in range(3):
    (FOLDER / f"{number}.txt").write_text(f"text {number}")
    lines.append({"source-ref": session.upload_data(str(FOLDER / f"{number}.txt"), key_prefix="texts"), "class": number})
(FOLDER / "lines.manifest").write_text("\n".join(map(json.dumps, lines)))
augmented = TrainingInput(
    session.upload_data(str(FOLDER / "lines.manifest"), key_prefix="lists"),
    s3_data_type="AugmentedManifestFile",
    attribute_names=["source-ref", "class"],
    record_wrapping="RecordIO",
    input_mode="Pipe",
)
reader = SKLearn(entry_point="read.py", source_dir=str(FOLDER), framework_version="1.2-1", **common)
reader.fit({"train": augmented})
logs = session.boto_session.client("logs")
streams = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamNamePrefix": f"{reader.latest_training_job.name}/"}
events = logs.filter_log_events(**streams)["events"]
tell(records=[event["message"].removeprefix("record ") for event in events if event["message"].startswith("record ")])

(FOLDER / "count.py").write_text(
    """
import pathlib, time
saved = pathlib.Path("/opt/ml/checkpoints/n")
first = int(saved.read_text()) if saved.exists() else 0
saved.write_text(str(first + 1))
while first == 0: time.sleep(0.05)
"""
)
spot = SKLearn(
    entry_point="count.py",
    source_dir=str(FOLDER),
    framework_version="1.2-1",
    use_spot_instances=True,
    max_run=300,
    max_wait=600,
    checkpoint_s3_uri=f"s3://{session.default_bucket()}/checkpoints",
    **common,
)
spot.fit(wait=False)
s3 = session.boto_session.client("s3")
while not s3.list_objects_v2(Bucket=session.default_bucket(), Prefix="checkpoints/").get("KeyCount"):
    time.sleep(0.1)
page = f"{os.environ['AWS_ENDPOINT_URL']}/_dewfall/interrupt/{spot.latest_training_job.name}"
urllib.request.urlopen(urllib.request.Request(page, method="POST")).close()
spot.latest_training_job.wait(logs="All")
job = spot.latest_training_job.describe()
statuses = [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
tell(
    spot=job["TrainingJobStatus"], interrupted=statuses.count("Interrupted"), paid=job["BillableTimeInSeconds"], trained=job["TrainingTimeInSeconds"]
)

(FOLDER / "cache.py").write_text("import os; print('cache', os.environ['SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY'])")
pooled = SKLearn(entry_point="cache.py", source_dir=str(FOLDER), framework_version="1.2-1", keep_alive_period_in_seconds=300, **common)
pooled.fit()
first = pooled.latest_training_job
pooled.fit()
tell(pools=[one.describe()["WarmPoolStatus"]["Status"] for one in (first, pooled.latest_training_job)])
session.update_training_job(pooled.latest_training_job.name, resource_config={"KeepAlivePeriodInSeconds": 0})
tell(ended=pooled.latest_training_job.describe()["WarmPoolStatus"]["Status"])
