"""Metrics: what is put in comes out, added up; what AWS refuses is refused; in all three protocols."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = NOW.replace(second=0) - timedelta(minutes=30)
AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=test/20250101/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=0"
DIMENSIONS = [{"Name": "host", "Value": "a"}]


@pytest.fixture
def cloudwatch(dewfall: Server) -> Any:
    return dewfall.client("cloudwatch")


def put(cloudwatch: Any, *values: float, name: str = "m", at: datetime = MINUTE, **more: Any) -> None:
    data = [{"MetricName": name, "Value": value, "Timestamp": at, "Dimensions": DIMENSIONS, **more} for value in values]
    cloudwatch.put_metric_data(Namespace="app", MetricData=data)


def statistics(cloudwatch: Any, *names: str, **more: Any) -> list[dict[str, Any]]:
    wanted = {"Namespace": "app", "MetricName": "m", "Dimensions": DIMENSIONS, "Period": 60, "StartTime": MINUTE, "EndTime": NOW}
    found = cloudwatch.get_metric_statistics(**(wanted | ({"Statistics": list(names)} if names else {}) | more))["Datapoints"]
    return sorted(found, key=lambda point: point["Timestamp"])


def query(key: str, stat: str = "Sum", name: str = "m", **more: Any) -> dict[str, Any]:
    metric = {"Namespace": "app", "MetricName": name, "Dimensions": DIMENSIONS}
    return {"Id": key, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}, **more}


def test_statistics_of_a_minute(cloudwatch: Any) -> None:
    put(cloudwatch, 1.0, 2.0, 6.0, Unit="Seconds")
    (point,) = statistics(cloudwatch, "Average", "Sum", "Minimum", "Maximum", "SampleCount")
    assert (point["Average"], point["Sum"], point["Minimum"], point["Maximum"], point["SampleCount"]) == (3.0, 9.0, 1.0, 6.0, 3.0)
    assert (point["Timestamp"], point["Unit"]) == (MINUTE, "Seconds")


def test_statistic_sets_and_counted_values(cloudwatch: Any) -> None:
    sets = {"SampleCount": 2, "Sum": 10, "Minimum": 4, "Maximum": 6}
    base = {"MetricName": "m", "Timestamp": MINUTE, "Dimensions": DIMENSIONS}
    cloudwatch.put_metric_data(Namespace="app", MetricData=[base | {"StatisticValues": sets}, base | {"Values": [1, 9], "Counts": [3, 1]}])
    (point,) = statistics(cloudwatch, "SampleCount", "Sum", "Minimum", "Maximum")
    assert (point["SampleCount"], point["Sum"], point["Minimum"], point["Maximum"]) == (6.0, 22.0, 1.0, 9.0)


def test_percentiles(cloudwatch: Any) -> None:
    put(cloudwatch, *range(1, 101))
    (point,) = statistics(cloudwatch, ExtendedStatistics=["p50", "p99"])
    assert point["ExtendedStatistics"] == {"p50": 50.0, "p99": 99.0}


def test_other_dimensions_are_another_metric(cloudwatch: Any) -> None:
    put(cloudwatch, 1.0)
    assert statistics(cloudwatch, "Sum", Dimensions=[]) == []


def test_points_of_different_units_stay_apart(cloudwatch: Any) -> None:
    put(cloudwatch, 1.0, Unit="Seconds")
    put(cloudwatch, 2.0, Unit="Count")
    assert {point["Unit"]: point["Sum"] for point in statistics(cloudwatch, "Sum")} == {"Seconds": 1.0, "Count": 2.0}
    assert [point["Sum"] for point in statistics(cloudwatch, "Sum", Unit="Count")] == [2.0]


def test_high_resolution(cloudwatch: Any) -> None:
    for second in (0, 1, 5):
        put(cloudwatch, float(second), at=MINUTE + timedelta(seconds=second), StorageResolution=1)
    points = statistics(cloudwatch, "Sum", Period=1, EndTime=MINUTE + timedelta(minutes=1))
    assert [(point["Timestamp"] - MINUTE).seconds for point in points] == [0, 1, 5]


def test_metric_data_with_mathematics(cloudwatch: Any) -> None:
    for n in range(3):
        put(cloudwatch, 10.0 * (n + 1), at=MINUTE + timedelta(minutes=n))
        put(cloudwatch, 2.0, name="errors", at=MINUTE + timedelta(minutes=n))
    queries = [
        query("m1", ReturnData=False),
        query("e1", name="errors", Label="Errors"),
        {"Id": "rate", "Expression": "100 * e1 / m1", "Label": "Rate"},
        {"Id": "top", "Expression": "MAX([rate, e1])"},
    ]
    found = cloudwatch.get_metric_data(MetricDataQueries=queries, StartTime=MINUTE, EndTime=NOW, ScanBy="TimestampAscending")
    results = {result["Id"]: result for result in found["MetricDataResults"]}
    assert [(result["Id"], result["Label"], result["StatusCode"]) for result in found["MetricDataResults"]] == [
        ("e1", "Errors", "Complete"),
        ("rate", "Rate", "Complete"),
        ("top", "top", "Complete"),
    ]
    assert results["rate"]["Values"] == pytest.approx([20.0, 10.0, 20 / 3])
    assert results["e1"]["Timestamps"] == [MINUTE + timedelta(minutes=n) for n in range(3)]


def test_metric_data_comes_newest_first_and_in_pages(cloudwatch: Any) -> None:
    for n in range(5):
        put(cloudwatch, float(n), at=MINUTE + timedelta(minutes=n))
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[query("a"), query("b")], StartTime=MINUTE, EndTime=NOW, MaxDatapoints=4
    )
    found = [[(result["Id"], result["Values"]) for result in page["MetricDataResults"]] for page in pages]
    assert found == [
        [("a", [4.0, 3.0, 2.0, 1.0])],
        [("a", [0.0]), ("b", [4.0, 3.0, 2.0])],
        [("b", [1.0, 0.0])],
    ]


def test_no_data_is_an_empty_answer(cloudwatch: Any) -> None:
    (result,) = cloudwatch.get_metric_data(MetricDataQueries=[query("a")], StartTime=MINUTE, EndTime=NOW)["MetricDataResults"]
    assert (result["Values"], result["Timestamps"], result["StatusCode"], result["Label"]) == ([], [], "Complete", "m")


def test_units_are_never_added_up(cloudwatch: Any) -> None:
    put(cloudwatch, 60.0, 60.0, Unit="Seconds")
    put(cloudwatch, 60000.0, Unit="Milliseconds")
    (result,) = cloudwatch.get_metric_data(MetricDataQueries=[query("a")], StartTime=MINUTE, EndTime=NOW)["MetricDataResults"]
    assert result["Values"] == [60000.0]
    assert result["Messages"] == [{"Code": "MultipleUnits", "Value": "Multiple units returned: '[Milliseconds, Seconds]'"}]


@pytest.mark.parametrize(("second", "labels"), [("Sum", ["m", "m"]), ("Minimum", ["m Sum", "m Minimum"]), (None, ["m Sum 60", "m Average 300"])])
def test_labels_say_what_differs(cloudwatch: Any, second: str | None, labels: list[str]) -> None:
    other = query("b", second or "Average")
    other["MetricStat"]["Period"] = 60 if second else 300
    found = cloudwatch.get_metric_data(MetricDataQueries=[query("a"), other], StartTime=MINUTE, EndTime=NOW)
    assert [result["Label"] for result in found["MetricDataResults"]] == labels


def test_metrics_are_listed_by_filters(cloudwatch: Any) -> None:
    put(cloudwatch, 1.0)
    put(cloudwatch, 1.0, name="n")
    cloudwatch.put_metric_data(Namespace="other", MetricData=[{"MetricName": "m", "Value": 1}])
    listed = cloudwatch.list_metrics(Namespace="app", MetricName="m")["Metrics"]
    assert listed == [{"Namespace": "app", "MetricName": "m", "Dimensions": DIMENSIONS}]
    by_dimension = cloudwatch.list_metrics(Dimensions=[{"Name": "host"}])["Metrics"]
    assert [metric["MetricName"] for metric in by_dimension] == ["m", "n"]
    assert len(cloudwatch.list_metrics(RecentlyActive="PT3H")["Metrics"]) == 3


@pytest.mark.parametrize(
    ("datum", "code", "message"),
    [
        (
            {"Value": 1.0, "Values": [1.0]},
            "InvalidParameterCombination",
            "The parameters MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive and you have specified both.",
        ),
        (
            {"Values": [1.0, 2.0], "Counts": [1.0]},
            "InvalidParameterValue",
            "The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be of the same size.",
        ),
        ({"Value": float("nan")}, "InvalidParameterValue", "The value NaN for parameter MetricData.member.1.Value is invalid."),
        (
            {"Value": 1.0, "Timestamp": NOW - timedelta(days=15)},
            "InvalidParameterValue",
            "The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks.",
        ),
    ],
)
def test_points_that_are_refused(cloudwatch: Any, datum: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(ClientError) as error:
        cloudwatch.put_metric_data(Namespace="app", MetricData=[{"MetricName": "m", **datum}])
    assert (error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]) == (code, message)


@pytest.mark.parametrize("operation", ["list_metrics", "list_dashboards"])
def test_tokens_are_invalid_parameters_where_no_other_error_is_modeled(cloudwatch: Any, operation: str) -> None:
    with pytest.raises(ClientError, match="Request parameter NextToken is invalid") as error:
        getattr(cloudwatch, operation)(NextToken="x")
    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_day_of_minutes_is_not_too_much(cloudwatch: Any) -> None:
    at = NOW.replace(microsecond=500_000)
    assert statistics(cloudwatch, "Sum", StartTime=at - timedelta(days=1), EndTime=at) == []


def test_too_many_datapoints_are_refused(cloudwatch: Any) -> None:
    with pytest.raises(ClientError, match="exceeds the limit of 1,440"):
        statistics(cloudwatch, "Sum", StartTime=NOW - timedelta(days=3))


def test_cbor_reads_the_same(dewfall: Server, cloudwatch: Any) -> None:
    from botocore.parsers import create_parser
    from botocore.serialize import create_serializer

    put(cloudwatch, 7.0)
    model = cloudwatch.meta.service_model.operation_model("GetMetricData")
    params = {"MetricDataQueries": [query("a")], "StartTime": MINUTE, "EndTime": NOW}
    sent = create_serializer("smithy-rpc-v2-cbor").serialize_to_request(params, model)
    headers = {**sent["headers"], "Authorization": AUTHORIZATION}
    with urllib.request.urlopen(urllib.request.Request(dewfall.url + sent["url_path"], sent["body"], headers)) as answer:
        raw = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.read()}
    parsed = create_parser("smithy-rpc-v2-cbor").parse(raw, model.output_shape)
    assert [(r["Values"], r["Timestamps"]) for r in parsed["MetricDataResults"]] == [([7.0], [MINUTE])]


def test_the_query_protocol_reads_the_same(dewfall: Server, cloudwatch: Any) -> None:
    put(cloudwatch, 7.0)
    form = {"Action": "ListMetrics", "Version": "2010-08-01", "Namespace": "app"}
    request = urllib.request.Request(dewfall.url, urllib.parse.urlencode(form).encode(), {"Authorization": AUTHORIZATION})
    with urllib.request.urlopen(request) as answer:
        text = answer.read().decode()
    assert "<MetricName>m</MetricName>" in text
    assert "<ListMetricsResponse" in text


def test_json_reads_the_same(dewfall: Server, cloudwatch: Any) -> None:
    put(cloudwatch, 1.0)
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics",
        "Authorization": AUTHORIZATION,
    }
    request = urllib.request.Request(dewfall.url, b'{"Namespace": "app"}', headers)
    with urllib.request.urlopen(request) as response:
        assert [metric["MetricName"] for metric in json.load(response)["Metrics"]] == ["m"]


def test_a_span_is_at_least_a_second(cloudwatch: Any) -> None:
    span = {"StartTime": MINUTE.replace(microsecond=20_000), "EndTime": MINUTE.replace(microsecond=980_000)}
    with pytest.raises(ClientError, match="StartTime must be less than the parameter EndTime"):
        statistics(cloudwatch, "Sum", **span)
    with pytest.raises(ClientError, match="StartTime must not equal parameter EndTime"):
        cloudwatch.get_metric_data(MetricDataQueries=[query("a")], **span)
    with pytest.raises(ClientError, match=r"The value NaN for parameter MetricData\.member\.1\.Value is invalid"):
        cloudwatch.put_metric_data(Namespace="app", MetricData=[{"MetricName": "m", "Value": float("nan")}])
