"""Libraries that train on several hosts at once: what they train together is what one host would train on all rows."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import BUCKET, Jobs, channel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:1.7-1"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:1.2-1-cpu-py3"
LIGHTGBM = f"{REGISTRY}/dewfall/lightgbm:latest"
ROWS = np.random.default_rng(3).normal(size=(600, 4))
LABELS = (ROWS[:, 0] - ROWS[:, 1] > 0).astype(int)

RABIT = """
import json, os
from sagemaker_xgboost_container import distributed
import numpy as np, xgboost as xgb

def fit(is_master):
    data = np.concatenate([np.loadtxt(f"/opt/ml/input/data/train/{n}", delimiter=",", ndmin=2) for n in os.listdir("/opt/ml/input/data/train")])
    model = xgb.train({"objective": "binary:logistic", "tree_method": "hist"}, xgb.DMatrix(data[:, 1:], data[:, 0]), 5)
    print("rows", len(data), "of", xgb.collective.get_world_size(), "leads" if is_master else "follows")
    if is_master:
        model.save_model("/opt/ml/model/xgboost-model.ubj")

hosts, me = json.loads(os.environ["SM_HOSTS"]), os.environ["SM_CURRENT_HOST"]
distributed.rabit_run(exec_fun=fit, args={}, include_in_training=True, hosts=hosts, current_host=me, update_rabit_args=True)
"""
RANKS = """
import os
print("rank", os.environ["OMPI_COMM_WORLD_RANK"], "of", os.environ["OMPI_COMM_WORLD_SIZE"], "on", os.environ["SM_CURRENT_HOST"], flush=True)
open("/opt/ml/model/" + os.environ["OMPI_COMM_WORLD_RANK"], "w").write(os.environ["SM_CURRENT_HOST"])
"""


def upload(jobs: Jobs, parts: int = 4) -> dict[str, Any]:
    """The rows in some files, as a channel that is dealt out."""
    table = np.column_stack([LABELS, ROWS])
    for part in range(parts):
        lines = io.StringIO()
        np.savetxt(lines, table[part::parts], delimiter=",")
        jobs.put(**{f"part-{part}": lines.getvalue()})
    return channel("train", "in/", S3DataDistributionType="ShardedByS3Key") | {"ContentType": "text/csv"}


def train(jobs: Jobs, image: str, script: str = "", **parameters: str) -> dict[str, Any]:
    if script:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            member = tarfile.TarInfo("train.py")
            member.size = len(script.encode())
            archive.addfile(member, io.BytesIO(script.encode()))
        jobs.s3.put_object(Bucket=BUCKET, Key="source.tar.gz", Body=packed.getvalue())
        parameters |= {"sagemaker_program": "train.py", "sagemaker_submit_directory": f"s3://{BUCKET}/source.tar.gz"}
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
    job = jobs.train("", AlgorithmSpecification=algorithm, HyperParameters=parameters, InputDataConfig=[upload(jobs)])
    assert job["TrainingJobStatus"] == "Completed", (job.get("FailureReason"), jobs.logs())
    return job


def artifact(jobs: Jobs, folder: Path) -> Path:
    body = jobs.s3.get_object(Bucket=BUCKET, Key="out/job/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_xgboost_trains_on_the_rows_of_all_hosts(jobs: Jobs, tmp_path: Path) -> None:
    import xgboost

    train(jobs, XGBOOST, objective="binary:logistic", num_round="5", tree_method="hist")
    assert any("Distributed node training with 2 hosts" in line for line in jobs.logs()["algo-2"])
    model = xgboost.Booster()
    model.load_model(bytearray((artifact(jobs, tmp_path) / "xgboost-model").read_bytes()))
    alone = xgboost.train({"objective": "binary:logistic", "tree_method": "hist"}, xgboost.DMatrix(ROWS, LABELS), 5)
    close = np.abs(model.predict(xgboost.DMatrix(ROWS)) - alone.predict(xgboost.DMatrix(ROWS)))
    assert (close.mean() < 0.03) & (np.mean((model.predict(xgboost.DMatrix(ROWS)) > 0.5) == LABELS) > 0.95)


def test_rabit_run_trains_a_script_together(jobs: Jobs, tmp_path: Path) -> None:
    train(jobs, XGBOOST, RABIT)
    assert {host: [line for line in lines if line.startswith("rows")] for host, lines in jobs.logs().items()} == {
        "algo-1": ["rows 300 of 2 leads"],
        "algo-2": ["rows 300 of 2 follows"],
    }
    assert [path.name for path in artifact(jobs, tmp_path).iterdir()] == ["xgboost-model.ubj"]


def test_lightgbm_trains_on_the_rows_of_all_hosts(jobs: Jobs, tmp_path: Path) -> None:
    import lightgbm

    train(jobs, LIGHTGBM, num_boost_round="20", early_stopping_rounds="5")
    model = lightgbm.Booster(model_file=artifact(jobs, tmp_path) / "model.txt")
    assert np.mean((np.asarray(model.predict(ROWS)) > 0.5) == LABELS) > 0.95
    assert model.dump_model()["tree_info"][0]["tree_structure"]["internal_count"] > 300  # a host alone has 240


@pytest.mark.skipif(not shutil.which("mpirun"), reason="no MPI is installed")
def test_mpi_starts_ranks_on_every_host(jobs: Jobs, tmp_path: Path) -> None:
    train(jobs, SKLEARN, RANKS, sagemaker_mpi_enabled="true", sagemaker_mpi_num_of_processes_per_host="2")
    places = {path.name: path.read_text() for path in artifact(jobs, tmp_path).iterdir()}
    assert places == {"0": "algo-1", "1": "algo-1", "2": "algo-2", "3": "algo-2"}
