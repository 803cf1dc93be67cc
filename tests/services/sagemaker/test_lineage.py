"""Lineage: entities, associations, the query both ways; what jobs and endpoints leave by themselves."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.ml.plots import graphs, render
from dewfall.services.sagemaker import associations
from dewfall.testing import Server
from tests.services.sagemaker.conftest import DATA, IMAGE, ROLE, Hosting


def test_examples() -> None:
    assert doctest.testmod(associations).failed == 0
    assert doctest.testmod(graphs).failed == 0


def artifact(sagemaker: Any, uri: str, kind: str = "DataSet", **members: Any) -> str:
    arn: str = sagemaker.create_artifact(Source={"SourceUri": uri}, ArtifactType=kind, **members)["ArtifactArn"]
    return arn


def chain(sagemaker: Any) -> tuple[str, str, str]:
    """data → model → endpoint."""
    data, model = artifact(sagemaker, "s3://bkt/data"), artifact(sagemaker, "s3://bkt/model", "Model", Properties={"stage": "live"})
    context = sagemaker.create_context(ContextName="shop", Source={"SourceUri": "arn:shop"}, ContextType="Endpoint")["ContextArn"]
    sagemaker.add_association(SourceArn=data, DestinationArn=model, AssociationType="ContributedTo")
    sagemaker.add_association(SourceArn=model, DestinationArn=context, AssociationType="ContributedTo")
    return data, model, context


def test_an_artifacts_life(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    arn = artifact(sagemaker, "s3://bkt/data", ArtifactName="rows", Properties={"a": "1"})
    sagemaker.update_artifact(ArtifactArn=arn, Properties={"b": "2"}, PropertiesToRemove=["a"])
    found = sagemaker.describe_artifact(ArtifactArn=arn)
    assert (found["ArtifactName"], found["Properties"], found["ArtifactType"]) == ("rows", {"b": "2"}, "DataSet")
    assert sagemaker.list_artifacts(SourceUri="s3://bkt/data")["ArtifactSummaries"][0]["ArtifactArn"] == arn
    sagemaker.delete_artifact(Source={"SourceUri": "s3://bkt/data"})
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_artifact(ArtifactArn=arn)


def test_one_artifact_per_source(dewfall: Server) -> None:
    artifact(dewfall.client("sagemaker"), "s3://bkt/data")
    with pytest.raises(ClientError, match="already exists"):
        artifact(dewfall.client("sagemaker"), "s3://bkt/data")


def test_an_action_has_a_status(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    sagemaker.create_action(ActionName="deploy", Source={"SourceUri": "arn:x"}, ActionType="ModelDeployment")
    sagemaker.update_action(ActionName="deploy", Status="Completed", Description="done")
    found = sagemaker.describe_action(ActionName="deploy")
    assert (found["Status"], found["Description"]) == ("Completed", "done")
    sagemaker.delete_action(ActionName="deploy")
    assert sagemaker.list_actions()["ActionSummaries"] == []


def test_associations_are_listed_with_what_they_join(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, model, context = chain(sagemaker)
    (found,) = sagemaker.list_associations(SourceArn=model)["AssociationSummaries"]
    assert (found["SourceType"], found["DestinationType"], found["DestinationName"]) == ("Model", "Endpoint", "shop")
    assert [one["SourceArn"] for one in sagemaker.list_associations(DestinationType="Model")["AssociationSummaries"]] == [data]
    with pytest.raises(ClientError, match="has associations"):
        sagemaker.delete_context(ContextName="shop")
    sagemaker.delete_association(SourceArn=model, DestinationArn=context)
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.delete_association(SourceArn=model, DestinationArn=context)


def test_what_cannot_be_associated(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, parts = artifact(sagemaker, "s3://bkt/data"), [sagemaker.create_trial_component(TrialComponentName=name) for name in "ab"]
    ends = [one["TrialComponentArn"] for one in parts]
    for pair, said in (((data, data), "must not be the same"), (ends, "cannot be created between two experiment entities")):
        with pytest.raises(ClientError, match=f"ValidationException.*{said}"):
            sagemaker.add_association(SourceArn=pair[0], DestinationArn=pair[1])
    sagemaker.add_association(SourceArn=data, DestinationArn=ends[0])
    assert len(sagemaker.list_associations()["AssociationSummaries"]) == 1


@pytest.mark.parametrize(
    ("start", "direction", "depth", "found"),
    [(1, "Both", 10, [0, 2]), (0, "Descendants", 1, [1]), (0, "Descendants", 10, [1, 2]), (2, "Ascendants", 10, [1, 0]), (0, "Ascendants", 10, [])],
)
def test_a_query_walks_both_ways(dewfall: Server, start: int, direction: str, depth: int, found: list[int]) -> None:
    sagemaker = dewfall.client("sagemaker")
    arns = chain(sagemaker)
    answer = sagemaker.query_lineage(StartArns=[arns[start]], Direction=direction, MaxDepth=depth, IncludeEdges=True)
    assert [arns.index(vertex["Arn"]) for vertex in answer["Vertices"]] == found
    assert len(answer["Edges"]) == len(found)


@pytest.mark.parametrize(
    ("filters", "types"),
    [({"Types": ["Model"]}, ["Model"]), ({"LineageTypes": ["Context"]}, ["Endpoint"]), ({"Properties": {"stage": "live"}}, ["Model"])],
)
def test_a_query_filters(dewfall: Server, filters: Any, types: list[str]) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, _, _ = chain(sagemaker)
    found = sagemaker.query_lineage(StartArns=[data], Direction="Descendants", Filters=filters)["Vertices"]
    assert [vertex["Type"] for vertex in found] == types


def test_a_query_has_pages(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, model, _ = chain(sagemaker)
    first = sagemaker.query_lineage(StartArns=[data], MaxResults=1)
    assert [vertex["Arn"] for vertex in first["Vertices"]] == [model]
    second = sagemaker.query_lineage(StartArns=[data], MaxResults=1, NextToken=first["NextToken"])
    assert [vertex["Type"] for vertex in second["Vertices"]] == ["Endpoint"]


def test_an_endpoint_is_tracked_to_its_models_data(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.endpoint()
    sagemaker = hosting.sagemaker
    (context,) = sagemaker.list_contexts(ContextType="Endpoint")["ContextSummaries"]
    found = sagemaker.query_lineage(StartArns=[context["ContextArn"]], Direction="Ascendants")["Vertices"]
    assert [found[0]["Type"], *sorted(vertex["Type"] for vertex in found[1:])] == ["ModelDeployment", "Image", "Model"]
    sources = {vertex["Type"]: sagemaker.describe_artifact(ArtifactArn=vertex["Arn"])["Source"]["SourceUri"] for vertex in found[1:]}
    assert sources == {"Model": DATA, "Image": IMAGE}


def test_a_lineage_is_drawn() -> None:
    vertices = [{"Arn": f"arn:aws:sagemaker:r:a:artifact/{i}", "Type": "DataSet", "LineageType": "Artifact"} for i in range(3)]
    edges = [{"SourceArn": vertices[i]["Arn"], "DestinationArn": vertices[i + 1]["Arn"], "AssociationType": "ContributedTo"} for i in range(2)]
    spec = graphs.lineage(vertices, edges)
    assert [dot["x"] for dot in spec["layer"][1]["data"]["values"]] == [0, 1, 2]
    assert "DataSet" in render.themed_svg(spec)


def test_edges_bring_what_lies_on_the_way(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, model, context = chain(sagemaker)
    other = artifact(sagemaker, "s3://bkt/other")
    sagemaker.add_association(SourceArn=data, DestinationArn=other)
    asked: dict[str, Any] = {"StartArns": [data], "Direction": "Descendants", "Filters": {"LineageTypes": ["Context"]}}
    found = sagemaker.query_lineage(IncludeEdges=True, **asked)
    assert [vertex["Arn"] for vertex in found["Vertices"]] == [model, context]
    assert {(edge["SourceArn"], edge["DestinationArn"]) for edge in found["Edges"]} == {(data, model), (model, context)}
    assert [vertex["Arn"] for vertex in sagemaker.query_lineage(IncludeEdges=False, **asked)["Vertices"]] == [context]


@pytest.mark.parametrize("wanted", ["Endpoint", "Context"])
def test_associations_by_the_kind_of_their_end(dewfall: Server, wanted: str) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, model, context = chain(sagemaker)
    found = sagemaker.list_associations(DestinationType=wanted)["AssociationSummaries"]
    assert [(one["SourceArn"], one["DestinationArn"]) for one in found] == [(model, context)]
    assert sagemaker.query_lineage(StartArns=[data], IncludeEdges=False)["Edges"] == []


def test_both_goes_either_way_from_every_entity(dewfall: Server) -> None:
    """Two models of one image: from the one model the other's endpoint is found."""
    sagemaker = dewfall.client("sagemaker")
    _, model, context = chain(sagemaker)
    image, other = artifact(sagemaker, "image:1", "Image"), artifact(sagemaker, "s3://bkt/other", "Model")
    for end in (model, other):
        sagemaker.add_association(SourceArn=image, DestinationArn=end)
    found = sagemaker.query_lineage(StartArns=[other], Direction="Both", Filters={"Types": ["Endpoint"]}, IncludeEdges=False)["Vertices"]
    assert [vertex["Arn"] for vertex in found] == [context]
    way = sagemaker.query_lineage(StartArns=[other], Direction="Both", Filters={"Types": ["Endpoint"]}, IncludeEdges=True)
    assert [vertex["Arn"] for vertex in way["Vertices"]] == [image, model, context]
    assert sagemaker.query_lineage(StartArns=[other], Direction="Descendants", IncludeEdges=False)["Vertices"] == []


