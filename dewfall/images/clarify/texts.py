"""SHAP of texts: a text's tokens, sentences or paragraphs are players that the baseline's text replaces; other columns are players as a whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dewfall.images.clarify import shap
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.dataset import Dataset
from dewfall.images.contract import UserError
from dewfall.ml.explain import kernel_shap

UNITS = {
    "token": re.compile(r"\w+|[^\w\s]"),
    "sentence": re.compile(r"[^.!?。！？\n]+[.!?。！？]*"),
    "paragraph": re.compile(r"[^\n]+(?:\n(?!\s*\n)[^\n]+)*"),
}
TOP = 50


@dataclass(frozen=True, slots=True)
class Player:
    """A column as a whole (text ""), or a piece of a text column from `start` to `end`."""

    column: int
    start: int = 0
    end: int = 0
    text: str = ""


def players(row: NDArray[Any], is_text: list[bool], granularity: str) -> list[Player]:
    """The players of a record, in the order of its columns.

    >>> [p.text for p in players(np.array(["Good, bad", 3], dtype=object), [True, False], "token")]
    ['Good', ',', 'bad', '']
    """
    found = []
    for column, value in enumerate(row):
        if not is_text[column]:
            found.append(Player(column))
            continue
        pieces = [m for m in UNITS[granularity].finditer(str(value or "")) if m.group().strip()]
        for piece in pieces:
            shift = len(piece.group()) - len(piece.group().lstrip())
            found.append(Player(column, piece.start() + shift, piece.end(), piece.group().strip()))
    return found


def without(row: NDArray[Any], held: list[Player], mask: NDArray[np.bool_], baseline: NDArray[Any], is_text: list[bool]) -> list[Any]:
    """The record with the players that are out replaced by the baseline's: its value, or its text in each piece's place."""
    made = list(row)
    for column, text in enumerate(is_text):
        mine = [(player, bool(stays)) for player, stays in zip(held, mask, strict=True) if player.column == column]
        if not text:
            made[column] = row[column] if all(stays for _, stays in mine) else baseline[column]
            continue
        whole, at, parts = str(row[column] or ""), 0, []
        for player, stays in mine:
            parts += [whole[at : player.start], whole[player.start : player.end] if stays else str(baseline[column] or "")]
            at = player.end
        made[column] = "".join([*parts, whole[at:]])
    return made


def explain(
    analysis: Analysis, data: Dataset, scores: Callable[[Any], Any], output: Path, background: NDArray[Any], settings: dict[str, Any]
) -> shap.Found:
    """Explain every record; writes explanations_shap/out.jsonl."""
    granularity = str(settings["text_config"].get("granularity", "token"))
    if granularity not in UNITS:
        raise UserError(f"shap: granularity '{granularity}' is not one of {', '.join(UNITS)}.")
    rows = shap.table(data)
    is_text = [dtype == pl.String for dtype in data.frame.select(data.features).dtypes]
    if not any(is_text):
        raise UserError("shap: text_config is given, but the dataset has no text feature.")
    folder = output / shap.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    expected, whole = np.zeros(0), []
    labels: tuple[str, ...] = ()
    tops: dict[str, list[Any]] = {}
    with (folder / "out.jsonl").open("w") as file:
        for number, row in enumerate(rows):
            held = players(row, is_text, granularity)
            values, expected = piece_values(row, held, is_text, scores, background, settings)
            labels = labels or shap.label_names(analysis, expected)
            file.write(json.dumps({"explanations": _record(data.features, is_text, held, values)}) + "\n")
            whole.append([values[[p.column == column for p in held]].sum(axis=0) for column in range(rows.shape[1])])
            for player, value in zip(held, values, strict=True):
                if player.text:
                    tops.setdefault(player.text, []).append(np.abs(value))
            if (number + 1) % shap.PART == 0 or number + 1 == len(rows):
                print(f"SHAP values of {number + 1} of {len(rows)} records", flush=True)
    local = np.asarray(whole)
    most = int(settings["text_config"].get("max_top_tokens", TOP))
    document = {label: _overall(k, float(expected[k]), local, data.features, is_text, tops, most) for k, label in enumerate(labels)}
    return shap.Found(document, local, rows, data.features, labels, expected)


def piece_values(
    row: NDArray[Any], held: list[Player], is_text: list[bool], scores: Callable[[Any], Any], background: NDArray[Any], settings: dict[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each player (p, k) of a record adds to the scores, and the scores (k,) where all are replaced."""

    def predict(masks: NDArray[Any]) -> NDArray[np.float64]:
        asked = [without(row, held, mask > 0.5, base, is_text) for mask in masks for base in background]
        return np.asarray(np.asarray(scores(asked)).reshape(len(masks), len(background), -1).mean(axis=1))

    if not held:
        whole = np.asarray(scores([list(row)]))
        return np.zeros((0, whole.shape[1])), whole[0]
    everyone, nobody = np.ones((1, len(held))), np.zeros((1, len(held)))
    try:
        found = kernel_shap(
            predict,
            everyone,
            nobody,
            num_samples=settings.get("num_samples"),
            use_logit=bool(settings.get("use_logit", False)),
            seed=int(settings.get("seed") or 0),
        )
    except ValueError as error:
        raise UserError(f"shap: {error}.") from None
    return found.values[0], found.expected


def _record(features: tuple[str, ...], is_text: list[bool], held: list[Player], values: NDArray[np.float64]) -> list[dict[str, Any]]:
    found = []
    for column, name in enumerate(features):
        mine = [(player, value) for player, value in zip(held, values, strict=True) if player.column == column]
        attributions: list[dict[str, Any]] = []
        for player, value in mine:
            entry: dict[str, Any] = {"attribution": value.tolist()}
            if is_text[column]:
                entry["description"] = {"partial_text": player.text, "start_idx": player.start}
            attributions.append(entry)
        found.append({"feature_name": name, "data_type": "free_text" if is_text[column] else "numerical", "attributions": attributions})
    return found


def _overall(
    k: int, expected: float, local: NDArray[np.float64], features: tuple[str, ...], is_text: list[bool], tops: dict[str, list[Any]], most: int
) -> dict[str, Any]:
    """Global values of the columns that are not texts, and the weightiest pieces of text."""
    ranked = sorted(((float(np.mean([value[k] for value in values])), text) for text, values in tops.items()), reverse=True)[:most]
    plain = {name: float(np.abs(local[:, i, k]).mean()) for i, name in enumerate(features) if not is_text[i]}
    document: dict[str, Any] = {"expected_value": expected, "global_top_shap_text": {text: value for value, text in ranked}}
    return document | ({"global_shap_values": plain} if plain else {})
