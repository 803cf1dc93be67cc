"""Columns, facets and segments: the report is what Clarify writes, also for poor input."""

import doctest
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from dewfall.ml import bias, bias_report, facets
from dewfall.ml.bias_report import Facet, Question

RNG = np.random.default_rng(6)
FRAME = pl.DataFrame(
    {
        "age": RNG.integers(18, 90, 200),
        "sex": RNG.choice(["f", "m", "x"], 200),
        "pay": RNG.normal(size=200),
        "good": RNG.integers(0, 2, 200),
        "said": RNG.integers(0, 2, 200),
    }
)
ASKED = Question("good", [1], [Facet("sex")], predicted="said")


def metrics(report: dict[str, Any], stage: str, facet: str, place: int = 0) -> dict[str, Any]:
    return {m["name"]: m for m in report[f"{stage}_training_bias_metrics"]["facets"][facet][place]["metrics"]}


def test_examples() -> None:
    assert doctest.testmod(facets).failed == 0
    assert doctest.testmod(bias_report).failed == 0


def test_each_value_stands_against_the_rest() -> None:
    report = bias_report.bias_report(FRAME, ASKED)
    listed = report["pre_training_bias_metrics"]["facets"]["sex"]
    assert [one["value_or_threshold"] for one in listed] == FRAME["sex"].unique(maintain_order=True).to_list()
    for place, one in enumerate(listed):
        inside = FRAME["sex"].to_numpy() == one["value_or_threshold"]
        good = FRAME["good"].to_numpy()
        assert metrics(report, "pre", "sex", place)["DPL"]["value"] == pytest.approx(good[~inside].mean() - good[inside].mean())


def test_metrics_are_sorted_and_complete() -> None:
    report = bias_report.bias_report(FRAME, replace(ASKED, facets=[Facet("sex", ["f"])]))
    assert list(metrics(report, "pre", "sex")) == ["CDDL", "CI", "DPL", "JS", "KL", "KS", "LP", "TVD"]
    assert list(metrics(report, "post", "sex")) == ["AD", "CDDPL", "DAR", "DCA", "DCR", "DI", "DPPL", "DRR", "FT", "GE", "RD", "SD", "TE"]
    assert metrics(report, "pre", "sex")["CDDL"]["error"] == "Group variable is empty or not provided"


def test_a_threshold_is_printed_up_to_the_maximum() -> None:
    report = bias_report.bias_report(FRAME, replace(ASKED, facets=[Facet("age", [40])], pre_methods=["CI"]))
    facet = report["pre_training_bias_metrics"]["facets"]["age"][0]
    above = int((FRAME["age"] > 40).sum())
    assert facet["value_or_threshold"] == f"(40, {FRAME['age'].to_numpy().max()}]"
    assert facet["metrics"][0]["value"] == pytest.approx((200 - 2 * above) / 200)


def test_a_continuous_facet_needs_a_threshold() -> None:
    with pytest.raises(ValueError, match="Threshold values must be provided for continuous features"):
        bias_report.bias_report(FRAME, replace(ASKED, facets=[Facet("pay")]))


@pytest.mark.parametrize(("given", "text"), [([1], "1"), (["1"], "1"), (["1.0"], "1.0"), ([1, 7], "1,7")])
def test_given_values_are_cast_to_the_column(given: list[Any], text: str) -> None:
    chosen = facets.choose(FRAME["good"], given)
    assert chosen.text == text
    assert chosen.rows.tolist() == (FRAME["good"] == 1).to_list()


@pytest.mark.parametrize("given", [[1], ["1"]])
def test_text_labels_match_numbers(given: list[Any]) -> None:
    assert facets.choose(["1", "0", None, "1"], given).rows.tolist() == [True, False, False, True]


def test_continuous_labels_are_cut_above_the_threshold() -> None:
    chosen = facets.choose([0.5, 1.0, np.nan, 2.5], [1.0])
    assert (chosen.text, chosen.rows.tolist()) == ("(1.0, 2.5]", [False, False, False, True])
    with pytest.raises(ValueError, match="single numeric threshold"):
        facets.choose([0.5, 1.0], ["high"])


def test_no_positive_prediction_fails_the_stage_only() -> None:
    report = bias_report.bias_report(FRAME.with_columns(said=pl.lit(0)), ASKED)
    assert {m["error"] for m in metrics(report, "post", "sex").values()} == {facets.NO_POSITIVE_PREDICTION}
    assert metrics(report, "pre", "sex")["DPL"]["value"] is not None


def test_predictions_of_another_kind_are_refused() -> None:
    report = bias_report.bias_report(FRAME.with_columns(said=FRAME["pay"]), ASKED)
    assert "datatype is not the same" in metrics(report, "post", "sex")["AD"]["error"]


def test_text_features_fail_only_the_flip_test() -> None:
    frame = FRAME.with_columns(town=pl.lit("Ulm"))
    post = metrics(bias_report.bias_report(frame, ASKED), "post", "sex")
    assert post["FT"]["error"] == "FlipTest does not support non-numeric columns"
    assert post["AD"]["value"] is not None


