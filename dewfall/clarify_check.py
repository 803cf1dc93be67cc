"""`dewfall clarify-check ANALYSIS CONSTRAINTS`: a Clarify job's output against a baseline's, as the pipeline step ClarifyCheck holds them together.

Why a command: the check is the last thing that CI wants of a Clarify job, and its exit code is what CI reads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dewfall.environment import clients
from dewfall.settings import Settings

ANALYSIS, VIOLATIONS = "analysis.json", "constraint_violations.json"
REMOTE = "s3://"
VIOLATED, UNCHECKED = 1, 2


def check(settings: Settings, analysis: str, constraints: str, output: str | None) -> int:
    """Write constraint_violations.json beside the analysis, or to `output`; 1 where there are violations, 2 where nothing was checked."""
    from botocore.exceptions import BotoCoreError, ClientError

    from dewfall.ml import violations

    place = output or _beside(analysis)
    try:
        found = violations.clarify(_read(settings, analysis), _read(settings, constraints))
        _write(settings, place, json.dumps(found, indent=1))
    except (ValueError, OSError, BotoCoreError, ClientError) as problem:
        print(f"dewfall: nothing was checked: {problem}", file=sys.stderr)
        return UNCHECKED
    for one in found["violations"]:
        about = f"{one['facet']}={one['facet_value']} {one['metric_name']}" if "facet" in one else one["label"]
        print(f"{about}: {one['description']}")
    print(f"{len(found['violations'])} violations, written to {place}")
    return VIOLATED if found["violations"] else 0


def is_remote(*places: str | None) -> bool:
    """Whether any of them lies in S3."""
    return any((place or "").startswith(REMOTE) for place in places)


def _file(place: str, name: str) -> str:
    """The file that is meant: one of that name, where a folder or a prefix is given."""
    if is_remote(place):
        return place if place.endswith(".json") else f"{place.rstrip('/')}/{name}"
    return str(Path(place) / name) if Path(place).is_dir() else place


def _beside(analysis: str) -> str:
    return f"{_file(analysis, ANALYSIS).rpartition('/')[0] or '.'}/{VIOLATIONS}"


def _read(settings: Settings, place: str) -> dict[str, Any]:
    file = _file(place, ANALYSIS)
    if is_remote(file):
        bucket, _, key = file.removeprefix(REMOTE).partition("/")
        text = clients(settings, "s3")["s3"].get_object(Bucket=bucket, Key=key)["Body"].read()
    else:
        text = Path(file).read_bytes()
    try:
        found = json.loads(text)
    except ValueError as problem:
        raise ValueError(f"{file} is not valid JSON: {problem}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no JSON object")
    return found


def _write(settings: Settings, place: str, text: str) -> None:
    file = _file(place, VIOLATIONS)
    if is_remote(file):
        bucket, _, key = file.removeprefix(REMOTE).partition("/")
        clients(settings, "s3")["s3"].put_object(Bucket=bucket, Key=key, Body=text.encode())
    else:
        Path(file).write_text(text)
