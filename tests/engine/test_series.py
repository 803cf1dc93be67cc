"""Log events by place and time, metric points added up by period."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dewfall.context import HandClock
from dewfall.engine.series import LogGroup, LogStream, MetricKey, Point, Series
from dewfall.engine.store import SqliteStore

WHO = ("000000000000", "us-east-1")
KEY = MetricKey(*WHO, "ns", "m", {"b": "2", "a": "1"})


@pytest.fixture
def series(store: SqliteStore) -> Series:
    return Series(store)


def opened(series: Series, group: str = "g", stream: str = "s") -> tuple[LogGroup, LogStream]:
    series.create_log_stream(*WHO, group, stream)
    found = series.log_group(*WHO, group)
    assert found is not None
    made = series.log_stream(found, stream)
    assert made is not None
    return found, made


def test_events_of_one_time_keep_their_order_over_pages(series: Series) -> None:
    _, stream = opened(series)
    series.append_logs(*WHO, "g", "s", [(5, f"line {n}") for n in range(10)])
    first = series.read_stream(stream, 4, after=(0, 0))
    rest = series.read_stream(stream, 100, after=first[-1].place)
    assert [event.text for event in first + rest] == [f"line {n}" for n in range(10)]


def test_reading_backward_gives_the_last_events_oldest_first(series: Series) -> None:
    _, stream = opened(series)
    series.append_logs(*WHO, "g", "s", [(n, str(n)) for n in range(1, 10)])
    last = series.read_stream(stream, 3)
    before = series.read_stream(stream, 3, before=last[0].place, start=5)
    assert [[event.time for event in page] for page in (last, before)] == [[7, 8, 9], [5, 6]]


def test_a_group_reads_its_streams_by_time(series: Series) -> None:
    group, _ = opened(series)
    opened(series, "other", "x")
    series.append_logs(*WHO, "other", "x", [(1, "no")])
    series.append_logs(*WHO, "g", "s", [(3, "c"), (1, "a")])
    series.append_logs(*WHO, "g", "t", [(2, "b"), (9, "late")])
    assert [event.text for event in series.read_group(group, 10, end=9)] == ["a", "b", "c"]


def test_a_stream_knows_its_first_and_last_event(series: Series) -> None:
    series.append_logs(*WHO, "g", "s", [(30, "x"), (10, "ü")])
    _, stream = opened(series)
    assert (stream.first_event, stream.last_event, stream.size) == (10, 30, 1 + 2 + 2 * 26)


def test_deleting_a_group_leaves_nothing(series: Series) -> None:
    series.append_logs(*WHO, "g", "s", [(1, "x")])
    group, _ = opened(series)
    series.delete_log_group(group)
    assert (series.log_groups(*WHO), series.log_streams(group), series.read_group(group, 10)) == ([], [], [])


def test_retention_removes_old_events(series: Series, clock: HandClock) -> None:
    now = int(clock.now().timestamp() * 1000)
    series.append_logs(*WHO, "g", "s", [(now, "x")])
    group, stream = opened(series)
    series.save_log_group(LogGroup(group.id, *WHO, "g", group.created, 1, {}, 0))
    clock.move(clock.now() + timedelta(hours=23))
    series.expire_logs()
    assert len(series.read_stream(stream, 10)) == 1
    clock.move(clock.now() + timedelta(hours=2))
    series.expire_logs()
    assert series.read_stream(stream, 10) == []


def test_points_add_up_per_period_whatever_the_order_of_dimensions(series: Series, clock: HandClock) -> None:
    now = int(clock.now().timestamp())
    for second, value in ((0, 1.0), (30, 3.0), (60, 10.0)):
        series.append_metric(*WHO, "ns", "m", {"a": "1", "b": "2"}, value, clock.now() + timedelta(seconds=second))
    found = series.buckets(KEY, now, now + 120, 60)
    assert [(b.start - now, b.samples, b.total, b.low, b.high) for b in found] == [(0, 2, 4, 1, 3), (60, 1, 10, 10, 10)]


def test_single_values_come_back_where_they_are_known(series: Series) -> None:
    points = [Point("m", KEY.dimensions, 0, "None", 3, 7, 1, 5, ((1.0, 2.0), (5.0, 1.0))), Point("m", KEY.dimensions, 1, "None", 1, 4, 4, 4)]
    series.append_points(*WHO, "ns", points)
    assert series.buckets(KEY, 0, 60, 60, spread=True)[0].spread == [(1.0, 2.0), (5.0, 1.0), (4.0, 1.0)]


def test_what_is_not_finite_is_not_a_point(series: Series, clock: HandClock) -> None:
    series.append_metric(*WHO, "ns", "m", {}, float("nan"), clock.now())
    assert series.metrics(*WHO) == []


def test_metrics_are_listed_once(series: Series, clock: HandClock) -> None:
    for name in ("b", "a", "b"):
        series.append_metric(*WHO, "ns", name, {"x": "1"}, 1, clock.now())
    series.append_metric("111111111111", "us-east-1", "ns", "c", {}, 1, clock.now())
    assert [(metric.name, metric.dimensions) for metric in series.metrics(*WHO, "ns")] == [("a", {"x": "1"}), ("b", {"x": "1"})]
