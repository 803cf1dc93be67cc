"""Charts say what the numbers say: data of the documents against second computations, and every one of them draws."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dewfall.ml import drift, explain, metrics
from dewfall.ml.plots import curves, dependence, drifting, fairness, learning, look, matrices, regression, render, shapley

Spec = dict[str, Any]
RNG = np.random.default_rng(3)
ROWS = 3000
POSITIVE = RNG.random(ROWS) < 0.3
SCORES = np.clip(RNG.normal(0.3, 0.15, ROWS) + POSITIVE * 0.25, 0, 1)
ACTUAL = RNG.normal(50, 10, ROWS)
PREDICTED = ACTUAL * 0.9 + 5 + RNG.normal(0, 4, ROWS)
TABLE = RNG.normal(size=(ROWS, 3))
VALUES = TABLE * [0.5, 0.1, 0.02]
NAMES = ["age", "children", "income"]
TIMES = [f"2026-11-{day:02d}T00:00:00Z" for day in range(1, 6)]


def values(spec: Spec, layer: int | None = None) -> list[Spec]:
    held = spec if layer is None else spec["layer"][layer]
    found: list[Spec] = held["data"]["values"]
    return found


CHARTS: dict[str, Callable[[], Spec]] = {
    "roc": lambda: curves.roc(POSITIVE, SCORES),
    "precision-recall": lambda: curves.precision_recall(POSITIVE, SCORES),
    "calibration": lambda: curves.calibration(POSITIVE, SCORES),
    "lift": lambda: curves.lift(POSITIVE, SCORES),
    "residuals": lambda: regression.residuals(ACTUAL, PREDICTED, unit="USD"),
    "predicted": lambda: regression.predicted_against_actual(ACTUAL[:50], PREDICTED[:50], unit="USD"),
    "residual histogram": lambda: regression.residual_histogram(ACTUAL, PREDICTED, unit="USD"),
    "q-q": lambda: regression.quantiles(ACTUAL, PREDICTED),
    "confusion": lambda: matrices.confusion(metrics.confusion(["a", "b", "c"] * 5, ["a", "b", "b"] * 5)),
    "correlations": lambda: matrices.correlations(np.corrcoef(TABLE.T), NAMES),
    "shap bars": lambda: shapley.overall(np.abs(VALUES).mean(axis=0), NAMES),
    "beeswarm": lambda: shapley.beeswarm(VALUES, TABLE, NAMES),
    "waterfall": lambda: shapley.waterfall(VALUES[0], 0.3, list(TABLE[0]), NAMES, most=2),
    "dependence": lambda: shapley.dependence(VALUES, TABLE, NAMES, 0),
    "partial dependence": lambda: dependence.partial(explain.partial_dependence(lambda x: x[:, 0], TABLE[:40], 0), "age", unit="years"),
    "drift": lambda: drifting.numbers(drift.histogram(ACTUAL + 5, 20, 80), drift.histogram(ACTUAL, 20, 80), "price", unit="USD"),
    "categories": lambda: drifting.categories({"red": 2, "blue": 7}, {"red": 5, "blue": 5}, "colour"),
    "trend": lambda: drifting.trend(TIMES, [0.1, 0.2, np.nan, 0.4, 0.1], "Distance", high=0.3),
    "bias": lambda: fairness.bias([{"name": "CI", "value": 0.4, "confidence_interval": [0.3, 0.5]}, {"name": "TE", "value": "Infinity"}], "Bias"),
    "series": lambda: learning.series({"loss": (range(3), [3.0, 2.0, 1.0])}, "Loss"),
}


@pytest.mark.parametrize("name", sorted(CHARTS))
def test_every_chart_draws_with_titled_axes(name: str) -> None:
    spec = CHARTS[name]()
    drawn = render.themed_svg(spec)
    assert spec["title"]["text"] in drawn
    assert "NaN" not in drawn
    assert "var(--soft-ink" in drawn


def test_the_roc_curve_keeps_its_area() -> None:
    points = values(curves.roc(POSITIVE, SCORES), 1)
    area = np.trapezoid([p["y"] for p in points], [p["x"] for p in points])
    assert len(points) <= curves.POINTS
    assert area == pytest.approx(roc_auc_score(POSITIVE, SCORES), abs=2e-3)


def test_lift_of_a_perfect_order() -> None:
    points = values(curves.lift([True] * 5 + [False] * 5, np.arange(10)[::-1]), 1)
    assert next(p["y"] for p in points if p["x"] == 0.5) == 1.0


def test_a_cloud_counts_every_row() -> None:
    cells = values(regression.residuals(ACTUAL, PREDICTED), 0)
    assert sum(cell["n"] for cell in cells) == ROWS
    assert len(cells) < ROWS


def test_a_waterfall_ends_at_the_prediction() -> None:
    bars = values(CHARTS["waterfall"](), 0)
    assert bars[0]["a"] == 0.3
    assert bars[-1]["b"] == pytest.approx(0.3 + VALUES[0].sum(), rel=1e-4)
    assert [bar["label"].split(" = ")[0] for bar in bars][:1] == ["1 other feature"]


def test_a_dependence_is_coloured_by_what_it_goes_with() -> None:
    together = VALUES.copy()
    together[:, 0] += TABLE[:, 0] * TABLE[:, 2]
    assert shapley.dependence(together, TABLE, NAMES, 0)["layer"][1]["encoding"]["color"]["title"] == "income"


def test_confusion_shares_are_of_the_row() -> None:
    cells = {(c["actual"], c["predicted"]): (c["text"], c["share"]) for c in values(CHARTS["confusion"]())}
    assert cells["c", "b"] == ("5", 1.0)
    assert cells["b", "c"] == ("0", 0.0)


def test_correlations_put_like_beside_like() -> None:
    x, y = RNG.normal(size=(2, 400))
    table = np.corrcoef([x, y, x + 0.1 * RNG.normal(size=400), y + 0.1 * RNG.normal(size=400)])
    order = matrices.correlations(table, ["x", "y", "x2", "y2"])["encoding"]["x"]["sort"]
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({"x", "x2"}), frozenset({"y", "y2"})}


def test_shares_of_a_drift_add_up() -> None:
    bars = values(CHARTS["drift"](), 0)
    inside = float(((ACTUAL + 5 >= 20) & (ACTUAL + 5 <= 80)).mean())
    assert sum(b["share"] for b in bars if b["who"] == "Current") == pytest.approx(inside, abs=1e-4)


def test_what_lies_outside_its_band_is_marked() -> None:
    spec = CHARTS["trend"]()
    assert [p["outside"] for p in values(spec, 1)] == ["within", "within", "within", "outside", "within"]
    assert spec["title"]["subtitle"] == "1 of 5 outside"


def test_a_metric_that_is_not_finite_is_named() -> None:
    assert CHARTS["bias"]()["title"]["subtitle"] == "not finite or not computed: TE"


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: regression.residuals([1.0], [1.0, 2.0]), "predicted"),
        (lambda: regression.residuals([np.nan], [1.0]), "actual"),
        (lambda: shapley.overall([1.0], ["a", "b"]), "names"),
        (lambda: shapley.beeswarm([[1.0]], [[1.0, 2.0]], ["a"]), "values"),
        (lambda: drifting.categories({}, {"a": 1}, "x"), "sample"),
        (lambda: drifting.trend(["t"], [], "x"), "values"),
        (lambda: learning.series({}, "x"), "lines"),
        (lambda: curves.lift([False], [1.0]), "positive"),
    ],
)
def test_what_cannot_be_drawn_is_named(call: Callable[[], Spec], argument: str) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        call()


def test_pictures_need_no_browser() -> None:
    spec = look.chart("T", {"data": look.rows(x=[1]), "mark": "bar", "encoding": {"x": {"field": "x", "type": "nominal"}}})
    assert render.png(spec)[:8] == b"\x89PNG\r\n\x1a\n"
    assert render.pdf(spec)[:5] == b"%PDF-"


@pytest.mark.parametrize("module", [curves, dependence, drifting, fairness, learning, look, matrices, regression, render, shapley])
def test_examples(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
