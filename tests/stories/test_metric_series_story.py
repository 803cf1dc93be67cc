"""Metrics of training jobs as series: CloudWatch to the second, and sagemaker-metrics where the job asks for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from dewfall.testing import Server

from .test_training_story import Train, request, train

__all__ = ["train"]


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_job_has_time_series_where_it_asks_for_them(dewfall: Server, train: Train, is_asked: bool) -> None:
    algorithm = {**request("x")["AlgorithmSpecification"], "EnableSageMakerMetricsTimeSeries": is_asked}
    described = train("print('loss=0.5'); print('loss=0.25')", "series", AlgorithmSpecification=algorithm)
    assert [(one["MetricName"], one["Value"]) for one in described["FinalMetricDataList"]] == [("loss", 0.25)]
    component = dewfall.client("sagemaker").describe_trial_component(TrialComponentName="series-aws-training-job")
    query = {"MetricName": "loss", "ResourceArn": component["TrialComponentArn"], "MetricStat": "Min", "Period": "OneHour", "XAxisType": "Timestamp"}
    (answer,) = dewfall.client("sagemaker-metrics").batch_get_metrics(MetricQueries=[query])["MetricQueryResults"]
    assert bool(answer["MetricValues"]) is is_asked
    assert min(answer["MetricValues"], default=0.25) == 0.25


def test_cloudwatch_has_each_second(dewfall: Server, train: Train) -> None:
    train("import time\nfor n in (1, 2, 3):\n    print(f'loss={n}', flush=True); time.sleep(1.01)", "seconds")
    now = datetime.fromtimestamp(time.time(), UTC)
    found = dewfall.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": "seconds"}],
        Statistics=["Average"],
        Period=1,
        StartTime=now - timedelta(seconds=60),
        EndTime=now + timedelta(seconds=60),
    )["Datapoints"]
    assert sorted(point["Average"] for point in found) == [1, 2, 3]
