"""SageMaker SDK v2's Clarify processor as a user writes it: a model trained on real data, its bias and explanations in one job."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sagemaker
from sagemaker import clarify, image_uris
from sagemaker.inputs import TrainingInput
from sagemaker.s3 import S3Downloader

FOLDER = Path(sys.argv[1])
NAMES = ["target", *(f"f{i}" for i in range(5)), "group"]


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
role = sagemaker.get_execution_role()
rng = np.random.default_rng(0)
rows = np.column_stack([rng.normal(size=(200, 5)), rng.integers(0, 2, 200)])
target = (rows[:, 0] + rows[:, 5] + rng.normal(0, 0.3, 200) > 0.5).astype(int)
np.savetxt(FOLDER / "train.csv", np.column_stack([target, rows]), delimiter=",", fmt="%g")
train = session.upload_data(str(FOLDER / "train.csv"), key_prefix="clarify")
estimator = sagemaker.estimator.Estimator(
    image_uris.retrieve("xgboost", session.boto_region_name, "1.7-1"), role, 1, "ml.m5.large", output_path=f"s3://{session.default_bucket()}/models"
)
estimator.set_hyperparameters(objective="binary:logistic", num_round=10)
estimator.fit({"train": TrainingInput(train, content_type="text/csv")}, logs=False)
name = "clarify-model"
estimator.create_model(name=name).create(instance_type="ml.m5.large")

processor = clarify.SageMakerClarifyProcessor(role=role, instance_count=1, instance_type="ml.m5.large", sagemaker_session=session)
output = f"s3://{session.default_bucket()}/clarify-out"
data = clarify.DataConfig(s3_data_input_path=train, s3_output_path=output, label="target", headers=NAMES, dataset_type="text/csv")
model = clarify.ModelConfig(model_name=name, instance_type="ml.m5.large", instance_count=1, accept_type="text/csv", content_type="text/csv")
bias = clarify.BiasConfig(label_values_or_threshold=[1], facet_name="group", facet_values_or_threshold=[0])
shap = clarify.SHAPConfig(baseline=[[0, 0, 0, 0, 0, 0]], num_samples=60, agg_method="mean_abs", save_local_shap_values=True)
labels = clarify.ModelPredictedLabelConfig(probability_threshold=0.5)

processor.run_bias(data, bias, model, labels, pre_training_methods="all", post_training_methods="all", logs=False)
found = json.loads(S3Downloader.read_file(f"{output}/analysis.json"))
tell(bias=sorted(metric["name"] for metric in found["post_training_bias_metrics"]["facets"]["group"][0]["metrics"]))
processor.run_explainability(data, model, shap, logs=False)
found = json.loads(S3Downloader.read_file(f"{output}/analysis.json"))
values = found["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
tell(first=max(values, key=values.get), files=sorted(uri.rpartition("/")[2] for uri in S3Downloader.list(output)))
