"""SageMaker SDK v3's ModelTrainer with Torchrun on two instances, as a user writes it: ranks add up their numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.resources import TrainingJob
from sagemaker.core.training.configs import Compute, SourceCode
from sagemaker.train import ModelTrainer
from sagemaker.train.distributed import Torchrun

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-cpu-py311-ubuntu20.04-sagemaker"
SCRIPT = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
number = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(number)
with open(os.path.join(os.environ["SM_MODEL_DIR"], os.environ["SM_CURRENT_HOST"]), "w") as file:
    file.write(str(number.item()))
dist.destroy_process_group()
os._exit(0)  # gloo's threads may still drop their last work, and abort an interpreter that shuts down meanwhile
"""
source = Path(sys.argv[1]) / "source"
source.mkdir()
(source / "train.py").write_text(SCRIPT)
trainer = ModelTrainer(
    training_image=IMAGE,
    source_code=SourceCode(source_dir=str(source), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=2),
    base_job_name="ranks",
    role=get_execution_role(Session()),
    distributed=Torchrun(process_count_per_node=1),
)
trainer.train()
status = TrainingJob.get(trainer._latest_training_job.training_job_name).training_job_status
print("FOUND " + json.dumps({"status": status}), flush=True)
