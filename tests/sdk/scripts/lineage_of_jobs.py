"""What the SageMaker SDKs find of a processing job, a training job, a registered model and its endpoint, whose lineage nobody wrote down."""

from __future__ import annotations

import importlib
import json
import time

import boto3

try:
    from sagemaker.core.helper.session_helper import Session

    ROOT = "sagemaker.core.lineage"
except ImportError:
    from sagemaker import Session

    ROOT = "sagemaker.lineage"
artifact, context, query, component, action, visualizer = (
    importlib.import_module(f"{ROOT}.{name}") for name in ("artifact", "context", "query", "lineage_trial_component", "action", "visualizer")
)
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
PROGRAM = "import pathlib, shutil; [shutil.copy(f, '/opt/ml/processing/output') for f in pathlib.Path('/opt/ml/processing/input').rglob('*.csv')]"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
MARK = f"lineage-{int(time.time())}"


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = Session()
client, bucket = session.sagemaker_client, session.default_bucket()
raw, data, out = (f"s3://{bucket}/{MARK}/{part}" for part in ("raw", "train", "models"))
boto3.client("s3").put_object(Bucket=bucket, Key=f"{MARK}/raw/train.csv", Body="".join(f"{i % 2},{i % 2 + i / 99}\n" for i in range(60)))
root = "/opt/ml/processing"
client.create_processing_job(
    ProcessingJobName=MARK,
    RoleArn=ROLE,
    AppSpecification={"ImageUri": SKLEARN, "ContainerEntrypoint": ["python3", "-c", PROGRAM]},
    ProcessingInputs=[{"InputName": "raw", "S3Input": {"S3Uri": raw, "LocalPath": f"{root}/input", "S3DataType": "S3Prefix", "S3InputMode": "File"}}],
    ProcessingOutputConfig={
        "Outputs": [{"OutputName": "train", "S3Output": {"S3Uri": data, "LocalPath": f"{root}/output", "S3UploadMode": "EndOfJob"}}]
    },
    ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
)
client.get_waiter("processing_job_completed_or_stopped").wait(ProcessingJobName=MARK)
client.create_training_job(
    TrainingJobName=MARK,
    RoleArn=ROLE,
    AlgorithmSpecification={"TrainingImage": XGBOOST, "TrainingInputMode": "File"},
    HyperParameters={"objective": "binary:logistic", "num_round": "2"},
    InputDataConfig=[{"ChannelName": "train", "ContentType": "text/csv", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}}],
    OutputDataConfig={"S3OutputPath": out},
    ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
    StoppingCondition={"MaxRuntimeInSeconds": 600},
)
client.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=MARK)
job = client.describe_training_job(TrainingJobName=MARK)
client.create_model_package_group(ModelPackageGroupName=MARK)
container = {"Image": XGBOOST, "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]}
package = client.create_model_package(
    ModelPackageGroupName=MARK,
    ModelApprovalStatus="Approved",
    InferenceSpecification={"Containers": [container], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]},
)["ModelPackageArn"]
client.create_model(ModelName=MARK, ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": package})
variant = {"VariantName": "AllTraffic", "ModelName": MARK, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
client.create_endpoint_config(EndpointConfigName=MARK, ProductionVariants=[variant])
client.create_endpoint(EndpointName=MARK, EndpointConfigName=MARK)
client.get_waiter("endpoint_in_service").wait(EndpointName=MARK)
endpoint_arn = client.describe_endpoint(EndpointName=MARK)["EndpointArn"]

(summary,) = context.Context.list(source_uri=endpoint_arn, sagemaker_session=session)
endpoint = context.EndpointContext.load(summary.context_name, sagemaker_session=session)
up = query.LineageQueryDirectionEnum.ASCENDANTS
tell(
    training=endpoint.training_job_arns() == [job["TrainingJobArn"]],
    datasets=[one.source.source_uri in (raw, data) for one in endpoint.dataset_artifacts()],
    components=[one.trial_component_name.removeprefix(MARK) for one in endpoint.trial_components()],
    actions=sorted({one.action_type for one in endpoint.actions(up)}),
    processing=[one.source["SourceType"] for one in endpoint.processing_jobs()],
    transforms=len(endpoint.transform_jobs()),
    pipeline=endpoint.pipeline_execution_arn(),
)
models = query.LineageFilter(entities=[query.LineageEntityEnum.ARTIFACT], sources=[query.LineageSourceEnum.MODEL])
answer = query.LineageQuery(session).query([endpoint.context_arn], up, include_edges=False, query_filter=models)
tell(models=sorted(vertex.to_lineage_object().source.source_uri for vertex in answer.vertices) == sorted([package, container["ModelDataUrl"]]))

(summary,) = artifact.Artifact.list(source_uri=package, sagemaker_session=session)
model = artifact.ModelArtifact.load(summary.artifact_arn, sagemaker_session=session)
tell(
    served=[one.source.source_uri == endpoint_arn for one in model.endpoint_contexts()],
    associated=[one.destination_type for one in model.endpoints()],
    trained=model.training_job_arns() == [job["TrainingJobArn"]],
    learned=[one.source.source_uri in (raw, data) for one in model.dataset_artifacts()],
)
(summary,) = artifact.Artifact.list(source_uri=data, sagemaker_session=session)
rows = artifact.DatasetArtifact.load(summary.artifact_arn, sagemaker_session=session)
tell(
    reached=[one.context_name == endpoint.context_name for one in rows.endpoint_contexts()],
    upstream=[one.source.source_uri == raw for one in rows.upstream_datasets()],
    trained_models=len(rows.trained_models()),  # it looks for contexts behind the job, and there are none on AWS either
    endpoint_models=len(endpoint.models()) + len(endpoint.models_v2()),  # they look below the endpoint, which is the end of all ways
)
trained = component.LineageTrialComponent.load(f"{MARK}-aws-training-job", sagemaker_session=session)
tell(
    of_component=[one.source.source_uri in (raw, data) for one in trained.dataset_artifacts()],
    from_component=len(trained.models()),
    unpiped=trained.pipeline_execution_arn(),
)
(summary,) = artifact.Artifact.list(source_uri=XGBOOST, sagemaker_session=session)
image = artifact.ImageArtifact.load(summary.artifact_arn, sagemaker_session=session)
tell(image_of=len(image.datasets(query.LineageQueryDirectionEnum.BOTH)) >= 1)
(summary,) = action.Action.list(source_uri=package, action_type="Approval", sagemaker_session=session)
approval = action.ModelPackageApprovalAction.load(summary.action_name, sagemaker_session=session)
tell(approval_reaches=[one.context_name == endpoint.context_name for one in approval.endpoints()])
table = visualizer.LineageTableVisualizer(session).show(training_job_name=MARK)
tell(table=sorted(zip(table["Direction"], table["Type"], table["Association Type"], strict=True)))
groups = client.list_lineage_groups()["LineageGroupSummaries"]
tell(group=[one["LineageGroupName"] for one in groups], in_group=client.describe_context(ContextName=endpoint.context_name)["LineageGroupArn"])
client.delete_endpoint(EndpointName=MARK)
