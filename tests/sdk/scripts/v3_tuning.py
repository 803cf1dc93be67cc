"""SageMaker SDK v3's tuner as a user writes it: a built-in algorithm and a script. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.parameter import ContinuousParameter, IntegerParameter
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = Session()
role, region = get_execution_role(session), session.boto_region_name
common = {"role": role, "sagemaker_session": session, "compute": Compute(instance_type="ml.m5.large", instance_count=1)}
x = np.random.default_rng(0).normal(size=(300, 4))
np.savetxt(FOLDER / "train.csv", np.column_stack([(x[:, 0] > 0).astype(int), x]), delimiter=",")
uri = session.upload_data(str(FOLDER / "train.csv"), key_prefix="tuning3")
inputs = [InputData(channel_name=name, data_source=uri, content_type="text/csv") for name in ("train", "validation")]

image = image_uris.retrieve("xgboost", region, version="1.7-1")
given = {"objective": "binary:logistic", "num_round": 3, "eval_metric": "auc"}
trainer = ModelTrainer(training_image=image, hyperparameters=given, **common)
ranges = {"eta": ContinuousParameter(0.1, 0.9), "max_depth": IntegerParameter(2, 5)}
tuner = HyperparameterTuner(trainer, "validation:auc", ranges, max_jobs=3, max_parallel_jobs=2, base_tuning_job_name="boosted")
tuner.tune(inputs=inputs, wait=True)
table = tuner.analytics().dataframe()
tell(xgboost=tuner.describe().hyper_parameter_tuning_job_status, trials=len(table), best=tuner.best_training_job() in set(table["TrainingJobName"]))

(FOLDER / "source").mkdir()
(FOLDER / "source" / "train.py").write_text(
    "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--rate', type=float)\n"
    "print('loss=%.5f;' % (parser.parse_args().rate - 0.3) ** 2)\n"
)
image = image_uris.retrieve("sklearn", region, version="1.2-1", image_scope="training")
trainer = ModelTrainer(training_image=image, source_code=SourceCode(source_dir=str(FOLDER / "source"), entry_script="train.py"), **common)
metrics = [{"Name": "loss", "Regex": "loss=([0-9.]+);"}]
rates = {"rate": ContinuousParameter(0, 1)}
tuner = HyperparameterTuner(trainer, "loss", rates, metrics, objective_type="Minimize", max_jobs=2, base_tuning_job_name="script")
tuner.tune(inputs=inputs[:1], wait=True)
tell(script=tuner.describe().hyper_parameter_tuning_job_status)
