"""One row by LightGBM's call for single rows."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from dewfall.images.builtin.lightgbm_row import row_predictor


@pytest.mark.parametrize("objective", ["binary", "multiclass", "regression", "poisson"])
def test_it_gives_what_the_booster_gives_to_the_last_bit(objective: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 6))
    rows[rng.random(rows.shape) < 0.1] = np.nan
    labels = rng.integers(0, 3 if objective == "multiclass" else 2, len(rows)).astype(float)
    parameters = {"objective": objective, "verbosity": -1, "num_threads": 1} | ({"num_class": 3} if objective == "multiclass" else {})
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, labels), 12)
    predict = row_predictor(booster, 6)
    assert predict is not None
    for row in rows[:40]:
        assert np.array_equal(predict(row[None]), np.asarray(booster.predict(row[None])))
