"""SageMaker SDK v2's lineage and model card classes as a user writes them. Prints a JSON line per finding."""

from __future__ import annotations

import json

import boto3
import sagemaker
from sagemaker.lineage.action import Action
from sagemaker.lineage.artifact import Artifact, DatasetArtifact, ModelArtifact
from sagemaker.lineage.association import Association
from sagemaker.lineage.context import Context, EndpointContext
from sagemaker.lineage.query import LineageEntityEnum, LineageFilter, LineageQuery, LineageQueryDirectionEnum, LineageSourceEnum
from sagemaker.model_card import IntendedUses, ModelCard, ModelCardStatusEnum, ModelOverview, RiskRatingEnum


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


session = sagemaker.Session()
client, bucket = session.sagemaker_client, session.default_bucket()

client.create_trial_component(TrialComponentName="train-aws-training-job")
component = client.describe_trial_component(TrialComponentName="train-aws-training-job")["TrialComponentArn"]
data = Artifact.create(
    artifact_name="rows", source_uri=f"s3://{bucket}/rows", artifact_type="DataSet", properties={"k": "v"}, sagemaker_session=session
)
model = Artifact.create(artifact_name="model", source_uri=f"s3://{bucket}/model.tar.gz", artifact_type="Model", sagemaker_session=session)
deployment = Action.create(
    action_name="deploy", source_uri="arn:endpoint", action_type="ModelDeployment", status="Completed", sagemaker_session=session
)
shop = Context.create(context_name="shop", source_uri="arn:endpoint", context_type="Endpoint", sagemaker_session=session)
ends = [data.artifact_arn, component, model.artifact_arn, deployment.action_arn, shop.context_arn]
kinds = ["ContributedTo", "Produced", "ContributedTo", "AssociatedWith"]
for source, destination, kind in zip(ends, ends[1:], kinds, strict=False):
    Association.create(source_arn=source, destination_arn=destination, association_type=kind, sagemaker_session=session)

query = LineageQuery(session)
up = LineageFilter(entities=[LineageEntityEnum.ARTIFACT], sources=[LineageSourceEnum.DATASET], properties={"k": "v"})
answer = query.query([shop.context_arn], LineageQueryDirectionEnum.ASCENDANTS, include_edges=False, query_filter=up)
tell(datasets=[vertex.to_lineage_object().artifact_name for vertex in answer.vertices], edges=len(answer.edges))
answer = query.query([data.artifact_arn], LineageQueryDirectionEnum.DESCENDANTS, include_edges=True)
tell(
    all=[vertex.lineage_source for vertex in answer.vertices],
    all_edges=len(answer.edges),
    near=len(query.query([shop.context_arn], max_depth=1).vertices),
)
endpoint = EndpointContext.load("shop", sagemaker_session=session)
tell(endpoint_data=[one.artifact_arn == data.artifact_arn for one in endpoint.dataset_artifacts()])
tell(served_by=[one.context_name for one in ModelArtifact.load(model.artifact_arn, session).endpoint_contexts()])
tell(
    listed=len(list(Artifact.list(source_uri=f"s3://{bucket}/rows", sagemaker_session=session))),
    actions=len(list(Action.list(source_uri="arn:endpoint", sagemaker_session=session))),
)
data.properties["more"] = "1"
tell(saved=Artifact.load(data.save().artifact_arn, session).properties)
model.delete(disassociate=True)
tell(left=sum(1 for _ in Association.list(source_arn=data.artifact_arn, sagemaker_session=session)))

# The chain that models() and trained_models() walk, which only users write: endpoint -> deployment -> model, and a job -> context.
model = Artifact.create(artifact_name="served", source_uri=f"s3://{bucket}/served.tar.gz", artifact_type="Model", sagemaker_session=session)
made = Action.create(action_name="made", source_uri="bazz", action_type="ModelDeployment", status="InProgress", sagemaker_session=session)
mine = EndpointContext.create(context_name="mine", source_uri="mine", source_type="t", context_type="t", sagemaker_session=session)
learned = DatasetArtifact.create(artifact_name="learned", source_uri=f"s3://{bucket}/learned", artifact_type="Context", sagemaker_session=session)
trained = Artifact.create(artifact_name="trained", source_uri=f"s3://{bucket}/trained", artifact_type="Context", sagemaker_session=session)
client.create_trial_component(TrialComponentName="hand-aws-transform-job")
transform = client.describe_trial_component(TrialComponentName="hand-aws-transform-job")["TrialComponentArn"]
ends = [(mine.context_arn, made.action_arn), (made.action_arn, model.artifact_arn), (learned.artifact_arn, component)]
for source, destination in [*ends, (component, trained.artifact_arn), (transform, mine.context_arn)]:
    Association.create(source_arn=source, destination_arn=destination, sagemaker_session=session)
tell(
    models=[(one.source_type, one.destination_arn) == ("ModelDeployment", model.artifact_arn) for one in mine.models()],
    models_v2=[one.artifact_arn == model.artifact_arn for one in mine.models_v2()],
    trained_models=[(one.destination_arn, one.destination_type) == (trained.artifact_arn, "Context") for one in learned.trained_models()],
    transforms=[one.trial_component_name for one in mine.trial_components()],
)
other = ModelArtifact.create(artifact_name="other", source_uri=f"s3://{bucket}/other", artifact_type="m", sagemaker_session=session)
step = Action.create(action_name="step", source_uri="bazz", action_type="Action", status="InProgress", sagemaker_session=session)
end = Context.create(context_name="end", source_uri="bar", source_type="Context", context_type="end-type", sagemaker_session=session)
for source, destination in ((other.artifact_arn, step.action_arn), (step.action_arn, end.context_arn)):
    Association.create(source_arn=source, destination_arn=destination, sagemaker_session=session)
tell(model_endpoints=[one.destination_arn == end.context_arn for one in other.endpoints()])

uses = IntendedUses(purpose_of_model="shop", risk_rating=RiskRatingEnum.LOW)
card = ModelCard(
    name="card",
    status=ModelCardStatusEnum.DRAFT,
    model_overview=ModelOverview(model_description="größer"),
    intended_uses=uses,
    sagemaker_session=session,
)
card.create()
card.update(status=ModelCardStatusEnum.PENDING_REVIEW, model_overview=ModelOverview(model_description="small"))
loaded = ModelCard.load("card", sagemaker_session=session)
tell(card=[loaded.version, loaded.status, loaded.model_overview.model_description, len(loaded.get_version_history())])
uri = loaded.export_pdf(f"s3://{bucket}/cards")
bucket_name, key = uri.removeprefix("s3://").split("/", 1)
tell(pdf=boto3.client("s3").get_object(Bucket=bucket_name, Key=key)["Body"].read(5).decode())
tell(exports=[job["Status"] for job in loaded.list_export_jobs()["ModelCardExportJobSummaries"]])
loaded.delete()
