"""Asymmetric Shapley values of a forecasting model: per item and time step, or per feature of each step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.predictor import Predictor
from dewfall.images.contract import UserError
from dewfall.ml import asymmetric

FOLDER = "explanations_asymmetric_shapley_value"
ITEM_RECORDS = "item_records"
DIRECTIONS = ("chronological", "anti_chronological", "bidirectional")
AT_ONCE = 50  # records of a request
PLACES = ("$target_time_series", "$related_time_series", "$static_covariates", "$start_time", "$item_id")


@dataclass(slots=True)
class Item:
    """One series: times, target (t,), related (t, r), static covariates."""

    name: Any
    times: list[str] = field(default_factory=list)
    target: list[float] = field(default_factory=list)
    related: list[list[float]] = field(default_factory=list)
    static: list[float] = field(default_factory=list)


def read(analysis: Analysis, bodies: Sequence[tuple[str, bytes]]) -> list[Item]:
    """The series of JSON files, in the columns, item_records or timestamp_records layout. Raises UserError naming the member."""
    items: dict[Any, Item] = {}
    settings = analysis.document["time_series_data_config"]
    for name, body in bodies:
        try:
            document = json.loads(body)
        except ValueError as error:
            raise UserError(f"The file {name} is not valid JSON: {error}") from None
        if str(settings.get("dataset_format", "")).lower() == ITEM_RECORDS and isinstance(document, list):
            for record in document:  # alone, because `[*].steps[].value` runs all items' steps together
                _add(items, settings, [record], name)
        else:
            _add(items, settings, document, name)
    return list(items.values())


def _add(items: dict[Any, Item], settings: dict[str, Any], document: Any, name: str) -> None:
    """The steps that the expressions find in a document, each with its item."""
    found = {member: _search(document, settings, member) for member in ("item_id", "timestamp", "target_time_series")}
    related = [_search_one(document, e, "related_time_series") for e in _listed(settings.get("related_time_series"))]
    static = [_search_one(document, e, "static_covariates") for e in _listed(settings.get("static_covariates"))]
    nested = any(isinstance(times, list) for times in found["timestamp"])
    if not nested and len(found["item_id"]) == 1:  # one item, its steps in plain lists
        nested, related = True, [[values] for values in related]
        found |= {member: [found[member]] for member in ("timestamp", "target_time_series")}
    lengths = [len(values) for values in (*found.values(), *related, *static)]
    if len(set(lengths)) > 1:
        raise UserError(f"time_series_data_config: the expressions find different numbers of values in {name}: {', '.join(map(str, lengths))}.")
    for place, key in enumerate(found["item_id"]):
        if isinstance(key, (list, dict)):
            raise UserError(f"time_series_data_config: item_id finds {str(key)[:60]} in {name}: it must find one text or number for each item.")
        item = items.setdefault(key, Item(key))
        times, target = found["timestamp"][place], found["target_time_series"][place]
        item.times += list(map(str, times)) if nested else [str(times)]
        item.target += _numbers(target if nested else [target], "target_time_series")
        values = [_numbers(series[place] if nested else [series[place]], "related_time_series") for series in related]
        if any(len(one) != len(times if nested else [times]) for one in [target if nested else [target], *values]):
            raise UserError(f"time_series_data_config: the series of item {key} in {name} have different lengths.")
        item.related += [list(step) for step in zip(*values, strict=True)]
        item.static = [_first(series[place], key, name) for series in static]


def _first(held: Any, key: Any, name: str) -> float:
    """An item's static covariate, which may stand in a list."""
    values = _numbers(held if isinstance(held, list) else [held], "static_covariates")
    if not values:
        raise UserError(f"time_series_data_config: static_covariates finds an empty list for item {key} in {name}: every item needs a number.")
    return values[0]


def _numbers(values: Any, member: str) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        raise UserError(f"time_series_data_config: {member} finds {str(values)[:60]}, where numbers are needed.") from None


def explain(analysis: Analysis, items: list[Item], predictor: Predictor, output: Path, uri: str) -> dict[str, Any]:
    """Explain every series; writes a line per item, returns analysis.json's member."""
    settings = analysis.methods["asymmetric_shapley_value"] or {}
    direction, granularity = settings.get("direction", "chronological"), settings.get("granularity", "timewise")
    if direction not in DIRECTIONS:
        raise UserError(f"asymmetric_shapley_value: direction '{direction}' is not one of {', '.join(DIRECTIONS)}.")
    if granularity not in ("timewise", "fine_grained"):
        raise UserError(f"asymmetric_shapley_value: granularity '{granularity}' is not one of timewise, fine_grained.")
    if granularity == "fine_grained" and (direction != "chronological" or not isinstance(settings.get("num_samples"), int)):
        raise UserError("asymmetric_shapley_value: fine_grained needs direction chronological and a whole num_samples.")
    folder = output / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "out.jsonl").open("w") as file:
        for item in items:
            game = _Game(analysis, item, predictor, settings.get("baseline") or {})
            try:
                line = _timewise(item, game, direction) if granularity == "timewise" else _fine(item, game, int(settings["num_samples"]))
            except ValueError as error:
                raise UserError(f"asymmetric_shapley_value: {error}.") from None
            file.write(json.dumps(line) + "\n")
            print(f"Explained item {item.name}", flush=True)
    return {"explanation_results_path": f"{uri.rstrip('/')}/{FOLDER}/out.jsonl", "direction": direction, "granularity": granularity}


