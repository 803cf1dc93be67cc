"""JumpStart's tabular models by SageMaker SDK v2: JumpStartEstimator, and URIs retrieved as in AWS's notebooks. A JSON line per finding."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import hyperparameters, image_uris, model_uris, script_uris
from sagemaker.estimator import Estimator
from sagemaker.jumpstart.estimator import JumpStartEstimator

FOLDER = Path(sys.argv[1])
INSTANCE = "ml.m5.xlarge"
SETTINGS = {
    "pytorch-tabtransformerclassification-model": {"n_epochs": "3", "batch_size": "64"},
    "catboost-classification-model": {"iterations": "20"},
    "autogluon-classification-ensemble": {},
}


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def upload(name: str, rows: np.ndarray) -> None:
    (FOLDER / "data" / name).mkdir(parents=True)
    np.savetxt(FOLDER / "data" / name / "data.csv", rows, delimiter=",", fmt="%.4f")


session = sagemaker.Session()
table = np.loadtxt(sys.argv[1] + "/table.csv", delimiter=",")
order = np.random.default_rng(0).permutation(len(table))
held, kept = table[order[:60]], table[order[60:]]
upload("train", kept)
upload("validation", held)
data = session.upload_data(str(FOLDER / "data"), key_prefix="tabular")
features = "\n".join(",".join(map(str, row)) for row in held[:, 1:])


def asked(predictor: sagemaker.Predictor) -> float:
    answer = predictor.predict(features, initial_args={"ContentType": "text/csv", "Accept": "application/json;verbose"})
    answer = json.loads(answer) if isinstance(answer, (bytes, str)) else answer
    predictor.delete_endpoint()
    found = np.array([float(label) for label in answer["labels"]])[np.argmax(answer["probabilities"], 1)]
    return float((found == held[:, 0]).mean())


for model_id, given in SETTINGS.items():
    estimator = JumpStartEstimator(model_id=model_id, instance_type=INSTANCE, hyperparameters=given)
    try:
        estimator.fit({"training": data}, logs=False)
    except Exception as error:
        tell(model_id=model_id, failed=str(error))
        continue
    tell(model_id=model_id, accuracy=asked(estimator.deploy(instance_type=INSTANCE)))

model_id, version = "lightgbm-classification-model", "*"
scope = {"model_id": model_id, "model_version": version}
image = image_uris.retrieve(region=None, framework=None, image_scope="training", instance_type=INSTANCE, **scope)
settings = hyperparameters.retrieve_default(**scope) | {"num_boost_round": "20"}
estimator = Estimator(
    role=sagemaker.get_execution_role(),
    image_uri=image,
    source_dir=script_uris.retrieve(script_scope="training", **scope),
    model_uri=model_uris.retrieve(model_scope="training", **scope),
    entry_point="transfer_learning.py",
    instance_count=1,
    instance_type=INSTANCE,
    max_run=3600,
    hyperparameters=settings,
)
estimator.fit({"training": data}, logs=False)
predictor = estimator.deploy(
    initial_instance_count=1,
    instance_type=INSTANCE,
    entry_point="inference.py",
    image_uri=image_uris.retrieve(region=None, framework=None, image_scope="inference", instance_type=INSTANCE, **scope),
    source_dir=script_uris.retrieve(script_scope="inference", **scope),
)
tell(notebook=asked(predictor))
