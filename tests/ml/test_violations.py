"""What a monitor finds: each check provoked by itself, and nothing when nothing has changed."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import polars as pl
import pytest

from dewfall.ml import datatypes, violations
from dewfall.ml.profile import profile, suggest_constraints

RNG = np.random.default_rng(5)
BASE = pl.DataFrame({"n": RNG.integers(0, 100, 500), "x": RNG.normal(size=500), "c": RNG.choice(["a", "b"], 500)})
STATISTICS = profile(BASE)
LIMITS = suggest_constraints(STATISTICS)


def test_examples() -> None:
    assert doctest.testmod(violations).failed == 0
    assert doctest.testmod(datatypes).failed == 0


def checks(frame: pl.DataFrame, limits: Any = None) -> list[tuple[str, str]]:
    kinds = datatypes.count(frame)
    wanted = {feature["name"]: feature["inferred_type"] for feature in LIMITS["features"]}
    cast = datatypes.cast(frame, {name: wanted.get(name, kinds[name].inferred) for name in frame.columns})
    found = violations.data_quality(profile(cast), limits or LIMITS, STATISTICS, kinds)
    return [(one["feature_name"], one["constraint_check_type"]) for one in found]


def test_the_baseline_itself_violates_nothing() -> None:
    assert checks(BASE) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"n": pl.lit(None, dtype=pl.Int64)}, ("n", "completeness_check")),
        ({"n": pl.col("n") - 50}, ("n", "non_negative_check")),
        ({"x": pl.col("x") + 3}, ("x", "baseline_drift_check")),
        ({"c": pl.lit("z")}, ("c", "categorical_values_check")),
        ({"c": pl.lit("a")}, ("c", "baseline_drift_check")),
        ({"n": pl.when(pl.col("n") > 5).then(pl.col("n").cast(pl.String)).otherwise(pl.lit("no"))}, ("n", "data_type_check")),
        ({"new": pl.lit(1)}, ("Extra columns", "extra_column_check")),
    ],
)
def test_each_check_is_provoked(change: dict[str, pl.Expr], found: tuple[str, str]) -> None:
    assert found in checks(BASE.with_columns(**change))


def test_a_missing_column() -> None:
    (found,) = violations.data_quality(profile(BASE.drop("c")), LIMITS, None, {})
    assert found["description"].endswith("Number of columns in current dataset: 2, Number of columns in baseline constraints: 3")


def test_a_type_check_says_its_share() -> None:
    frame = pl.DataFrame({"n": ["1", "2", "3", "x"]})
    limits = {"features": [{"name": "n", "inferred_type": "Integral", "completeness": 0.0}], "monitoring_config": {}}
    (found,) = violations.data_quality(profile(datatypes.cast(frame, {"n": "Integral"})), limits, None, datatypes.count(frame))
    assert found["description"] == (
        "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. Observed: Only 75.0% of data is Integral."
    )


def test_evaluation_may_be_turned_off() -> None:
    assert checks(BASE.drop("c"), LIMITS | {"monitoring_config": {"evaluate_constraints": "Disabled"}}) == []


def report(value: Any, name: str = "DPPL") -> dict[str, Any]:
    entry = {"value_or_threshold": "0", "metrics": [{"name": name, "value": value}]}
    return {"post_training_bias_metrics": {"facets": {"sex": [entry]}}}


@pytest.mark.parametrize(
    ("live", "baseline", "name", "count"),
    [
        (0.3, 0.1, "DPPL", 1),
        (-0.3, 0.1, "DPPL", 1),
        (0.05, 0.1, "DPPL", 0),
        (0.5, 0.8, "DI", 1),
        (1.1, 0.8, "DI", 0),
        ("Infinity", 0.1, "TE", 1),
        (None, 0.1, "TE", 0),
    ],
)
def test_bias_is_worse_when_further_from_fair(live: Any, baseline: Any, name: str, count: int) -> None:
    assert len(violations.bias(report(live, name), report(baseline, name))) == count


def shap(**values: float) -> dict[str, Any]:
    return {"explanations": {"kernel_shap": {"label0": {"global_shap_values": values}}}}


def test_attributions_in_another_order() -> None:
    assert violations.attributions(shap(a=3.0, b=1.0, c=0.1), shap(a=2.5, b=1.1, c=0.2)) == []
    (found,) = violations.attributions(shap(a=0.1, b=1.0, c=3.0), shap(a=3.0, b=1.0, c=0.1))
    assert (found["label"], found["constraint_check_type"]) == ("label0", "feature_attribution_drift_check")


def test_a_facets_threshold_is_what_is_compared_whatever_the_maximum() -> None:
    live, baseline = report(0.3), report(0.1)
    for document, text in ((live, "(40, 66]"), (baseline, "(40.0, 90.0]")):
        document["post_training_bias_metrics"]["facets"]["sex"][0]["value_or_threshold"] = text
    assert violations.clarify(live, baseline)["violations"][0]["facet_value"] == "(40, 66]"


def aged(text: str, value: Any) -> dict[str, Any]:
    entry = {"value_or_threshold": text, "metrics": [{"name": "CI", "value": value}, {"name": "GE", "value": 0.2}]}
    return {"pre_training_bias_metrics": {"facets": {"age": [entry]}}}


@pytest.mark.parametrize(
    ("live", "baseline", "same"),
    [
        (aged("(35, 40]", None), aged("(40, 68]", 0.1), True),
        (aged("", None), aged("(40.0, 68.0]", 0.1), True),
        (aged("(40, 68]", 0.3), aged("(35, 40]", None), True),
        (aged("(35, 40]", None), aged("(22.5, 40.0]", None), True),
        (aged("(35, 40]", None), aged("(50, 68]", 0.1), False),
        (aged("(35, 40]", 0.3), aged("(40, 68]", 0.1), False),
        (aged("(50, 68]", 0.3), aged("(40, 68]", 0.1), False),
        (aged("", None), aged("f", 0.1), False),
    ],
)
def test_nobody_above_a_facets_threshold_is_no_violation_and_no_other_facet(live: Any, baseline: Any, same: bool) -> None:
    if same:
        assert violations.bias(live, baseline) == []
    else:
        with pytest.raises(ValueError, match="it has none of the analysis' bias metrics"):
            violations.bias(live, baseline)


@pytest.mark.parametrize(
    ("live", "baseline", "said"),
    [
        (report(0.3), {"version": 0.0, "features": []}, "the baseline has neither bias metrics nor Kernel SHAP values"),
        (report(0.3), shap(a=1.0), "the baseline has Kernel SHAP values, the analysis bias metrics: there is nothing to compare"),
        (report(0.3), report(0.1, "AD"), "baseline: it has none of the analysis' bias metrics"),
        (report(0.3), {"post_training_bias_metrics": {"error": "no labels"}}, "baseline: post_training_bias_metrics have an error: no labels"),
        (report(0.3), {"post_training_bias_metrics": {"facets": ["sex"]}}, "baseline: post_training_bias_metrics are not as Clarify writes them"),
        (shap(a=1.0), shap(b=1.0), "live: the features are not those of the baseline"),
        (shap(a=1.0), {"explanations": {"kernel_shap": {"yes": {"global_shap_values": {"a": 1.0}}}}}, "its labels are yes, those of"),
        (shap(a=1.0), {"explanations": {"kernel_shap": {"label0": 3}}}, "baseline: it has no global SHAP values"),
        ({"explanations": {"kernel_shap": {"error": "no model"}}}, shap(a=1.0), "analysis: kernel_shap has an error: no model"),
    ],
)
def test_a_check_that_compares_nothing_does_not_pass(live: Any, baseline: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        violations.clarify(live, baseline)
