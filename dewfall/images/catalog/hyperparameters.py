"""Hyperparameters of the built-in algorithms: their specifications as data, and one pure function that checks values against them.

Algorithm containers call it when they start and report what it raises as `ClientError: …`, as AWS's do. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_FILES = [Path(__file__).parent / name for name in ("hyperparameters.json", "neural_hyperparameters.json")]
_PLATFORM = ("sagemaker_", "_tuning_objective_metric")
# Settings of AWS's engine beneath its algorithms, which its examples give, too (object2vec's); there is nothing here that they could set.
_ENGINE = ("_num_gpus", "_num_kv_servers", "_kvstore", "_log_level", "_enable_profiler", "_disable_wait_to_read")
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
START = "Unable to initialize the algorithm. Failed to validate input hyperparameters. (caused by ValidationError)\n\nCaused by: "


@cache
def specifications(algorithm: str) -> tuple[dict[str, Any], ...]:
    """Each hyperparameter: name, type (Integer|Continuous|Categorical|Boolean|List|FreeText), required, default, range, tunable.

    min/max are inclusive, above/below exclusive, `multiple` divides the value; `values` are the choices (also words that a number may be
    replaced by: "auto").
    """
    entries = next(found for found in (json.loads(file.read_text()).get(algorithm) for file in _FILES) if found is not None)
    return tuple({"name": name, **entry} for name, entry in entries.items())


def validate(algorithm: str, hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Typed values by name, defaults filled in (a default of null is None). Raises ValueError with AWS's message.

    >>> validate("kmeans", {"k": "3", "feature_dim": "2"})["init_method"]
    'random'
    """
    known = {entry["name"]: entry for entry in specifications(algorithm)}
    for name in hyperparameters:
        if name not in known and name not in _ENGINE and not name.startswith(_PLATFORM):
            raise ValueError(f"{START}Additional properties are not allowed ('{name}' was unexpected)")
    resolved: dict[str, Any] = {}
    for name, entry in known.items():
        if name in hyperparameters:
            resolved[name] = parse(entry, hyperparameters[name])
        elif entry.get("required"):
            raise ValueError(f"{START}'{name}' is a required property")
        else:
            resolved[name] = entry.get("default")
    return resolved


def parse(entry: Mapping[str, Any], text: str) -> Any:
    """One value of its type and within its range."""
    value = _unquoted(text)
    if value in entry.get("values", ()):
        return value
    kind = entry["type"]
    if kind == "Categorical":
        raise ValueError(f"{START}{value!r} is not one of {entry['values']!r} for '{entry['name']}'")
    if kind == "Boolean":
        return _boolean(entry["name"], value)
    if kind == "List":
        return _list(entry, value)
    if kind in ("Integer", "Continuous"):
        return _number(entry, value)
    return value


def _unquoted(text: str) -> str:
    """SDKs may send text JSON-encoded."""
    stripped = text.strip()
    return stripped[1:-1] if len(stripped) > 1 and stripped[0] == stripped[-1] == '"' else stripped


def _boolean(name: str, value: str) -> bool:
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise ValueError(f"{START}{value!r} is not of type 'boolean' for '{name}'")


def _list(entry: Mapping[str, Any], value: str) -> list[str]:
    items = json.loads(value) if value.startswith("[") else [item.strip() for item in value.split(",") if item.strip()]
    for item in items:
        if entry.get("items") and item not in entry["items"]:
            raise ValueError(f"{START}{item!r} is not one of {entry['items']!r} for '{entry['name']}'")
    return list(items)


def _number(entry: Mapping[str, Any], value: str) -> int | float:
    name, kind = entry["name"], entry["type"]
    try:
        number = float(value)
        if not math.isfinite(number) or (kind == "Integer" and number != int(number)):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{START}{value!r} is not of type '{'integer' if kind == 'Integer' else 'number'}' for '{name}'") from None
    result = int(number) if kind == "Integer" else number
    if number < entry.get("min", number) or number <= entry.get("above", number - 1):
        bound = entry.get("min", entry.get("above"))
        raise ValueError(f"{START}{result} is less than the minimum of {bound} for '{name}'")
    if number > entry.get("max", number) or number >= entry.get("below", number + 1):
        bound = entry.get("max", entry.get("below"))
        raise ValueError(f"{START}{result} is greater than the maximum of {bound} for '{name}'")
    if "multiple" in entry and result % entry["multiple"]:
        raise ValueError(f"{START}{result} is not a multiple of {entry['multiple']} for '{name}'")
    return result