class _Game:
    """Forecasts of one item with some of its steps or features replaced by the baseline."""

    def __init__(self, analysis: Analysis, item: Item, predictor: Predictor, baseline: dict[str, Any]) -> None:
        self.item = item
        self._predictor = predictor
        self._record = str(analysis.predictor.get("record_template") or "")
        self._content = str(analysis.predictor.get("content_template") or "")
        self._forecast = str((analysis.predictor.get("time_series_predictor_config") or {}).get("forecast") or "")
        if not self._forecast:
            raise UserError("predictor: time_series_predictor_config.forecast (a JMESPath expression) is required.")
        self._target = np.asarray(item.target, dtype=np.float64)
        self._related = np.asarray(item.related, dtype=np.float64).reshape(len(item.times), -1)
        self._base = _level(self._target[:, None], baseline.get("target_time_series", "zero"))[0]
        self._related_base = _level(self._related, baseline.get("related_time_series", "zero"))
        given = (baseline.get("static_covariates") or {}).get(str(item.name))
        self._static_base = np.asarray(given if given is not None else np.zeros(len(item.static)), dtype=np.float64)

    def steps(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Forecasts where whole steps are there or not; static covariates always are."""
        wide = np.repeat(masks, 1 + self._related.shape[1], axis=1)
        return self.features(np.hstack([np.ones((len(masks), len(self.item.static)), dtype=bool), wide]))

    def features(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Forecasts (m, h): masks over static covariates, then target and related features of each step."""
        count = len(self.item.static)
        records = []
        for mask in masks:
            held = mask[count:].reshape(len(self.item.times), -1)
            target = np.where(held[:, 0], self._target, self._base)
            related = np.where(held[:, 1:], self._related, self._related_base)
            static = np.where(mask[:count], self.item.static, self._static_base)
            records.append(self._filled(target, related, static))
        if "$records" not in self._content:
            return np.asarray([self._ask(Template(self._content).safe_substitute(record=record))[0] for record in records])
        found: list[Any] = []
        for start in range(0, len(records), AT_ONCE):
            part = records[start : start + AT_ONCE]
            answer = self._ask(Template(self._content).safe_substitute(records="[" + ",".join(part) + "]"))
            if len(answer) != len(part):
                raise UserError(f"The model returned {len(answer)} forecasts for {len(part)} records.")
            found += answer
        return np.asarray(found, dtype=np.float64)

    def _filled(self, target: Any, related: Any, static: Any) -> str:
        values = {
            "target_time_series": json.dumps(target.tolist()),
            "related_time_series": json.dumps(related.T.tolist()),
            "static_covariates": json.dumps(static.tolist()),
            "start_time": json.dumps(self.item.times[0]),
            "item_id": json.dumps(self.item.name),
            "timestamp": json.dumps(self.item.times),
        }
        return Template(self._record).safe_substitute(values)

    def _ask(self, body: str) -> list[Any]:
        import jmespath

        reply, _ = self._predictor.invoke(body.encode())
        found = jmespath.search(self._forecast, json.loads(reply))
        if not isinstance(found, list) or not found:
            raise UserError(f"predictor: forecast '{self._forecast}' finds no list in the model's answer {reply[:200].decode('utf-8', 'replace')}.")
        return found if isinstance(found[0], list) else [found]


def _timewise(item: Item, game: _Game, direction: str) -> dict[str, Any]:
    values, expected = asymmetric.timewise(game.steps, len(item.times), direction)
    explanations = [{"timestamp": time, "scores": row.tolist()} for time, row in zip(item.times, values, strict=True)]
    return {"item_id": item.name, "offset": expected.tolist(), "explanations": explanations}


def _fine(item: Item, game: _Game, samples: int) -> dict[str, Any]:
    features = 1 + (len(item.related[0]) if item.related else 0)
    names = ["target_time_series", *(f"related_time_series_{i}" for i in range(features - 1))]
    values, static, expected = asymmetric.fine_grained(game.features, len(item.times), features, samples, static=len(item.static))
    explanations: list[dict[str, Any]] = [{"feature_name": f"static_covariate_{i}", "scores": row.tolist()} for i, row in enumerate(static)]
    for time, step in zip(item.times, values, strict=True):
        explanations += [{"feature_name": name, "timestamp": time, "scores": row.tolist()} for name, row in zip(names, step, strict=True)]
    return {"item_id": item.name, "offset": expected.tolist(), "explanations": explanations}


def _level(series: NDArray[np.float64], kind: Any) -> NDArray[np.float64]:
    """What stands for values that are not there: zeros, or the series' own mean."""
    if kind not in ("zero", "mean"):
        raise UserError(f"asymmetric_shapley_value: the baseline '{kind}' is not one of zero, mean.")
    return series.mean(axis=0) if kind == "mean" and series.size else np.zeros(series.shape[1])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _search(document: Any, settings: dict[str, Any], member: str) -> list[Any]:
    if settings.get(member) is None:
        raise UserError(f"time_series_data_config: {member} is required.")
    return _search_one(document, settings[member], member)


def _search_one(document: Any, expression: Any, member: str) -> list[Any]:
    import jmespath

    try:
        found = jmespath.search(str(expression), document)
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(f"time_series_data_config: {member} '{expression}' is not a JMESPath expression: {error}") from None
    if not isinstance(found, list):
        raise UserError(f"time_series_data_config: {member} '{expression}' finds no list in the dataset.")
    return found
