"""report.html of an analysis, for people: what is violated, how far each feature has moved, how that went over the last runs.

Beside it drift.json says the distances to programs, and trend.json carries the last runs' numbers from one execution to the next.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from dewfall.images import contract
from dewfall.images.monitor import outcome, records
from dewfall.images.monitor.settings import Settings
from dewfall.ml import comparison
from dewfall.ml.plots import curves, drifting, matrices, regression
from dewfall.ml.reports import html
from dewfall.ml.reports.document import Block, Chart, Heading, Report, Table, Text

MOST_PICTURES, MOST_TRENDS, MOST_RUNS, MOST_ROWS = 12, 6, 50, 200
BESIDE = {"width": 330}  # so that two charts stand side by side
Document = dict[str, Any]
Violations = list[dict[str, str]] | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What model quality was measured on, and what is expected of the rows (their number, metric → value) that have no labels yet."""

    labels: list[Any]
    predicted: list[Any]
    estimated: tuple[int, dict[str, float]] | None = None


def data(settings: Settings, statistics: Document, baseline: Document | None, violations: Violations, segments: Sequence[Block] = ()) -> None:
    """The page of data quality."""
    blocks = _violations(violations, "feature_name")
    moves = comparison.compare(statistics, baseline) if baseline else []
    if baseline:
        outcome.write(settings.output, "drift.json", {"version": "1.0", "features": [outcome.plain(asdict(move)) for move in moves]})
        blocks += _moves(moves, violations)
        here, there = ({one["name"]: one for one in document["features"]} for document in (statistics, baseline))
        drawn = [comparison.picture(here[move.name], there[move.name]) for move in moves[:MOST_PICTURES]]
        blocks += [Chart(spec | BESIDE) for spec in drawn if spec is not None]
        if len(moves) > MOST_PICTURES:
            blocks.append(Text(f"Drawn are the {MOST_PICTURES} features that have moved furthest, of {len(moves)}."))
        runs = _remember(settings, {move.name: move.psi for move in moves})
        blocks += _trends(runs, [move.name for move in moves], "population stability index of ", dict.fromkeys(here, comparison.SHIFT), {})
    blocks += [*segments, Heading("Columns"), Table(COLUMNS, [_column(one) for one in statistics["features"][:MOST_ROWS]])]
    _write(settings, "Data quality", blocks, statistics["dataset"]["item_count"])


def model(
    settings: Settings, statistics: Document, limits: Document | None, violations: Violations, seen: Seen, segments: Sequence[Block] = ()
) -> None:
    """The page of model quality."""
    section = next(name for name in statistics if name.endswith("_metrics"))
    held = statistics[section]
    bounds = (limits or {}).get(section.replace("_metrics", "_constraints"), {})
    values = {name: entry["value"] for name, entry in held.items() if isinstance(entry, dict) and isinstance(entry.get("value"), (int, float))}
    broken = {one["metric_name"] for one in violations or ()}
    spread = {name: None if (found := held[name].get("standard_deviation")) == "NaN" else found for name in values}
    rows = [[name, value, spread[name], bounds.get(name, {}).get("threshold")] for name, value in values.items()]
    marks = frozenset(i for i, row in enumerate(rows) if row[0] in broken)
    blocks = _violations(violations, "metric_name")
    blocks += [Heading("Metrics"), Table(["metric", "value", "standard deviation", "threshold"], rows, marks)]
    blocks += _estimated(seen.estimated, values, statistics["dataset"]["item_count"])
    blocks += [*segments, Heading("Pictures"), *_pictures(section, held, seen)]
    runs = _remember(settings, values)
    low, high = ({name: one["threshold"] for name, one in bounds.items() if one["comparison_operator"] == op} for op in OPERATORS)
    blocks += _trends(runs, [*sorted(broken), *(name for name in values if name not in broken)], "", high, low)
    _write(settings, "Model quality", blocks, statistics["dataset"]["item_count"])


OPERATORS = ("LessThanThreshold", "GreaterThanThreshold")
COLUMNS = ("column", "type", "missing", "mean", "standard deviation", "minimum", "maximum", "distinct")


def _violations(found: Violations, who: str) -> list[Block]:
    if found is None:
        return [Text("A baseline: there were no constraints to hold against.")]
    if not found:
        return [Text("No constraint is violated.", "good")]
    count = "1 constraint is" if len(found) == 1 else f"{len(found)} constraints are"
    rows = [[one[who], one["constraint_check_type"], one["description"].strip()] for one in found[:MOST_ROWS]]
    return [Text(f"{count} violated.", "bad"), Table([who.replace("_", " "), "check", "description"], rows)]


