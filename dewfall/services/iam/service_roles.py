"""Service-linked roles: made and removed for an AWS service, and changed by nobody else."""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.errors import AwsError
from dewfall.services.iam.entities import create, find, missing
from dewfall.services.iam.roles import shown
from dewfall.services.registry import operation

# Service → the name that its role has after AWSServiceRoleFor, where it is not the service's own.
NAMES = {
    "autoscaling.amazonaws.com": "AutoScaling",
    "custom-resource.application-autoscaling.amazonaws.com": "ApplicationAutoScaling_CustomResource",
    "dynamodb.application-autoscaling.amazonaws.com": "ApplicationAutoScaling_DynamoDBTable",
    "ecs.amazonaws.com": "ECS",
    "ecs.application-autoscaling.amazonaws.com": "ApplicationAutoScaling_ECSService",
    "elasticbeanstalk.amazonaws.com": "ElasticBeanstalk",
    "elasticloadbalancing.amazonaws.com": "ElasticLoadBalancing",
    "elasticmapreduce.amazonaws.com": "EMRCleanup",
    "es.amazonaws.com": "AmazonElasticsearchService",
    "events.amazonaws.com": "CloudWatchEvents",
    "lambda.application-autoscaling.amazonaws.com": "ApplicationAutoScaling_LambdaConcurrency",
    "macie.amazonaws.com": "AmazonMacie",
    "opensearchservice.amazonaws.com": "AmazonOpenSearchService",
    "rds.amazonaws.com": "RDS",
    "sagemaker.application-autoscaling.amazonaws.com": "ApplicationAutoScaling_SageMakerEndpoint",
    "spot.amazonaws.com": "EC2Spot",
}
SUFFIXED = ("autoscaling.amazonaws.com", "lex.amazonaws.com", "lexv2.amazonaws.com", "connect.amazonaws.com", "kafkaconnect.amazonaws.com")


@operation("iam", "CreateServiceLinkedRole")
def create_service_linked_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    service, suffix = req["AWSServiceName"], req.get("CustomSuffix")
    label = service.partition(".")[0]
    if suffix and service not in SUFFIXED and service in NAMES:
        raise AwsError("InvalidInput", f"Custom suffix is not allowed for {service}", status=400)
    name = f"AWSServiceRoleFor{NAMES.get(service, label[:1].upper() + label[1:])}" + (f"_{suffix}" if suffix else "")
    statement = {"Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["sts:AssumeRole"]}
    more: dict[str, Any] = {
        "AssumeRolePolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        "MaxSessionDuration": 3600,
    }
    more |= {"Description": req["Description"]} if req.get("Description") else {}
    with ctx.ports.store.transaction() as tx:
        try:
            role = create(tx, ctx, "role", {"RoleName": name, "Path": f"/aws-service-role/{service}/"}, more)
        except AwsError:
            message = f"Service role name {name} has been taken in this account, please try a different suffix."
            raise AwsError("InvalidInput", message, status=400) from None
    return {"Role": shown(role)}


@operation("iam", "DeleteServiceLinkedRole")
def delete_service_linked_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "role", req["RoleName"])
        if not record.document["Path"].startswith("/aws-service-role/"):
            raise missing("role", req["RoleName"])
        tx.records.delete(record.key)
    return {"DeletionTaskId": f"task{record.document['Path']}{req['RoleName']}/{new_uuid()}"}


@operation("iam", "GetServiceLinkedRoleDeletionStatus")
def get_service_linked_role_deletion_status(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Deletion is done when its call returns."""
    if not req["DeletionTaskId"].startswith("task/aws-service-role/"):
        raise AwsError("NoSuchEntity", f"Deletion task {req['DeletionTaskId']} cannot be found.", status=404)
    return {"Status": "SUCCEEDED"}
