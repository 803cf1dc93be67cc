"""Tensors that the boosting images save for Debugger: when, which, and in smdebug's layout."""

import json

import numpy as np
import pytest

from dewfall.images.builtin.xgboost.training import train
from dewfall.images.debugging.config import SaveAt
from dewfall.images.debugging.events import Saved, decode, encode

from .conftest import OptMl

ROWS = np.random.default_rng(2).normal(size=(80, 3))
TABLE = "".join(f"{row[0] * 2:f},{row[0]:f},{row[1]:f},{row[2]:f}\n" for row in ROWS)


def run(opt_ml: OptMl, *collections: dict[str, object]) -> None:
    opt_ml.write({"num_round": "12", "objective": "reg:squarederror"}, {"train": TABLE, "validation": TABLE})
    config = {"S3OutputPath": "s3://b/p", "CollectionConfigurations": list(collections)}
    (opt_ml.home / "input" / "config" / "debughookconfig.json").write_text(json.dumps(config))
    train()


def saved(opt_ml: OptMl) -> dict[int, dict[str, np.ndarray]]:
    files = sorted((opt_ml.home / "output" / "tensors" / "events").rglob("*.tfevents"))
    return {int(file.parent.name): {one.name: one.value for one in decode(file.read_bytes())} for file in files}


@pytest.mark.parametrize(
    "value", [np.array([0.5]), np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3), np.array(["a", "bc"]), np.zeros((0, 2))]
)
def test_a_tensor_comes_back_as_it_was(value: np.ndarray) -> None:
    (back,) = decode(encode(Saved("net/weight", 1000, "TRAIN", 7, value), 1.5))
    assert (back.name, back.step, back.mode, back.mode_step) == ("net/weight", 1000, "TRAIN", 7)
    assert np.array_equal(back.value, value)
    assert back.value.shape == value.shape


def test_a_record_that_is_cut_off_is_left_out() -> None:
    record = encode(Saved("w", 0, "GLOBAL", 0, np.zeros(4)), 1.0)
    assert len(list(decode(record + record[:-3]))) == 1


def test_metrics_are_saved_every_ten_rounds_whatever_is_asked(opt_ml: OptMl) -> None:
    run(opt_ml)
    assert {step: sorted(tensors) for step, tensors in saved(opt_ml).items()} == {s: ["train-rmse", "validation-rmse"] for s in (0, 10)}


def test_collections_have_intervals_of_their_own(opt_ml: OptMl) -> None:
    run(opt_ml, {"CollectionName": "feature_importance", "CollectionParameters": {"save_interval": "4"}})
    importances = {step: tensors.get("feature_importance/weight/f0") for step, tensors in saved(opt_ml).items()}
    assert [step for step, value in importances.items() if value is not None] == [0, 4, 8]


def test_the_index_says_where_each_tensor_lies(opt_ml: OptMl) -> None:
    run(opt_ml, {"CollectionName": "predictions", "CollectionParameters": {"save_steps": "3"}})
    folder = opt_ml.home / "output" / "tensors"
    index = json.loads((folder / "index" / "000000000" / "000000000003_worker_0.json").read_text())
    data = (folder / index["meta"]["event_file_name"]).read_bytes()
    found = {entry["tensorname"]: data[entry["start_idx"] : entry["start_idx"] + entry["length"]] for entry in index["tensor_payload"]}
    assert next(decode(found["predictions"])).value.shape == (80,)


def test_the_collections_file_names_every_tensor(opt_ml: OptMl) -> None:
    run(opt_ml, {"CollectionName": "labels"}, {"CollectionName": "trees"}, {"CollectionName": "average_shap"})
    document = json.loads((opt_ml.home / "output/tensors/collections/000000000/worker_0_collections.json").read_text())["collections"]
    assert document["losses"]["tensor_names"] == ["train-rmse", "validation-rmse"]
    assert document["labels"]["tensor_names"] == ["labels"]
    assert "trees/Node" in document["trees"]["tensor_names"]
    assert "average_shap/f0" in document["average_shap"]["tensor_names"]


def test_steps_begin_and_end_where_they_are_told_to() -> None:
    at = SaveAt(interval=5, start=4, end=16, steps=frozenset({17}))
    assert [step for step in range(30) if at.holds(step)] == [5, 10, 15, 17]
