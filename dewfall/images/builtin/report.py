"""What the built-in algorithms print: log lines and metric lines as AWS's containers write them, which metric regexes are made for."""

import os
from datetime import UTC, datetime

LOSSES = ("loss", "rmse", "mse", "squared_error", "msd", "ssd", "entropy", "objective")


def say(text: str, level: str = "INFO") -> None:
    """A log line of AWS's own algorithms."""
    print(f"[{datetime.now(UTC):%m/%d/%Y %H:%M:%S} {level} {os.getpid()}] {text}", flush=True)


def quality(host: str, name: str, value: float, *, epoch: int | None = None) -> None:
    """A `#quality_metric` line; name is "<channel> <metric>", its kind says whether less or more is better."""
    kind = "loss" if any(mark in name for mark in LOSSES) else "score"
    at = "" if epoch is None else f"epoch={epoch}, "
    say(f"#quality_metric: host={host}, {at}{name} <{kind}>={value!r}")


def final(host: str, channel: str, metric: str, value: float) -> None:
    """The last word on a metric: a `#<channel>_score` line and a `#quality_metric` line."""
    say(f"#{channel}_score ({host}) : ('{metric}', {value!r})")
    quality(host, f"{channel} {metric}", value)


def progress(host: str, percent: int) -> None:
    say(f"#progress_metric: host={host}, completed {percent} % of epochs")


def threads() -> int:
    """OMP_NUM_THREADS, else the processors this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return (
        int(given)
        if given.isdigit() and int(given) > 0
        else len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
