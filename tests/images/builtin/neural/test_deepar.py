"""DeepAR: better than repeating the last season; every likelihood, format and refusal."""

import doctest
import io
import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from dewfall.images.builtin import deepar
from dewfall.images.builtin.deepar_serving import DeepArHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.ml import seasons
from tests.images.builtin.conftest import OptMl

GIVEN = {"time_freq": "H", "context_length": "24", "prediction_length": "24", "epochs": "1", "mini_batch_size": "16", "num_cells": "12"}
SHORT = GIVEN | {"context_length": "6", "prediction_length": "3", "num_layers": "1"}
RNG = np.random.default_rng(5)


def hourly(count: int, length: int) -> list[dict[str, Any]]:
    """Loads with a daily shape of their own, a level that drifts, and noise."""
    hours = np.arange(length)
    made = []
    for place in range(count):
        level, peak = RNG.uniform(5, 50), 6 if place % 2 else 15
        shape = 2 + np.cos((hours % 24 - peak) * np.pi / 12) * np.where(hours // 24 % 7 < 5, 1.0, 0.4)
        target = level * (shape + RNG.normal(0, 0.25, length))
        made.append({"start": "2024-01-01 00:00:00", "target": target.round(3).tolist(), "cat": [place % 2]})
    return made


def lines(series: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(one) + "\n" for one in series)


def asked(handler: DeepArHandler, document: Any, kind: str = "application/json") -> tuple[int, Any]:
    body = document if isinstance(document, str) else json.dumps(document)
    answer = handler.invoke(Invocation(body.encode(), kind, "*/*", {}))
    text = bytes(answer.body).decode() if isinstance(answer.body, bytes) else str(answer.body)
    return answer.status, json.loads(text) if answer.status == 200 and kind == "application/json" else text


def served(opt_ml: OptMl) -> DeepArHandler:
    handler = DeepArHandler(opt_ml.model)
    handler.load()
    return handler


def test_forecasts_better_than_the_last_season(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    series = hourly(20, 24 * 21)
    known = [one | {"target": one["target"][:-24]} for one in series]
    opt_ml.write(GIVEN | {"epochs": "12", "learning_rate": "0.01", "mini_batch_size": "32"}, {"train": lines(known), "test": lines(series)}, "json")
    deepar.train()
    out = capsys.readouterr().out
    rmse = float(re.findall(r"#quality_metric: host=\S+, test RMSE <loss>=(\S+)", out)[0])
    truth = np.array([one["target"] for one in series])
    assert rmse < 0.9 * np.sqrt(((truth[:, -24:] - truth[:, -48:-24]) ** 2).mean())
    assert re.search(r"#test_score \(algo-1, wQuantileLoss\[0\.9\]\): [\d.]+", out)
    assert re.search(r"#quality_metric: host=algo-1, train final_loss <loss>=\S+", out)
    configuration = {"num_samples": 60, "output_types": ["quantiles", "mean", "samples"], "quantiles": ["0.1", "0.9"]}
    status, answer = asked(served(opt_ml), {"instances": known, "configuration": configuration})
    assert status == 200
    inside = [
        np.mean((np.array(one["quantiles"]["0.1"]) < real) & (real < np.array(one["quantiles"]["0.9"])))
        for one, real in zip(answer["predictions"], truth[:, -24:], strict=True)
    ]
    assert 0.6 < np.mean(inside) <= 1
    assert np.array(answer["predictions"][0]["samples"]).shape == (60, 24)


@pytest.mark.parametrize("likelihood", ["student-T", "gaussian", "negative-binomial", "beta", "deterministic-L1"])
def test_every_likelihood_learns_and_answers(opt_ml: OptMl, likelihood: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = (RNG.beta(2, 5, 60) if likelihood == "beta" else RNG.poisson(4, 60)).tolist()
    record = {"start": "2024-01-01", "target": [*target[:30], "NaN", *target[31:]], "dynamic_feat": [list(range(60))]}
    opt_ml.write(SHORT | {"likelihood": likelihood}, {"train": lines([record] * 4), "test": lines([record])}, "json")
    deepar.train()
    assert "mean_wQuantileLoss" in capsys.readouterr().out
    status, answer = asked(served(opt_ml), {"instances": [record | {"dynamic_feat": [list(range(63))]}]})
    assert status == 200
    assert set(answer["predictions"][0]) == {"mean", "quantiles"}
    assert np.isfinite(answer["predictions"][0]["mean"]).all()


def test_reads_parquet_and_answers_lines(opt_ml: OptMl, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table, body = pa.Table.from_pylist(hourly(3, 60)), io.BytesIO()
    parquet.write_table(table, body)
    opt_ml.write(SHORT, {"train": body.getvalue()}, "parquet")
    deepar.train()
    monkeypatch.setenv("DEEPAR_INFERENCE_CONFIG", '{"num_samples": 5, "output_types": ["mean"]}')
    status, text = asked(served(opt_ml), lines(hourly(2, 30)), "application/jsonlines")
    assert status == 200
    assert [len(json.loads(line)["mean"]) for line in text.splitlines()] == [3, 3]


def test_refuses_in_words(opt_ml: OptMl) -> None:
    for change, reason in (({"time_freq": "3Q"}, "time_freq"), ({"cardinality": "[1]"}, "outside of cardinality"), ({"likelihood": "beta"}, "beta")):
        opt_ml.write(SHORT | change, {"train": lines(hourly(2, 40))}, "json")
        with pytest.raises(UserError, match=reason):
            deepar.train()
    opt_ml.write(SHORT, {"train": lines(hourly(2, 40))}, "json")
    deepar.train()
    handler = served(opt_ml)
    assert asked(handler, {"instances": [{"start": "2024-01-01", "target": [1]}]})[0] == 400
    assert asked(handler, {"instances": [{"start": "2024-01-01", "target": [1], "cat": [7]}]})[0] == 400
    assert asked(handler, "1,2", "text/csv")[0] == 415
    assert asked(handler, {"instances": [{"start": "2024-01-01", "target": [], "cat": [0]}]})[0] == 200


def test_examples() -> None:
    assert doctest.testmod(seasons).failed == 0