def _moves(moves: list[comparison.Move], violations: Violations) -> list[Block]:
    drifted = {one["feature_name"] for one in violations or () if one["constraint_check_type"] == "baseline_drift_check"}
    rows = [[m.name, m.kind, m.linf, m.p_value, m.psi, m.jensen_shannon, m.wasserstein] for m in moves[:MOST_ROWS]]
    marks = frozenset(i for i, move in enumerate(moves[:MOST_ROWS]) if move.name in drifted or move.psi > comparison.SHIFT)
    head = ("feature", "kind", "L-infinity", "p-value", "PSI", "Jensen–Shannon", "Wasserstein")
    told = (
        "L-infinity is what constraints are held against (before its correction for small samples), for numbers the Kolmogorov–Smirnov statistic;"
        f" the p-value is of that test, for categories of chi-square. A population stability index (PSI) above {comparison.SHIFT} is called a shift."
        " Wasserstein is in the feature's own unit."
    )
    return [Heading("Drift against the baseline"), Text(told), Table(head, rows, marks)]


def _column(feature: Document) -> list[Any]:
    held = feature.get("numerical_statistics") or feature["string_statistics"]
    numbers = [held.get(name) for name in ("mean", "std_dev", "min", "max", "distinct_count")]
    return [feature["name"], feature["inferred_type"], held["common"]["num_missing"], *numbers]


def _estimated(found: tuple[int, dict[str, float]] | None, values: dict[str, float], rows: int) -> list[Block]:
    if found is None:
        return []
    told = f"{found[0]:,} requests of the window have no ground truth yet. Their scores, calibrated on the {rows:,} that have, let expect:"
    table = Table(["metric", "measured", "estimated"], [[name, values.get(name), value] for name, value in found[1].items()])
    return [Heading("Before labels arrive"), Text(told), table]


def _pictures(section: str, held: Document, seen: Seen) -> list[Block]:
    labels, predicted = seen.labels, seen.predicted
    if section == "regression_metrics":
        return [Chart(draw(labels, predicted)) for draw in (regression.predicted_against_actual, regression.residuals, regression.residual_histogram)]
    from dewfall.ml import metrics

    drawn: list[Block] = [Chart(matrices.confusion(metrics.confusion(labels, predicted)))]
    curve = held.get("receiver_operating_characteristic_curve")
    if curve:
        drawn.append(Chart(curves.roc_of(curve["false_positive_rates"], curve["true_positive_rates"], held["auc"]["value"])))
    curve = held.get("precision_recall_curve")
    if curve:
        drawn.append(Chart(curves.precision_recall_of(curve["precisions"], curve["recalls"])))
    return drawn


def _remember(settings: Settings, values: dict[str, float]) -> list[Document]:
    """The last runs and this one, oldest first; written for the next."""
    at = (settings.end or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    before: list[Document] = []
    for path in records.files(contract.folders().home / "processing" / "history")[:1]:
        try:
            before = [run for run in json.loads(path.read_text())["runs"] if run["time"] < at and isinstance(run["values"], dict)]
        except (ValueError, KeyError, TypeError):
            print(f"The last runs in {path.name} cannot be read; the trend begins anew.", flush=True)
    runs = [*before[-MOST_RUNS + 1 :], {"time": at, "values": outcome.plain(values)}]
    if settings.schedule:
        outcome.write(settings.output, "trend.json", {"version": "1.0", "runs": runs})
    return runs


def _trends(runs: list[Document], names: list[str], what: str, high: dict[str, float], low: dict[str, float]) -> list[Block]:
    if len(runs) < 2:
        return []
    drawn: list[Block] = []
    for name in names[:MOST_TRENDS]:
        held = [(run["time"], run["values"].get(name)) for run in runs]
        known = [(at, float(value)) for at, value in held if isinstance(value, (int, float))]
        if len(known) > 1:
            times, values = zip(*known, strict=True)
            drawn.append(Chart(drifting.trend(times, values, f"{what}{name}", low=low.get(name), high=high.get(name)) | BESIDE, _slope(values)))
    return [Heading(f"The last {len(runs)} runs"), *drawn] if drawn else []


def _slope(values: tuple[float, ...]) -> str:
    if len(values) < 3:
        return ""
    from dewfall.ml.estimation import slope

    step, chance = slope(list(values))
    return f"Median change {step:+.3g} a run (p-value of no trend {chance:.2g})." if math.isfinite(chance) else ""


def _write(settings: Settings, title: str, blocks: list[Block], rows: int) -> None:
    where = " · ".join(part for part in (settings.schedule, settings.endpoint) if part)
    window = f"{settings.start:%Y-%m-%d %H:%M} to {settings.end:%Y-%m-%d %H:%M} UTC" if settings.start and settings.end else ""
    told = " · ".join(part for part in (where, window, f"{rows:,} record" + "s" * (rows != 1)) if part)
    settings.output.mkdir(parents=True, exist_ok=True)
    (settings.output / "report.html").write_text(html.write(Report(title, blocks, told)), encoding="utf-8")