def test_one_row_and_one_class_have_errors_not_exceptions() -> None:
    for frame in (FRAME[:1].with_columns(good=1, said=1), FRAME.with_columns(good=pl.lit(1), sex=pl.lit("f"))):
        report = bias_report.bias_report(frame, replace(ASKED, positive=[1, 2]))
        assert "negated facet set is empty" in metrics(report, "pre", "sex")["CI"]["error"]


def test_missing_facets_and_labels_belong_to_the_rest() -> None:
    frame = pl.DataFrame({"sex": ["f", None, "m", "f"], "good": [1, 1, None, 0]})
    report = bias_report.bias_report(frame, Question("good", [1, 9], [Facet("sex")]))
    assert len(report["pre_training_bias_metrics"]["facets"]["sex"]) == 2
    assert metrics(report, "pre", "sex")["DPL"]["value"] == 0.0


@pytest.mark.parametrize(("kind", "values", "text"), [(pl.String, (), "nan"), (pl.Float64, (), "nan"), (pl.Null, (1,), "1"), (pl.Float64, (1,), "1")])
def test_a_facet_without_any_value_has_errors_and_the_others_stand(kind: Any, values: Any, text: str) -> None:
    frame = pl.DataFrame({"sex": pl.Series([None] * 4, dtype=kind), "job": ["a", "a", "b", "b"], "good": [1, 1, 1, 0], "said": [1, 0, 1, 0]})
    report = bias_report.bias_report(frame, replace(ASKED, positive=[1, 9], facets=[Facet("sex", values), Facet("job")]))
    assert [one["value_or_threshold"] for one in report["pre_training_bias_metrics"]["facets"]["sex"]] == [text]
    pre, post = metrics(report, "pre", "sex"), metrics(report, "post", "sex")
    told = {name: pre[name]["error"] for name in ("CI", "DPL")}  # as smclarify 0.5 says of a column of None
    assert told == {"CI": "CI: facet set is empty. Check that x[facet] has non-zero length.", "DPL": "Facet set is empty."}
    assert all(post[name]["value"] is None and post[name]["error"] for name in post if name != "GE")
    assert post["FT"]["error"] == "Facet set is empty"
    assert metrics(report, "pre", "job")["DPL"]["value"] == -0.5


def test_a_column_may_be_a_facet_by_several_values() -> None:
    report = bias_report.bias_report(FRAME, replace(ASKED, facets=[Facet("sex", ["f"]), Facet("sex", ["m"])]))
    assert [one["value_or_threshold"] for one in report["pre_training_bias_metrics"]["facets"]["sex"]] == ["f", "m"]
    alone = bias_report.bias_report(FRAME, replace(ASKED, facets=[Facet("sex", ["m"])]))
    assert metrics(report, "pre", "sex", 1) == metrics(alone, "pre", "sex")


def test_infinite_values_are_written_as_words() -> None:
    frame = pl.DataFrame({"sex": ["f", "f", "m", "m"], "good": [1, 0, 1, 0], "said": [1, 1, 0, 0]})
    post = metrics(bias_report.bias_report(frame, replace(ASKED, positive=[1, 9], facets=[Facet("sex", ["f"])])), "post", "sex")
    assert (post["DI"]["value"], post["DCA"]["value"]) == ("Infinity", "Infinity")


def test_intervals_stand_beside_values() -> None:
    pre = metrics(bias_report.bias_report(FRAME, replace(ASKED, level=0.9)), "pre", "sex")
    low, high = pre["DPL"]["confidence_interval"]
    assert low < pre["DPL"]["value"] < high
    assert "confidence_interval" not in pre["CDDL"]


def test_segments_have_reports_of_their_own() -> None:
    young, rest = bias_report.segment_reports(FRAME, ASKED, "age", [["[18, 40)"]], ["young"])
    own = bias_report.bias_report(FRAME.filter(pl.col("age") < 40), ASKED)
    assert (young["segment"], rest["segment"]) == ("young", "__default__")
    assert young["report"] == own
    assert young["rows"] + rest["rows"] == 200


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"facets": [Facet("none")]}, "Facet column none is not present in the dataset"),
        ({"label": "none"}, "label: column none"),
        ({"positive": []}, "Positive label values or thresholds are empty for Label column"),
        ({"pre_methods": ["AD"]}, "Invalid metric_name"),
    ],
)
def test_bad_questions_are_refused(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        bias_report.bias_report(FRAME, replace(ASKED, **change))


def test_encoding_is_in_order_of_appearance() -> None:
    for values in (
        ["b", "a", None, "b"],
        [7, 2, None, 7],
        [0.5, -1.0, np.nan, 0.5],
        [10**12, 1, None, 10**12],
        [2**63, 1, None, 2**63],
        [True, False, None, True],
    ):
        coded = facets.encode(values)
        assert coded.codes.tolist() == [0, 1, -1, 0]
        assert coded.values == [values[0], values[1]]


def test_counts_of_all_values_sum_to_the_rows() -> None:
    coded = facets.encode(FRAME["sex"])
    table = bias.tabulate_values(coded.codes, (FRAME["good"] == 1).to_numpy(), values=3)
    assert table.sum() == 200
    assert table[3].sum() == 0


@pytest.mark.parametrize("text", ["1-4", "[4, 1]", "[a, b]"])
def test_broken_intervals_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="segments"):
        facets.read_interval(text)
