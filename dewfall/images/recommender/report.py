"""`python -m dewfall.images.recommender.report`: what a recommendations job measured as one page, and as JSON beside it."""

from __future__ import annotations

import json
import sys
from typing import Any

from dewfall.images import contract
from dewfall.images.recommender.load import SENDER
from dewfall.ml.plots.learning import series
from dewfall.ml.reports import html
from dewfall.ml.reports.document import Block, Chart, Heading, Report, Table, Text

CONFIG = "results.json"
PAGE, DATA = "report.html", "results.json"
COLUMNS = ["rank", "candidate", "invocations/min", "latency ms", "CPU %", "memory %", "USD/hour", "USD/million"]


def main() -> int:
    """Draw the page."""
    results = contract.read_config(CONFIG)
    folder = contract.folders().output_data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DATA).write_text(json.dumps(results, indent=1))
    (folder / PAGE).write_text(html.write(document(results)))
    return 0


def document(results: dict[str, Any]) -> Report:
    """The results as a report.

    >>> document({"JobName": "j", "Prices": {"date": "2024-06", "region": "us-east-1"}, "Tests": []}).title
    'Inference recommendations of j'
    """
    prices = results["Prices"]
    tests = results["Tests"]
    measured = sorted((test for test in tests if "Metrics" in test), key=lambda test: test.get("Rank", 99))
    blocks: list[Block] = [Heading("Recommendations")]
    blocks.append(Table(COLUMNS, [_row(test) for test in measured]) if measured else Text("Nothing was measured.", "bad"))
    blocks.append(
        Text(f"Prices in US dollars of {prices['region']} as of {prices['date']}. Best first: what reaches the request, then the cheapest.")
    )
    if measured:
        blocks.append(Heading("Latency against load"))
        for name, title in (("P95", "95 of 100 requests"), ("P50", "Half of the requests")):
            lines = {test["Name"]: _line(test["Levels"], name) for test in measured}
            chart = series(lines, f"{title} ({name})", x="Invocations per minute", y="Latency in ms", log=True)
            blocks.append(Chart(chart, "Each point is a number of users, who send one request after the other."))
    left = [test for test in tests if "Metrics" not in test]
    if left:
        blocks += [Heading("Not measured"), Table(["candidate", "why"], [[test["Name"], test.get("FailureReason", "")] for test in left])]
    for test in measured:
        blocks += [Heading(test["Name"], 2), Text(f"The load ended because {test['Why']}."), _levels(test)]
        if any(level.get("sender", 0) > SENDER for level in test["Levels"]):
            blocks.append(Text("At some levels the load process was itself busy all the time: the endpoint may serve more than it could send."))
    return Report(f"Inference recommendations of {results['JobName']}", blocks, results.get("Subtitle", ""))


def _row(test: dict[str, Any]) -> list[Any]:
    metrics = test["Metrics"]
    each = metrics.get("CostPerInference")
    numbers = [metrics["MaxInvocations"], metrics["ModelLatency"] / 1000, metrics.get("CpuUtilization"), metrics.get("MemoryUtilization")]
    return [test.get("Rank"), test["Name"], *numbers, metrics.get("CostPerHour"), None if each is None else 1e6 * each]


def _line(levels: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    held = sorted((level["per_minute"], level["latency"][name] / 1000) for level in levels if level["requests"])
    return [one[0] for one in held], [one[1] for one in held]


def _levels(test: dict[str, Any]) -> Table:
    columns = ["users", "seconds", "invocations/min", "P50 ms", "P95 ms", "P99 ms", "failed"]
    rows = [
        [level["users"], level["seconds"], level["per_minute"], *(level["latency"][name] / 1000 for name in ("P50", "P95", "P99")), level["failures"]]
        for level in test["Levels"]
    ]
    return Table(columns, rows)


if __name__ == "__main__":
    sys.exit(main())
