"""SageMaker SDK v2 as a user writes it: MultiDataModel, PipelineModel and inference components. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3
import numpy as np
import sagemaker
from sagemaker import image_uris
from sagemaker.compute_resource_requirements.resource_requirements import ResourceRequirements
from sagemaker.deserializers import CSVDeserializer
from sagemaker.enums import EndpointType
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.pipeline import PipelineModel
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn.model import SKLearnModel

FOLDER = Path(sys.argv[1])
SCRIPT = """
import numpy as np
def model_fn(model_dir): return None
def input_fn(body, content_type): return np.array([[float(cell) for cell in line.split(",")] for line in body.strip().split("\\n")])
def predict_fn(rows, model): return -rows
def output_fn(rows, accept): return "\\n".join(",".join(map(str, row)) for row in rows), "text/csv"
"""


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()
image = image_uris.retrieve("xgboost", session.boto_region_name, version="1.7-1")
x = np.random.default_rng(0).normal(size=(200, 2))
ends = {"serializer": CSVSerializer(), "deserializer": CSVDeserializer()}


def trained(name: str, labels: np.ndarray) -> str:
    np.savetxt(FOLDER / f"{name}.csv", np.column_stack([labels.astype(int), x]), delimiter=",")
    data = session.upload_data(str(FOLDER / f"{name}.csv"), key_prefix=f"many/{name}")
    estimator = Estimator(image, role, 1, "ml.m5.large", hyperparameters={"num_round": 5, "objective": "binary:logistic"})
    estimator.fit({"train": TrainingInput(data, content_type="text/csv")}, logs=False)
    return str(estimator.model_data)


right, left = trained("right", x[:, 0] > 0), trained("left", x[:, 0] < 0)

many = MultiDataModel("many", f"s3://{bucket}/many/shelf/", model=Model(image, role=role, sagemaker_session=session, predictor_cls=Predictor))
predictor = many.deploy(1, "ml.m5.large", **ends)
many.add_model(right, "right.tar.gz")
many.add_model(left, "sub/left.tar.gz")
tell(listed=sorted(many.list_models()))
tell(many=[round(float(predictor.predict([[2, 0]], target_model=name)[0][0])) for name in ("right.tar.gz", "/sub/left.tar.gz", "right.tar.gz")])
try:
    predictor.predict([[2, 0]], target_model="none.tar.gz")
except Exception as error:
    tell(missing=type(error).__name__)
predictor.delete_endpoint()

(FOLDER / "turn.py").write_text(SCRIPT)
turn = SKLearnModel(None, role, str(FOLDER / "turn.py"), framework_version="1.2-1", sagemaker_session=session)
pipeline = PipelineModel([turn, Model(image, right, role=role, sagemaker_session=session)], role, Predictor, sagemaker_session=session)
chained = pipeline.deploy(1, "ml.m5.large", **ends)
tell(chained=[round(float(chained.predict([[value, 0]])[0][0])) for value in (2, -2)])
chained.delete_endpoint()

needs = ResourceRequirements(requests={"memory": 512, "num_cpus": 1, "copies": 1}, limits={})
model = Model(image, right, role=role, sagemaker_session=session, predictor_cls=Predictor)
component = model.deploy(1, "ml.m5.xlarge", endpoint_name="shared", endpoint_type=EndpointType.INFERENCE_COMPONENT_BASED, resources=needs, **ends)
tell(component=round(float(component.predict([[2, 0]])[0][0])), named=bool(component.component_name))
component.delete_predictor(wait=True)
tell(left=boto3.client("sagemaker").list_inference_components()["InferenceComponents"])
