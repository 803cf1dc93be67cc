"""What the router has counted, as Prometheus reads it: totals since the server's start, and what is under way.

Why from the router's own counters: CloudWatch gets the same numbers, and a scrape must not ask the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dewfall.engine.serving.table import Counters, EndpointKey

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(fleets: Iterable[tuple[EndpointKey, Mapping[str, Counters], Mapping[str, int]]], gauges: Mapping[str, tuple[str, float]]) -> str:
    """The exposition of endpoints (totals by variant, requests under way by replica) and of single gauges (name → help, value)."""
    families: dict[str, tuple[str, str, list[str]]] = {}

    def add(name: str, kind: str, about: str, labels: Mapping[str, str], value: float, suffix: str = "") -> None:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        families.setdefault(name, (kind, about, []))[2].append(f"{name}{suffix}{{{written}}} {value:g}" if written else f"{name}{suffix} {value:g}")

    for (account, region, endpoint), totals, under_way in fleets:
        where = {"account": account, "region": region, "endpoint": endpoint}
        for variant, counters in totals.items():
            labels = {**where, "variant": variant}
            add("dewfall_invocations_total", "counter", "Requests to a variant.", labels, counters.invocations)
            errors = {"4xx": counters.client_errors, "5xx": counters.server_errors, "model": counters.model_errors}
            for kind, count in errors.items():
                add("dewfall_invocation_errors_total", "counter", "Requests that failed.", {**labels, "kind": kind}, count)
            for name, values in (("model", counters.model_latencies), ("overhead", counters.overheads)):
                family, about = f"dewfall_{name}_latency_seconds", f"Time of requests: {name}."
                add(family, "summary", about, labels, values[0] / 1e6, "_sum")
                add(family, "summary", about, labels, values[1], "_count")
        for replica, count in under_way.items():
            add("dewfall_requests_under_way", "gauge", "Requests at a replica.", {**where, "replica": replica}, count)
    for name, (about, value) in gauges.items():
        add(name, "gauge", about, {}, value)
    lines = [line for name, (kind, about, samples) in families.items() for line in (f"# HELP {name} {about}", f"# TYPE {name} {kind}", *samples)]
    return "\n".join(lines) + "\n"


def added(total: Counters | None, taken: Counters) -> Counters:
    """Totals with what was counted since; of latencies, sum and number (their own list in the total)."""
    total = total or Counters(model_latencies=[0.0, 0.0], overheads=[0.0, 0.0])
    sums = [
        [sum_and_number[0] + sum(values), sum_and_number[1] + len(values)]
        for sum_and_number, values in ((total.model_latencies, taken.model_latencies), (total.overheads, taken.overheads))
    ]
    return Counters(
        total.invocations + taken.invocations,
        total.client_errors + taken.client_errors,
        total.server_errors + taken.server_errors,
        total.model_errors + taken.model_errors,
        total.unplaced + taken.unplaced,
        *sums,
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