def test_one_property_of_several_is_enough(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    data, model, _ = chain(sagemaker)
    found = sagemaker.query_lineage(StartArns=[data], Filters={"Properties": {"stage": "live", "team": "x"}}, IncludeEdges=False)["Vertices"]
    assert [vertex["Arn"] for vertex in found] == [model]


def test_a_package_is_tracked_from_its_data_to_the_endpoint(hosting: Hosting) -> None:
    sagemaker = hosting.sagemaker
    sagemaker.create_model_package_group(ModelPackageGroupName="shop")
    specification = {
        "Containers": [{"Image": IMAGE, "ModelDataUrl": DATA}],
        "SupportedContentTypes": ["text/csv"],
        "SupportedResponseMIMETypes": ["text/csv"],
    }
    arn = sagemaker.create_model_package(ModelPackageGroupName="shop", InferenceSpecification=specification)["ModelPackageArn"]
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Containers=[{"ModelPackageName": arn}])
    hosting.config()
    hosting.endpoint()
    (package,) = sagemaker.list_artifacts(SourceUri=arn)["ArtifactSummaries"]
    before = sagemaker.list_associations(DestinationArn=package["ArtifactArn"])["AssociationSummaries"]
    assert sorted((one["SourceType"], one["AssociationType"]) for one in before) == [
        ("Approval", "ContributedTo"), ("Approval", "ContributedTo"), ("Image", "ContributedTo"), ("Model", "ContributedTo"),
    ]  # fmt: skip
    after = sagemaker.list_associations(SourceArn=package["ArtifactArn"])["AssociationSummaries"]
    assert sorted((one["DestinationType"], one["AssociationType"]) for one in after) == [
        ("ModelDeployment", "ContributedTo"),
        ("ModelGroup", "AssociatedWith"),
    ]
    (context,) = sagemaker.list_contexts(ContextType="Endpoint")["ContextSummaries"]
    models = sagemaker.query_lineage(StartArns=[context["ContextArn"]], Direction="Ascendants", Filters={"Types": ["Model"]}, IncludeEdges=False)
    sources = {sagemaker.describe_artifact(ArtifactArn=vertex["Arn"])["Source"]["SourceUri"] for vertex in models["Vertices"]}
    assert sources == {arn, DATA}


def test_the_default_group_comes_with_the_first_entity(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    assert sagemaker.list_lineage_groups()["LineageGroupSummaries"] == []
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_lineage_group(LineageGroupName="sagemaker-default-lineage-group")
    arn = artifact(sagemaker, "s3://bkt/data")
    (found,) = sagemaker.list_lineage_groups()["LineageGroupSummaries"]
    assert found["LineageGroupArn"] == sagemaker.describe_artifact(ArtifactArn=arn)["LineageGroupArn"]
    described = sagemaker.describe_lineage_group(LineageGroupName=found["LineageGroupName"])
    assert described["CreationTime"] == sagemaker.describe_artifact(ArtifactArn=arn)["CreationTime"]
    assert sagemaker.list_lineage_groups(CreatedBefore="2001-01-01")["LineageGroupSummaries"] == []
    for name in (found["LineageGroupArn"], "other"):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            sagemaker.get_lineage_group_policy(LineageGroupName=name)
