"""CreateXgboostReport: one HTML page on an XGBoost run: its metrics, importances and, where they were saved, labels against predictions."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dewfall.ml.debugging.trial import Trial

FILE = "xgboost_report.html"
SIZE = (640, 240)
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
STYLE = "body{font:15px sans-serif;max-width:48em;margin:2em auto}td,th{padding:.1em 1em;text-align:right}svg{border:1px solid #ccc}"
IMPORTANCE = "feature_importance/"


def write(trial: Trial, folder: str, job: str) -> None:
    """Leave the page in the rule's output folder."""
    parts = [f"<h1>XGBoost report of {html.escape(job)}</h1>", *_losses(trial), *_importances(trial), *_outcome(trial)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / FILE).write_text(f"<!doctype html><meta charset=utf-8><title>{html.escape(job)}</title><style>{STYLE}</style>{''.join(parts)}")


def _losses(trial: Trial) -> list[str]:
    names = trial.names(collections=("metrics",))
    curves = {name: [(step, trial.scalar(name, mode, step)) for mode in trial.modes(name) for step in trial.steps(name, mode)] for name in names}
    rows = [(name, f"{curve[0][1]:.6g}", f"{min(value for _, value in curve):.6g}", f"{curve[-1][1]:.6g}") for name, curve in curves.items()]
    parts = ["<h2>Metrics</h2>", _table(("metric", "first", "least", "last"), rows)]
    for metric in dict.fromkeys(name.partition("-")[2] for name in names):
        chosen = {name: curve for name, curve in curves.items() if name.partition("-")[2] == metric}
        parts += [f"<h3>{html.escape(metric)}</h3>", _plot(chosen)]
    return parts


def _importances(trial: Trial) -> list[str]:
    parts = []
    names = trial.names(f"^{IMPORTANCE}")
    for kind in dict.fromkeys(name.split("/")[1] for name in names):
        mine = [name for name in names if name.split("/")[1] == kind]
        values = [(name.split("/", 2)[2], trial.scalar(name, trial.modes(name)[0], trial.steps(name, trial.modes(name)[0])[-1])) for name in mine]
        rows = [(name, f"{value:.4f}") for name, value in sorted(values, key=lambda pair: -pair[1])[:20]]
        parts += [f"<h2>Feature importance: {html.escape(kind)}</h2>", _table(("feature", "share"), rows)]
    return parts


def _outcome(trial: Trial) -> list[str]:
    """The confusion matrix of few classes, else how far the predictions are off."""
    found = {}
    for name in ("labels", "predictions"):
        for mode in trial.modes(name):
            found[name] = trial.value(name, mode, trial.steps(name, mode)[-1])
    if len(found) < 2 or len(found["labels"]) != len(found["predictions"]):
        return []
    labels, predictions = found["labels"].reshape(-1), found["predictions"]
    classes = np.unique(labels)
    if len(classes) > 10 or not np.array_equal(classes, np.rint(classes)):
        errors = predictions.reshape(-1) - labels
        rows = [("mean error", f"{errors.mean():.6g}"), ("mean absolute error", f"{np.abs(errors).mean():.6g}")]
        return ["<h2>Errors of the last saved step</h2>", _table(("", ""), rows)]
    guessed = predictions.argmax(axis=-1) if predictions.ndim > 1 else np.rint(predictions)
    counts = [(f"label {one:g}", *(str(int(np.sum((labels == one) & (guessed == other)))) for other in classes)) for one in classes]
    return ["<h2>Confusion matrix of the last saved step</h2>", _table(("", *(f"predicted {one:g}" for one in classes)), counts)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>{body}</table>"


def _plot(curves: dict[str, list[tuple[int, float]]]) -> str:
    width, height = SIZE
    points = [point for curve in curves.values() for point in curve if np.isfinite(point[1])]
    if not points:
        return ""
    last, low, high = max(1, max(step for step, _ in points)), min(value for _, value in points), max(value for _, value in points)
    lines, legend = [], []
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        at = " ".join(f"{width * s / last:.1f},{height * (1 - (v - low) / ((high - low) or 1)):.1f}" for s, v in curve if np.isfinite(v))
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{at}"/>')
        legend.append(f'<span style="color:{colour}">{html.escape(name)}</span>')
    return f'<svg viewBox="-4 -4 {width + 8} {height + 8}" width="{width}">{"".join(lines)}</svg><p>{" · ".join(legend)}</p>'
