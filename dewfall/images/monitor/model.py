"""Model quality: metrics of predictions against labels, constraints suggested from them or held against them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import polars as pl

from dewfall.images import contract
from dewfall.images.contract import UserError
from dewfall.images.monitor import data, outcome, page, records, scripts, segments, truth, unlabelled
from dewfall.images.monitor.outcome import Metric
from dewfall.images.monitor.records import Capture
from dewfall.images.monitor.settings import Settings
from dewfall.ml import quality, violations

NO_TRUTH = "Error: No captured record of the window has ground truth. Check the ground truth's eventId against the captured inferenceId or eventId."

NEEDS_IDS = " Transform jobs write ids where their DataCaptureConfig has GenerateInferenceId."


def run(settings: Settings, session: Any) -> list[dict[str, str]] | None:
    """One analysis; its violations, None where there was nothing to hold against."""
    if settings.problem not in quality.SECTION:
        raise UserError(f"problem_type '{settings.problem}' is not one of {', '.join(quality.SECTION)}.")
    labels, predicted, scores, parts = _columns(settings)
    try:
        statistics = quality.model_quality(settings.problem, labels, predicted, scores)
    except ValueError as error:
        raise UserError(f"Model quality cannot be computed: {error}.") from None
    outcome.write(settings.output, "statistics.json", statistics)
    outcome.write(settings.output, "constraints.json", quality.quality_constraints(statistics))
    seen = page.Seen(labels, predicted, unlabelled.estimate(settings, labels, scores))
    told = segments.model(settings, parts, labels, predicted, scores)
    if settings.constraints is None:
        page.model(settings, statistics, None, None, seen, told)
        return None
    limits = data.document(settings.constraints)
    try:
        found = violations.model_quality(statistics, limits)
    except ValueError as error:
        raise UserError(f"The baseline constraints cannot be held against the data: {error}.") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"The baseline constraints are invalid: every metric needs a threshold and a comparison_operator ({error}).") from None
    outcome.write(settings.output, "constraint_violations.json", {"violations": found})
    outcome.publish(settings, "model", _metrics(statistics), session)
    page.model(settings, statistics, limits, found, seen, told)
    return found


def merged(settings: Settings) -> list[Capture]:
    """Captures of the window with their ground truth, which is also written. Raises UserError where none has any."""
    folder = contract.folders().home / "processing" / "groundtruth"
    found = list(truth.join(records.captures(settings), truth.read(folder)))
    if not found:
        raise UserError(NO_TRUTH + (NEEDS_IDS if settings.is_transformed else ""))
    truth.write(found, contract.folders().home / "processing" / "merge")
    return [single for capture in found for single in singles(capture)]


def singles(capture: Capture) -> list[Capture]:
    """An exchange of several records as one for each. Raises UserError where its ground truth tells of another number of them."""
    sent = _lines(capture.input)
    if len(sent) < 2 or not _by_line(capture.input_type):
        return [capture]
    answers, labels = _lines(capture.output), _lines(str(capture.truth))
    if len(answers) == 1 and _by_line(capture.output_type):
        answers = _cells_of(answers[0])
    labels = _cells_of(labels[0]) if len(labels) == 1 else labels
    if not len(sent) == len(answers) == len(labels):
        counts = f"{len(sent)} records, {len(answers)} answers and {len(labels)} labels"
        raise UserError(f"The captured request {capture.key} has {counts}: ground truth needs one label for each record.")
    return [replace(capture, input=one, output=answer, truth=label) for one, answer, label in zip(sent, answers, labels, strict=True)]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _by_line(kind: str) -> bool:
    return "json" not in kind.lower() or "lines" in kind.lower()


def _cells_of(line: str) -> list[str]:
    return [line] if line.lstrip().startswith(("{", "[")) else [cell.strip() for cell in line.split(",")]


def _columns(settings: Settings) -> tuple[list[Any], list[Any], list[float] | None, list[str] | None]:
    """Labels, predictions and, where attributes tell of them, scores of the positive class and segments."""
    attribute = settings.attribute(segments.ATTRIBUTE)
    if settings.is_captured:
        found = merged(settings)
        parts = [str(picked(capture.input, capture.input_type, attribute)) for capture in found] if attribute else None
        return *_from_captures(settings, found), parts
    preprocess = scripts.preprocessor(settings.preprocessor)
    frames = list(records.batches(settings, preprocess))
    if not frames:
        raise UserError(data.EMPTY)
    table = _complete(pl.concat(frames, how="diagonal_relaxed"), settings)
    labels = _cells(table, settings, "ground_truth_attribute")
    probability = settings.attribute("probability_attribute")
    scores = [score(value, "probability_attribute") for value in _cells(table, settings, "probability_attribute")] if probability else None
    if settings.attribute("inference_attribute"):
        predicted = _cells(table, settings, "inference_attribute")
    elif scores is not None:
        predicted = thresholded(scores, labels, settings)
    else:
        raise UserError("inference_attribute or probability_attribute is needed.")
    parts = [segments.MISSING if value is None else str(value) for value in _cells(table, settings, segments.ATTRIBUTE)] if attribute else None
    return _typed(settings, labels), _typed(settings, predicted), scores, parts


def _from_captures(settings: Settings, captures: Iterable[Capture]) -> tuple[list[Any], list[Any], list[float] | None]:
    labels, predicted, scores = [], [], []
    inference, probability = settings.attribute("inference_attribute"), settings.attribute("probability_attribute")
    for capture in captures:
        labels.append(label_of(capture, settings))
        if inference is not None:
            predicted.append(picked(capture.output, capture.output_type, inference))
        if probability is not None or inference is None:
            scores.append(score(picked(capture.output, capture.output_type, probability), "probability_attribute"))
    if inference is None and settings.problem == quality.REGRESSIONS:
        return _typed(settings, labels), scores, None
    if inference is None:
        predicted = thresholded(scores, labels, settings)
    return _typed(settings, labels), _typed(settings, predicted), scores or None


def label_of(capture: Capture, settings: Settings) -> Any:
    """The label that a capture's ground truth tells: a value of a CSV row, or of JSON where it looks like that."""
    assert capture.truth is not None
    kind = "application/json" if capture.truth.lstrip().startswith(("{", "[")) else "text/csv"
    return picked(capture.truth, kind, settings.attribute("ground_truth_attribute"))


