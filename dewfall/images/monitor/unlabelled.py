"""How good a binary classifier probably is on the window's requests whose labels have not come yet: its scores, calibrated on those that have."""

from __future__ import annotations

from typing import Any

from dewfall.images import contract
from dewfall.images.contract import UserError
from dewfall.images.monitor import model, records, truth
from dewfall.images.monitor.settings import Settings
from dewfall.ml import estimation, quality

FEWEST = 50  # labelled rows below which nothing is said
NAMES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "f1", "roc_auc": "auc"}


def estimate(settings: Settings, labels: list[Any], scores: list[float] | None) -> tuple[int, dict[str, float]] | None:
    """(rows without labels, metric → expected value); None where there are none, or too few labels to calibrate on."""
    if settings.problem != quality.BINARY or not scores or not settings.is_captured or len(labels) < FEWEST or len(set(labels)) != 2:
        return None
    waiting = _scores(settings)
    if not waiting:
        return None
    positive = max(set(labels), key=str)
    chances = estimation.calibrate(scores, [label == positive for label in labels])(waiting)
    limit = model.score(settings.attribute("probability_threshold_attribute") or 0.5, "probability_threshold_attribute")
    found = estimation.estimate(chances, [value > limit for value in waiting])
    return len(waiting), {NAMES[name]: value for name, value in found.items()}


def _scores(settings: Settings) -> list[float]:
    """The scores of single-record requests that no ground truth tells of; what cannot be read says nothing."""
    known = truth.read(contract.folders().home / "processing" / "groundtruth")
    found = []
    for capture in records.captures(settings):
        if capture.key not in known and len(capture.input.splitlines()) < 2:
            try:
                text = model.picked(capture.output, capture.output_type, settings.attribute("probability_attribute"))
                found.append(model.score(text, "probability_attribute"))
            except UserError:
                continue
    return found
