"""What transform jobs read and wrote, as exchanges: a record of an input beside the record of its output, and the inference id that names it.

    <source>/0/input/a.csv          1.5,2,0
    <source>/0/output/a.csv.out     0.91,7c9e6679-7425-40de-944b-e07fc1f90ae7,2026-01-01T00:00:00Z     GenerateInferenceId's two columns

Why by their places: a transform job writes the records of a file in the order in which it read them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dewfall.images.contract import UserError

OUT = ".out"
ID, TIME = "SageMakerInferenceId", "SageMakerInferenceTime"
LINES, DOCUMENT, CSV = "application/jsonlines", "application/json", "text/csv"


def exchanges(source: Path, form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line of AWS's capture format for each record. Raises UserError for files that do not belong together."""
    for job in sorted(source.iterdir()):
        for given, answered in _pairs(job / "input", job / "output"):
            yield from _of_file(given, answered, form)


def _pairs(inputs: Path, outputs: Path) -> Iterator[tuple[Path, Path]]:
    """Inputs with their outputs; a file that failed has none and is left out."""
    known = {str(path.relative_to(inputs)): path for path in sorted(inputs.rglob("*")) if path.is_file()}
    for path in sorted(outputs.rglob(f"*{OUT}")):
        name = str(path.relative_to(outputs)).removesuffix(OUT)
        alike = [known[name]] if name in known else [one for one in known.values() if one.name == Path(name).name]
        if len(alike) != 1:
            raise UserError(f"The captured output {name}{OUT} has {len(alike)} inputs of its name; it needs one.")
        yield alike[0], path


def _of_file(given: Path, answered: Path, form: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sent, kind = _records(given, form)
    answers, said = _records(answered, form)
    if len(sent) != len(answers):
        raise UserError(f"The input {given.name} has {len(sent)} records, its output {len(answers)}.")
    for one, other in zip(sent, answers, strict=True):
        answer, event = _named(other, said)
        yield {
            "captureData": {
                "endpointInput": {"observedContentType": kind, "mode": "INPUT", "data": one, "encoding": "CSV" if kind == CSV else "JSON"},
                "batchTransformOutput": {"observedContentType": said, "mode": "OUTPUT", "data": answer, "encoding": "CSV" if said == CSV else "JSON"},
            },
            "eventMetadata": event,
            "eventVersion": "0",
        }


def _records(path: Path, form: dict[str, Any]) -> tuple[list[str], str]:
    """The records of a file as text, and what they are. An output may be JSON where the input is CSV."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].lstrip().startswith(("{", "[")):
        by_line = all(_is_json(line) for line in lines[:2])
        return (lines, LINES) if by_line and len(lines) > 1 else _documents(path, text)
    kind = next(iter(form))
    if kind == "parquet":
        raise UserError(f"The captured file {path.name} is Parquet; CSV and JSON records can be told apart here.")
    has_header = kind == "csv" and bool((form["csv"] or {}).get("header"))
    return lines[1:] if has_header else lines, CSV


def _documents(path: Path, text: str) -> tuple[list[str], str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"The captured file {path.name} is not valid JSON: {error}") from None
    held = next(iter(found.values())) if isinstance(found, dict) and len(found) == 1 else None
    if isinstance(held, list) and held and all(isinstance(one, (dict, list)) for one in held):
        found = held  # {"instances": [record, …]}
    return ([json.dumps(one) for one in found], DOCUMENT) if isinstance(found, list) else ([json.dumps(found)], DOCUMENT)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _named(record: str, kind: str) -> tuple[str, dict[str, Any]]:
    """The model's answer without what GenerateInferenceId has put to it, and the event that this makes."""
    if kind == CSV:
        cells = next(csv.reader(io.StringIO(record)))
        if len(cells) < 3 or not _is_id(cells[-2]):
            return record, {}
        held = io.StringIO()
        csv.writer(held, lineterminator="").writerow(cells[:-2])
        return held.getvalue(), {"inferenceId": cells[-2], "inferenceTime": cells[-1]}
    document = json.loads(record)
    if not isinstance(document, dict) or ID not in document:
        return record, {}
    event = {"inferenceId": str(document.pop(ID)), "inferenceTime": str(document.pop(TIME, ""))}
    return json.dumps(document), event


def _is_id(cell: str) -> bool:
    return len(cell) == 36 and [len(part) for part in cell.split("-")] == [8, 4, 4, 4, 12]