def picked(text: str, kind: str, attribute: str | None) -> Any:
    """A value of captured data: a place of a CSV row, a JMESPath expression of JSON; without an attribute the first."""
    import jmespath

    if "json" in kind.lower():
        try:
            document = json.loads(text)
            found = jmespath.search(attribute, document) if attribute else next(iter(records.flatten(text, kind)[0].values()), None)
        except jmespath.exceptions.JMESPathError as error:
            raise UserError(f"The attribute '{attribute}' is not a JMESPath expression: {error}") from None
        except (IndexError, ValueError) as error:
            raise UserError(f"A captured record is not valid JSON: {error}") from None
        while isinstance(found, list) and len(found) == 1:
            found = found[0]
        if found is None or isinstance(found, (dict, list)):
            raise UserError(f"The attribute '{attribute}' finds no value in {text[:200]}.")
        return found
    cells = list((records.flatten(text, kind) or [{}])[0].values())
    place = int(attribute) if attribute and attribute.lstrip("-").isdigit() else 0
    if not -len(cells) <= place < len(cells):
        raise UserError(f"The attribute '{attribute}' is not a place of the {len(cells)} values in '{text[:200]}'.")
    return cells[place].strip()


def thresholded(scores: list[float], labels: list[Any], settings: Settings) -> list[Any]:
    """1 or 0 (as the labels write them) by the probability threshold, 0.5 where none is set."""
    if settings.problem == quality.MULTICLASS:
        raise UserError("Multiclass model quality needs inference_attribute: a probability does not tell which class was predicted.")
    limit = score(settings.attribute("probability_threshold_attribute") or 0.5, "probability_threshold_attribute")
    known = {str(label): label for label in labels}
    yes, no = known.get("1", known.get("1.0", "1")), known.get("0", known.get("0.0", "0"))
    return [yes if score > limit else no for score in scores]


def score(value: Any, name: str) -> float:
    """A probability or threshold. Raises UserError naming the attribute that it came from."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"{name}: {value!r} is not a number.") from None


def _complete(table: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The rows that have a label and a prediction."""
    names = ("ground_truth_attribute", "inference_attribute", "probability_attribute")
    found = table.drop_nulls([_column(table, settings, name) for name in names if settings.attribute(name)])
    if found.height < table.height:
        print(f"{table.height - found.height} of {table.height} rows lack a label or a prediction and are left out.", flush=True)
    if not found.height:
        raise UserError(data.EMPTY)
    return found


def _cells(table: pl.DataFrame, settings: Settings, name: str) -> list[Any]:
    return table[_column(table, settings, name)].to_list()


def _column(table: pl.DataFrame, settings: Settings, name: str) -> str:
    attribute = settings.attribute(name)
    if attribute is None:
        raise UserError(f"{name} is needed.")
    return records.column(table.columns, attribute, name)


def _typed(settings: Settings, values: list[Any]) -> list[Any]:
    if settings.problem != quality.REGRESSIONS:
        return [str(value) for value in values]
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError):
        raise UserError("A regression's labels and predictions must be numbers.") from None


def _metrics(statistics: dict[str, Any]) -> list[Metric]:
    section = next(name for name in statistics if name.endswith("_metrics"))
    held = {name: entry["value"] for name, entry in statistics[section].items() if isinstance(entry, dict) and isinstance(entry.get("value"), float)}
    return [Metric(name, value=value) for name, value in held.items()]
