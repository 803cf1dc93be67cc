"""Experiments, trials, trial components, tags and Search with a real client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def sagemaker(dewfall: Server) -> Any:
    client = dewfall.client("sagemaker")
    client.create_experiment(ExperimentName="Tides", Description="of the bay")
    client.create_trial(TrialName="Spring", ExperimentName="Tides")
    client.create_trial_component(TrialComponentName="Fit", Parameters={"eta": {"NumberValue": 0.1}})
    return client


def test_names_are_kept_and_arns_lower_cased(sagemaker: Any) -> None:
    described = sagemaker.describe_experiment(ExperimentName="Tides")
    assert described["ExperimentName"] == "Tides"
    assert described["ExperimentArn"].endswith(":experiment/tides")


def test_a_component_tells_the_collections_it_has_nothing_in(sagemaker: Any) -> None:
    described = sagemaker.describe_trial_component(TrialComponentName="Fit")
    assert [described[member] for member in ("InputArtifacts", "OutputArtifacts", "Metrics", "Sources")] == [{}, {}, [], []]


def test_a_name_is_used_once(sagemaker: Any) -> None:
    with pytest.raises(ClientError, match="already exists") as refusal:
        sagemaker.create_trial_component(TrialComponentName="Fit")
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_names_are_not_case_sensitive(sagemaker: Any) -> None:
    taken: list[tuple[Any, dict[str, str]]] = [
        (sagemaker.create_experiment, {"ExperimentName": "TIDES"}),
        (sagemaker.create_trial, {"TrialName": "spring", "ExperimentName": "Tides"}),
        (sagemaker.create_trial_component, {"TrialComponentName": "fit"}),
    ]
    for create, names in taken:
        with pytest.raises(ClientError, match="already exists"):
            create(**names)
    sagemaker.update_experiment(ExperimentName="tides", Description="of the sea")
    described = sagemaker.describe_experiment(ExperimentName="TIDES")
    assert (described["ExperimentName"], described["Description"]) == ("Tides", "of the sea")
    sagemaker.create_trial(TrialName="Neap", ExperimentName="tides")
    assert {trial["TrialName"] for trial in sagemaker.list_trials(ExperimentName="tIdes")["TrialSummaries"]} == {"Spring", "Neap"}
    assert sagemaker.describe_trial(TrialName="neap")["ExperimentName"] == "Tides"
    sagemaker.associate_trial_component(TrialComponentName="fit", TrialName="SPRING")
    for asked in ({"TrialName": "spring"}, {"ExperimentName": "tides"}):
        (component,) = sagemaker.list_trial_components(**asked)["TrialComponentSummaries"]
        assert component["TrialComponentName"] == "Fit"
    assert sagemaker.describe_trial_component(TrialComponentName="FIT")["DisplayName"] == "Fit"
    with pytest.raises(ClientError, match="associated"):
        sagemaker.delete_trial(TrialName="spring")
    sagemaker.disassociate_trial_component(TrialComponentName="FIT", TrialName="spring")
    sagemaker.delete_trial(TrialName="spring")
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.describe_trial(TrialName="Spring")


def test_a_missing_trial_is_resource_not_found(sagemaker: Any) -> None:
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.describe_trial(TrialName="Neap")


def test_an_association_is_seen_from_both_sides(sagemaker: Any) -> None:
    sagemaker.associate_trial_component(TrialComponentName="Fit", TrialName="Spring")
    (component,) = sagemaker.list_trial_components(TrialName="Spring")["TrialComponentSummaries"]
    (trial,) = sagemaker.list_trials(TrialComponentName="Fit")["TrialSummaries"]
    assert (component["TrialComponentName"], trial["TrialName"]) == ("Fit", "Spring")


def test_what_is_associated_cannot_be_deleted(sagemaker: Any) -> None:
    sagemaker.associate_trial_component(TrialComponentName="Fit", TrialName="Spring")
    with pytest.raises(ClientError, match="associated"):
        sagemaker.delete_trial_component(TrialComponentName="Fit")
    sagemaker.disassociate_trial_component(TrialComponentName="Fit", TrialName="Spring")
    sagemaker.delete_trial_component(TrialComponentName="Fit")
    sagemaker.delete_trial(TrialName="Spring")
    sagemaker.delete_experiment(ExperimentName="Tides")


def test_only_a_trial_that_is_there_gets_components(sagemaker: Any) -> None:
    arn = "arn:aws:sagemaker:us-east-1:000000000000:experiment-trial/none"
    for call in (sagemaker.associate_trial_component, sagemaker.disassociate_trial_component):
        with pytest.raises(ClientError, match=rf"ResourceNotFound.*Trial '{arn}' does not exist."):
            call(TrialComponentName="none", TrialName="None")
        with pytest.raises(ClientError, match=r"ResourceNotFound.*Trial Component 'none' does not exist."):
            call(TrialComponentName="none", TrialName="Spring")


def test_parameters_are_merged_and_removed(sagemaker: Any) -> None:
    sagemaker.update_trial_component(TrialComponentName="Fit", Parameters={"n": {"StringValue": "ten"}}, ParametersToRemove=["eta"])
    assert sagemaker.describe_trial_component(TrialComponentName="Fit")["Parameters"] == {"n": {"StringValue": "ten"}}


def test_search_goes_by_parent_trial(sagemaker: Any) -> None:
    sagemaker.associate_trial_component(TrialComponentName="Fit", TrialName="Spring")
    filters = [
        {"Name": name, "Operator": "Equals", "Value": value} for name, value in (("TrialComponentName", "Fit"), ("Parents.TrialName", "Spring"))
    ]
    found = sagemaker.search(Resource="ExperimentTrialComponent", SearchExpression={"Filters": filters})
    assert [result["TrialComponent"]["TrialComponentName"] for result in found["Results"]] == ["Fit"]


@pytest.mark.parametrize("name", ["Tags.team", "metrics.loss.max", "Parents.ExperimentName", "displayName"])
def test_search_knows_a_property_that_nothing_has(sagemaker: Any, name: str) -> None:
    filters = [{"Name": name, "Operator": "Equals", "Value": "none"}]
    assert sagemaker.search(Resource="ExperimentTrialComponent", SearchExpression={"SubExpressions": [{"Filters": filters}]})["Results"] == []


def test_search_refuses_a_property_that_there_is_not(sagemaker: Any) -> None:
    filters = [{"Name": "ExperimentName", "Operator": "Equals", "Value": "Tides"}]
    for expression in ({"Filters": filters}, {"SubExpressions": [{"Filters": filters}]}):
        with pytest.raises(ClientError, match=r"ValidationException.*Unknown property name: ExperimentName$"):
            sagemaker.search(Resource="ExperimentTrialComponent", SearchExpression=expression)
    assert len(sagemaker.search(Resource="Experiment", SearchExpression={"Filters": filters})["Results"]) == 1


def test_search_shows_a_trial_with_its_components(sagemaker: Any) -> None:
    sagemaker.associate_trial_component(TrialComponentName="Fit", TrialName="Spring")
    (result,) = sagemaker.search(Resource="ExperimentTrial")["Results"]
    assert [component["TrialComponentName"] for component in result["Trial"]["TrialComponentSummaries"]] == ["Fit"]


def test_properties_are_suggested_by_their_beginning(sagemaker: Any) -> None:
    sagemaker.add_tags(ResourceArn=sagemaker.describe_experiment(ExperimentName="Tides")["ExperimentArn"], Tags=[{"Key": "team", "Value": "a"}])
    query = {"PropertyNameQuery": {"PropertyNameHint": "T"}}
    found = sagemaker.get_search_suggestions(Resource="Experiment", SuggestionQuery=query)["PropertyNameSuggestions"]
    assert found == [{"PropertyName": "Tags.team"}]


def test_search_pages(sagemaker: Any) -> None:
    for number in range(5):
        sagemaker.create_experiment(ExperimentName=f"e{number}")
    pages = sagemaker.get_paginator("search").paginate(Resource="Experiment", PaginationConfig={"PageSize": 2})
    names = [result["Experiment"]["ExperimentName"] for page in pages for result in page["Results"]]
    assert sorted(names) == ["Tides", "e0", "e1", "e2", "e3", "e4"]


@pytest.mark.parametrize("path", ["model/none", "experiment/Tides", "experiment/none"])
def test_only_what_is_there_has_tags(sagemaker: Any, path: str) -> None:
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:{path}"
    with pytest.raises(ClientError, match="Resource does not exist") as refusal:
        sagemaker.list_tags(ResourceArn=arn)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_tags_are_added_replaced_and_removed(sagemaker: Any) -> None:
    arn = sagemaker.describe_trial(TrialName="Spring")["TrialArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "3"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["b"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "3"}]


def test_logged_metrics_are_summed_up_and_read_back(dewfall: Server, sagemaker: Any) -> None:
    metrics = dewfall.client("sagemaker-metrics")
    data = [{"MetricName": "loss", "Timestamp": AT, "Step": step, "Value": value} for step, value in enumerate((3.0, 2.0, 1.0))]
    assert metrics.batch_put_metrics(TrialComponentName="fit", MetricData=data)["Errors"] == []
    described = sagemaker.describe_trial_component(TrialComponentName="Fit")
    (summary,) = described["Metrics"]
    assert (summary["Min"], summary["Max"], summary["Last"], summary["Count"]) == (1.0, 3.0, 1.0, 3)
    query = {"MetricName": "loss", "ResourceArn": described["TrialComponentArn"], "MetricStat": "Last"}
    series = metrics.batch_get_metrics(MetricQueries=[{**query, "Period": "IterationNumber", "XAxisType": "IterationNumber"}])
    assert series["MetricQueryResults"][0]["MetricValues"] == [3.0, 2.0, 1.0]


def test_values_that_are_no_numbers_are_refused_one_by_one(dewfall: Server, sagemaker: Any) -> None:
    data = [{"MetricName": "loss", "Timestamp": AT, "Value": value} for value in (float("nan"), 2.0, float("inf"), 1e200)]
    errors = dewfall.client("sagemaker-metrics").batch_put_metrics(TrialComponentName="fit", MetricData=data)["Errors"]
    assert [error["MetricIndex"] for error in errors] == [0, 2, 3]
    (summary,) = sagemaker.describe_trial_component(TrialComponentName="Fit")["Metrics"]
    assert (summary["Count"], summary["Max"], summary["StdDev"]) == (1, 2.0, 0.0)


def test_a_new_component_is_empty_in_every_member(sagemaker: Any) -> None:
    sagemaker.create_trial_component(TrialComponentName="New")
    described = sagemaker.describe_trial_component(TrialComponentName="New")
    assert [described[member] for member in ("Parameters", "InputArtifacts", "OutputArtifacts", "Metrics")] == [{}, {}, {}, []]
    assert (described["CreatedBy"], described["DisplayName"]) == ({}, "New")


def test_points_of_a_missing_component_are_refused_one_by_one(dewfall: Server) -> None:
    data = [{"MetricName": "loss", "Timestamp": AT, "Value": 1.0}] * 2
    answer = dewfall.client("sagemaker-metrics").batch_put_metrics(TrialComponentName="none", MetricData=data)
    assert answer["Errors"] == [{"Code": "VALIDATION_ERROR", "MetricIndex": 0}, {"Code": "VALIDATION_ERROR", "MetricIndex": 1}]
