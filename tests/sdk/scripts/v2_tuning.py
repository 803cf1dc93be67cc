"""SageMaker SDK v2's tuner as a user writes it: script mode and a built-in algorithm, analytics, attach, the best estimator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.sklearn import SKLearn
from sagemaker.tuner import CategoricalParameter, ContinuousParameter, HyperparameterTuner, IntegerParameter, WarmStartConfig, WarmStartTypes

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role = sagemaker.get_execution_role()
rng = np.random.default_rng(0)
x = rng.normal(size=(300, 4))
np.savetxt(FOLDER / "train.csv", np.column_stack([(x[:, 0] + x[:, 1] > 0).astype(int), x]), delimiter=",")
data = session.upload_data(str(FOLDER / "train.csv"), key_prefix="tuning/train")

(FOLDER / "train.py").write_text(
    """
import argparse, os, joblib, numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
parser = argparse.ArgumentParser()
parser.add_argument("--max-depth", type=int)
parser.add_argument("--max-features", type=float)
parser.add_argument("--criterion")
options = parser.parse_args()
data = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), delimiter=",")
model = RandomForestClassifier(10, max_depth=options.max_depth, max_features=options.max_features, criterion=options.criterion, random_state=0)
print("accuracy=%.4f;" % cross_val_score(model, data[:, 1:], data[:, 0], cv=3).mean())
joblib.dump(model.fit(data[:, 1:], data[:, 0]), os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
"""
)
sklearn = SKLearn(entry_point="train.py", source_dir=str(FOLDER), framework_version="1.2-1", instance_type="ml.m5.large", role=role)
ranges = {
    "max-depth": IntegerParameter(1, 8),
    "max-features": ContinuousParameter(0.2, 1.0, scaling_type="Linear"),
    "criterion": CategoricalParameter(["gini", "entropy"]),
}
metrics = [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}]
tuner = HyperparameterTuner(sklearn, "accuracy", ranges, metrics, max_jobs=4, max_parallel_jobs=2, random_seed=1, early_stopping_type="Auto")
tuner.fit({"train": data})
table = tuner.analytics().dataframe()
tell(
    tuning=tuner.describe()["HyperParameterTuningJobStatus"],
    trials=len(table),
    columns=sorted(table.columns),
    best=float(table["FinalObjectiveValue"].max()),
    best_job=tuner.best_training_job(),
    table_best=table[table["FinalObjectiveValue"] == table["FinalObjectiveValue"].max()]["TrainingJobName"].tolist(),
)
best = tuner.best_estimator()
tell(estimator=type(best).__name__, depth=int(str(best.hyperparameters()["max-depth"]).strip('"')))
attached = HyperparameterTuner.attach(tuner.latest_tuning_job.name)
tell(attached=attached.latest_tuning_job.name == tuner.latest_tuning_job.name, ranges=sorted(attached.hyperparameter_ranges()))

image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
xgboost = Estimator(image, role, 1, "ml.m5.large", hyperparameters={"objective": "binary:logistic", "num_round": 5, "eval_metric": "auc"})
tuner = HyperparameterTuner(
    xgboost, "validation:auc", {"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 6)}, max_jobs=2, max_parallel_jobs=2
)
csv = TrainingInput(data, content_type="text/csv")
tuner.fit({"train": csv, "validation": csv})
first = tuner.analytics().dataframe()
tell(xgboost=tuner.describe()["HyperParameterTuningJobStatus"], auc=float(first["FinalObjectiveValue"].max()))
warm = HyperparameterTuner(
    xgboost,
    "validation:auc",
    {"eta": ContinuousParameter(0.05, 0.5), "max_depth": IntegerParameter(2, 6)},
    max_jobs=1,
    base_tuning_job_name="warm",  # the SDK's own names differ by the minute
    warm_start_config=WarmStartConfig(WarmStartTypes.IDENTICAL_DATA_AND_ALGORITHM, parents={tuner.latest_tuning_job.name}),
)
warm.fit({"train": csv, "validation": csv})
tell(warm=warm.describe()["HyperParameterTuningJobStatus"], overall="OverallBestTrainingJob" in warm.describe())
