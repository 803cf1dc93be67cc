"""Jobs on two hosts: what they train together stands for the rows of both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS = np.random.default_rng(1).normal(size=(200, 3))
TARGET = ROWS @ [1.0, 2.0, -1.0]


def run_both(folder: Path, module: str, hyperparameters: dict[str, str], content_type: str) -> None:
    """Run a training job of two hosts, the rows sharded over them."""
    running = []
    for number in (1, 2):
        home = folder / f"algo-{number}"
        (home / "input" / "config").mkdir(parents=True)
        (home / "input" / "data" / "train").mkdir(parents=True)
        part = np.column_stack([TARGET, ROWS])[number - 1 :: 2]
        np.savetxt(home / "input" / "data" / "train" / "part.csv", part, delimiter=",")
        entry = {"ContentType": content_type, "TrainingInputMode": "File", "S3DistributionType": "ShardedByS3Key"}
        documents = {
            "hyperparameters": hyperparameters,
            "inputdataconfig": {"train": entry},
            "resourceconfig": {"current_host": f"algo-{number}", "hosts": ["algo-1", "algo-2"]},
        }
        for name, document in documents.items():
            (home / "input" / "config" / f"{name}.json").write_text(json.dumps(document))
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(home), "TRAINING_JOB_NAME": str(folder)}
        running.append(subprocess.Popen([sys.executable, "-m", f"dewfall.images.builtin.{module}", "train"], env=environment))
    assert [one.wait(90) for one in running] == [0, 0]


def test_xgboost_sums_over_both_hosts(tmp_path: Path) -> None:
    import xgboost

    run_both(tmp_path, "xgboost", {"num_round": "3", "objective": "reg:squarederror", "tree_method": "hist"}, "text/csv")
    model = xgboost.Booster()
    model.load_model(bytearray((tmp_path / "algo-1" / "model" / "xgboost-model").read_bytes()))
    alone = xgboost.train({"tree_method": "hist"}, xgboost.DMatrix(ROWS, TARGET), 3)
    assert np.abs(model.predict(xgboost.DMatrix(ROWS)) - alone.predict(xgboost.DMatrix(ROWS))).mean() < 0.2
    assert not (tmp_path / "algo-2" / "model").exists()


def test_the_leader_gathers_the_rows_of_both(tmp_path: Path) -> None:
    run_both(tmp_path, "knn", {"k": "1", "feature_dim": "3", "sample_size": "200", "predictor_type": "regressor"}, "text/csv;label_size=1")
    with np.load(tmp_path / "algo-1" / "model" / "model.npz") as arrays:
        assert np.allclose(sorted(arrays["labels"]), sorted(TARGET.astype(np.float32)))
