"""A job's log: lines, times, metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dewfall.services.sagemaker.training_logs import CHUNK, find_metrics, read_lines


def texts(file: Path, offset: int = 0, *, at_end: bool = False) -> list[str]:
    return [line.text for line in read_lines(file, offset, at_end=at_end)[0]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_only_whole_lines_are_read_while_the_job_runs(log: Path) -> None:
    log.write_text("1000 one\n2000 tw")
    lines, offset = read_lines(log, 0)
    assert [(line.milliseconds, line.text) for line in lines] == [(1000, "one")]
    assert offset == len("1000 one\n")


def test_the_last_line_needs_no_newline(log: Path) -> None:
    log.write_text("1000 one\n2000 two")
    assert texts(log, at_end=True) == ["one", "two"]


def test_reading_goes_on_where_it_stopped(log: Path) -> None:
    log.write_text("1000 one\n2000 two\n")
    assert texts(log, 9) == ["two"]


def test_tabs_arrive_as_aws_writes_them(log: Path) -> None:
    log.write_text("1000 [0]\ttrain-rmse:0.5\n")
    assert texts(log) == ["[0]#011train-rmse:0.5"]


def test_a_log_that_is_not_there_yet_is_empty(log: Path) -> None:
    assert read_lines(log, 0) == ([], 0)


def test_an_endless_line_is_read_in_pieces_with_its_time(log: Path) -> None:
    log.write_text("1000 " + "x" * (2 * CHUNK))
    first, offset = read_lines(log, 0, at_end=True)
    second, _ = read_lines(log, offset, at_end=True)
    assert offset == 2 * CHUNK
    assert first[0].milliseconds == 1000
    assert len(first[0].text) + len(second[0].text) >= 2 * CHUNK


def test_metrics_are_the_first_group_of_a_match() -> None:
    patterns = [("train:rmse", re.compile(r".*\[[0-9]+\].*#011train-rmse:(\S+)")), ("loss", re.compile("loss=([0-9.]+)"))]
    assert find_metrics(patterns, "[7]#011train-rmse:0.125") == [("train:rmse", 0.125)]


def test_a_value_ends_at_a_tab() -> None:
    pattern = re.compile(r".*\[[0-9]+\].*#011train-rmse:(\S+)")
    assert find_metrics([("train:rmse", pattern)], "[7]#011train-rmse:0.125#011validation-rmse:0.5") == [("train:rmse", 0.125)]


def test_regexes_for_real_tabs_match_too() -> None:
    assert find_metrics([("loss", re.compile("\\tloss:([0-9.]+)"))], "[7]#011loss:0.125") == [("loss", 0.125)]


@pytest.mark.parametrize("text", ["loss=abc", "loss=1.2.3", "nothing", "loss=nan", "loss=inf", "loss=-inf", "loss=1e200"])
def test_what_is_no_number_is_no_metric(text: str) -> None:
    assert find_metrics([("loss", re.compile("loss=(\\S+)"))], text) == []
