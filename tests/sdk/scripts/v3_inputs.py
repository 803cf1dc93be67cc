"""SageMaker SDK v3: a channel in Pipe mode, spot capacity with checkpoints, a warm pool, as a user writes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import TrainingJob
from sagemaker.core.shapes import Channel, CheckpointConfig, DataSource, S3DataSource, ShuffleConfig, StoppingCondition
from sagemaker.core.training.configs import Compute, SourceCode
from sagemaker.train import ModelTrainer

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = Session()
source = FOLDER / "source"
source.mkdir()
(source / "read.py").write_text(
    "text = open('/opt/ml/input/data/train_0').read()\n"
    "open('/opt/ml/checkpoints/seen', 'w').write(''.join(sorted(text)))\n"
    "open('/opt/ml/model/seen', 'w').write(text)\n"
)
for name in "abc":
    (FOLDER / name).write_text(name)
    session.upload_data(str(FOLDER / name), bucket=session.default_bucket(), key_prefix="letters")
bucket = session.default_bucket()
letters = S3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/letters/", s3_data_distribution_type="FullyReplicated")
channel = Channel(channel_name="train", data_source=DataSource(s3_data_source=letters), input_mode="Pipe", shuffle_config=ShuffleConfig(seed=7))


def trained(compute: Compute, **members: object) -> TrainingJob:
    trainer = ModelTrainer(
        training_image=image_uris.retrieve("sklearn", session.boto_region_name, version="1.2-1"),
        source_code=SourceCode(source_dir=str(source), entry_script="read.py"),
        compute=compute,
        base_job_name="v3-inputs",
        role=get_execution_role(session),
        checkpoint_config=CheckpointConfig(s3_uri=f"s3://{bucket}/v3-checkpoints"),
        **members,
    )
    trainer.train(input_data_config=[channel], logs=False)
    return TrainingJob.get(trainer._latest_training_job.training_job_name)


limits = StoppingCondition(max_runtime_in_seconds=300, max_wait_time_in_seconds=600)
spot = trained(Compute(instance_type="ml.m5.large", instance_count=1, enable_managed_spot_training=True), stopping_condition=limits)
body = session.boto_session.client("s3").get_object(Bucket=bucket, Key="v3-checkpoints/seen")["Body"].read()
tell(spot=spot.training_job_status, managed=spot.enable_managed_spot_training, saved=body.decode())
pooled = trained(Compute(instance_type="ml.m5.large", instance_count=1, keep_alive_period_in_seconds=300))
tell(pool=pooled.warm_pool_status.status)
