"""SageMaker SDK v2: Predictor.update_endpoint, and boto3's update_endpoint with a deployment configuration. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
import tarfile
import time
from pathlib import Path

import sagemaker
from sagemaker.predictor import Predictor
from sagemaker.session import production_variant
from sagemaker.sklearn import SKLearnModel

FOLDER = Path(sys.argv[1])
SCRIPT = """
def model_fn(model_dir):
    return open(model_dir + "/name").read()

def input_fn(body, content_type):
    return body

def predict_fn(data, model):
    return model

def output_fn(prediction, accept):
    return prediction, "text/csv"
"""


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def model(name: str) -> SKLearnModel:
    """A model that answers with its name."""
    (FOLDER / "name").write_text(name)
    with tarfile.open(FOLDER / f"{name}.tar.gz", "w:gz") as archive:
        archive.add(FOLDER / "name", "name")
    data = session.upload_data(str(FOLDER / f"{name}.tar.gz"), key_prefix="rollout")
    return SKLearnModel(data, role, str(FOLDER / "serve.py"), framework_version="1.2-1", name=name, sagemaker_session=session)


session = sagemaker.Session()
role, client = sagemaker.get_execution_role(), session.sagemaker_client
(FOLDER / "serve.py").write_text(SCRIPT)
first, second = model("first"), model("second")
predictor: Predictor = first.deploy(1, "ml.m5.large", endpoint_name="rollout")
predictor = Predictor("rollout", session)
tell(first=predictor.predict(b"x").decode())

second.create(instance_type="ml.m5.large")
predictor.update_endpoint(initial_instance_count=2, instance_type="ml.m5.large", model_name="second")
tell(second=predictor.predict(b"x").decode(), count=client.describe_endpoint(EndpointName="rollout")["ProductionVariants"][0]["CurrentInstanceCount"])

session.boto_session.client("cloudwatch").put_metric_alarm(
    AlarmName="errors",
    Namespace="Shop",
    MetricName="Errors",
    Statistic="Sum",
    Period=60,
    EvaluationPeriods=1,
    Threshold=1.0,
    ComparisonOperator="GreaterThanThreshold",
)
variant = production_variant("first", "ml.m5.large", 2)
client.create_endpoint_config(
    EndpointConfigName="back", ProductionVariants=[variant], ShadowProductionVariants=[production_variant("second", "ml.m5.large", 1, "Shadow")]
)
routing = {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": 1}, "WaitIntervalInSeconds": 2}
deployment = {
    "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
    "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
}
client.update_endpoint(EndpointName="rollout", EndpointConfigName="back", DeploymentConfig=deployment)
while (
    not client.describe_endpoint(EndpointName="rollout").get("PendingDeploymentSummary", {}).get("ProductionVariants", [{}])[0].get("CurrentWeight")
):
    time.sleep(0.1)
tell(both=sorted({predictor.predict(b"x").decode() for _ in range(8)}))
found = session.wait_for_endpoint("rollout")
tell(config=found["EndpointConfigName"], shadow=found["ShadowProductionVariants"][0]["VariantName"], answer=predictor.predict(b"x").decode())
predictor.delete_endpoint()
