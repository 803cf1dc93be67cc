"""SageMaker SDK v2's tuner over two algorithms at once, Autotune, and instance configurations. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.tuner import ContinuousParameter, HyperparameterTuner, InstanceConfig

FOLDER = Path(sys.argv[1])


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role, region = sagemaker.get_execution_role(), session.boto_region_name
x = np.random.default_rng(0).normal(size=(300, 4))
np.savetxt(FOLDER / "train.csv", np.column_stack([(x[:, 0] > 0).astype(int), x]), delimiter=",")
data = TrainingInput(session.upload_data(str(FOLDER / "train.csv"), key_prefix="many"), content_type="text/csv")
inputs = {"train": data, "validation": data}

boosted = {"objective": "binary:logistic", "num_round": 3, "eval_metric": "auc"}
xgboost = Estimator(image_uris.retrieve("xgboost", region, version="1.7-1"), role, 1, "ml.m5.large", hyperparameters=boosted)
straight = {"predictor_type": "binary_classifier", "feature_dim": 4, "epochs": 2, "mini_batch_size": 50}
linear = Estimator(image_uris.retrieve("linear-learner", region), role, 1, "ml.m5.large", hyperparameters=straight)
tuner = HyperparameterTuner.create(
    estimator_dict={"trees": xgboost, "line": linear},
    objective_metric_name_dict={"trees": "validation:auc", "line": "validation:roc_auc_score"},
    hyperparameter_ranges_dict={"trees": {"eta": ContinuousParameter(0.1, 0.9)}, "line": {"learning_rate": ContinuousParameter(0.001, 0.1)}},
    max_jobs=4,
    max_parallel_jobs=2,
    base_tuning_job_name="many",
)
tuner.fit(inputs={"trees": inputs, "line": inputs}, include_cls_metadata={"trees": False, "line": False})
table = tuner.analytics().dataframe()
tell(many=tuner.describe()["HyperParameterTuningJobStatus"], definitions=sorted(table["TrainingJobDefinitionName"]))
tell(best=tuner.best_training_job() in set(table["TrainingJobName"]))

kept = list(boosted)
auto = HyperparameterTuner(xgboost, "validation:auc", {}, max_jobs=1, autotune=True, hyperparameters_to_keep_static=kept, base_tuning_job_name="auto")
auto.override_resource_config(instance_configs=[InstanceConfig(1, "ml.m5.large", 5), InstanceConfig(1, "ml.m5.xlarge", 5)])
auto.fit(inputs)
tell(auto=auto.describe()["HyperParameterTuningJobStatus"], tuned=sorted(auto.describe()["BestTrainingJob"]["TunedHyperParameters"]))
