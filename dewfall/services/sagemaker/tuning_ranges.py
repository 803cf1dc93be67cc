"""The hyperparameter ranges of a training definition: as the request gives them, or around the hints of Autotune; checked against the algorithm.

Why apart from the trials: the checks ask for them before there is a job, and what may be tuned is the algorithm's to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dewfall.errors import AwsError, validation
from dewfall.services.sagemaker.training_checks import PROGRAM, SCRIPTS

if TYPE_CHECKING:
    from dewfall.ml.tuning import Range

# An AutoParameter is searched up to so many times its hint, and down to as small a part of it.
HINT_FACTOR = {"continuous": 10.0, "integer": 3.0}
MOST_RANGES = 30
TEXTS = "Categorical", "FreeText", "List"


def ranges_of(definition: dict[str, Any]) -> list[Range]:
    """A definition's ranges as the search takes them. ValidationException for what is no number."""
    given = definition.get("HyperParameterRanges") or {}
    return [
        *(_numbers("integer", one) for one in given.get("IntegerParameterRanges", ())),
        *(_numbers("continuous", one) for one in given.get("ContinuousParameterRanges", ())),
        *(_categorical(one["Name"], one["Values"]) for one in given.get("CategoricalParameterRanges", ())),
        *(found for _, _, found in _hints(definition) if found is not None),
    ]


def fixed_hints(definition: dict[str, Any]) -> dict[str, str]:
    """AutoParameters that are not eligible for tuning: every trial gets the hint."""
    return {name: hint for name, hint, found in _hints(definition) if found is None}


def own_ranges(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition as Autotune completes it: without ranges, a built-in algorithm's tunable hyperparameters around their defaults."""
    if any((definition.get("HyperParameterRanges") or {}).values()):
        return definition
    static = definition.get("StaticHyperParameters", {})
    tunable = [entry for name, entry in _specifications(definition).items() if entry.get("tunable") and name not in static]
    hints = [{"Name": entry["name"], "ValueHint": str(entry["default"]).lower()} for entry in tunable if entry.get("default") is not None]
    return {**definition, "HyperParameterRanges": {"AutoParameters": hints}}


def check_ranges(definition: dict[str, Any], ranges: list[Range]) -> None:
    """Raise the AwsError that answers ranges which cannot be searched, or which the algorithm does not have."""
    from dewfall.ml.tuning import check_range

    names = [one.name for one in ranges]
    fixed = [name for name in names if name in definition.get("StaticHyperParameters", {})]
    if len(set(names)) != len(names) or fixed:
        raise validation(f"Hyperparameters must be specified once, as static or as a range: {', '.join(fixed or names)}.")
    if len(names) > MOST_RANGES:
        raise validation(f"A hyperparameter tuning job can search at most {MOST_RANGES} hyperparameters, not {len(names)}.")
    specifications = _specifications(definition)
    for one in ranges:
        try:
            check_range(one)
        except ValueError as error:
            raise validation(f"Invalid hyperparameter {error}") from None
        if specifications:
            _check_tunable(definition, specifications, one)


def check_static(definition: dict[str, Any]) -> None:
    """Raise the AwsError that answers a static value which the built-in algorithm does not take; every trial would fail of it."""
    from dewfall.images.catalog.hyperparameters import START, parse

    specifications = _specifications(definition)
    for name, text in definition.get("StaticHyperParameters", {}).items():
        try:
            if name in specifications:
                parse(specifications[name], text)
        except ValueError as error:
            raise validation(f"The static hyperparameter, [{name}], isn't valid: {str(error).removeprefix(START)}.") from None


def _check_tunable(definition: dict[str, Any], specifications: Mapping[str, dict[str, Any]], one: Range) -> None:
    from dewfall.images.catalog.hyperparameters import START, parse

    entry, image = specifications.get(one.name, {}), definition["AlgorithmSpecification"]["TrainingImage"]
    if not entry.get("tunable"):
        tunable = ", ".join(name for name, found in specifications.items() if found.get("tunable")) or "none"
        message = f"The hyperparameter, [{one.name}], isn't tunable for the [{image}] algorithm. Choose tunable hyperparameters: {tunable}."
        raise validation(message)
    try:
        for text in one.values or (f"{one.low:.17g}", f"{one.high:.17g}"):
            parse(entry, text)
    except ValueError as error:
        raise validation(f"The range of the hyperparameter, [{one.name}], isn't valid: {str(error).removeprefix(START)}.") from None


def _specifications(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a built-in algorithm says of its hyperparameters, by name; nothing for frameworks and users' own scripts."""
    from dewfall.images import catalog

    image = catalog.find(definition["AlgorithmSpecification"].get("TrainingImage", ""))
    if image is None or PROGRAM in definition.get("StaticHyperParameters", {}) or image.algorithm in SCRIPTS:
        return {}
    return {entry["name"]: entry for entry in image.hyperparameters}


def _hints(definition: dict[str, Any]) -> Iterator[tuple[str, str, Range | None]]:
    """(name, hint, range) of each AutoParameter; no range for one that is not eligible."""
    given = (definition.get("HyperParameterRanges") or {}).get("AutoParameters", ())
    specifications = _specifications(definition) if given else {}
    for one in given:
        entry = specifications.get(one["Name"], {"tunable": not specifications})
        yield one["Name"], one["ValueHint"], _around_hint(one["Name"], one["ValueHint"].strip('"'), entry) if entry.get("tunable") else None


def _around_hint(name: str, hint: str, entry: Mapping[str, Any]) -> Range | None:
    """A multiple and a part of a number, as far as the algorithm allows; both values of a boolean, the values of a choice, else nothing."""
    from dewfall.ml.tuning import Range

    if entry.get("type") in TEXTS:
        return _categorical(name, entry["values"]) if len(entry.get("values", ())) > 1 else None
    if entry.get("type") == "Boolean" or hint.lower() in ("true", "false"):
        return _categorical(name, ["true", "false"])
    value = _finite(hint)
    if value is None:
        return None
    kind = str(entry.get("type", "")).lower() or ("integer" if value == int(value) and not set(".eE") & set(hint) else "continuous")
    factor = HINT_FACTOR[kind]
    low, high = (value / factor, value * factor) if value > 0 else (value * factor, 1.0)
    if 0 < value < 1:
        high = min(1.0, high)
    if kind == "integer":
        low, high = max(math.floor(low), 1 if value > 0 else math.floor(low)), math.ceil(high)
    low, high = max(low, entry.get("min", low)), min(high, entry.get("max", high))
    low = max(low, entry["above"] + (high - entry["above"]) / 1000) if "above" in entry else low
    high = min(high, entry["below"] - (entry["below"] - low) / 1000) if "below" in entry else high
    if low >= high:
        return None
    return Range(name, kind, low, high, "Logarithmic" if low > 0 else "Linear")


def _finite(hint: str) -> float | None:
    try:
        value = float(hint)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _numbers(kind: str, one: dict[str, Any]) -> Range:
    from dewfall.ml.tuning import Range

    return Range(one["Name"], kind, _number(one, "MinValue", kind), _number(one, "MaxValue", kind), one.get("ScalingType", "Auto"))


def _number(one: dict[str, Any], member: str, kind: str) -> float:
    try:
        return float(int(one[member])) if kind == "integer" else float(one[member])
    except ValueError:
        message = f"The {member} '{one[member]}' of hyperparameter {one['Name']} is not {'an integer' if kind == 'integer' else 'a number'}."
        raise AwsError("ValidationException", message) from None


def _categorical(name: str, values: list[str]) -> Range:
    from dewfall.ml.tuning import Range

    return Range(name, "categorical", values=tuple(values))
