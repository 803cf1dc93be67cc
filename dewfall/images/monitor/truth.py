"""Ground truth joined to captured predictions by inference id, else event id; the joined lines as AWS's merge job writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from dewfall.images.contract import UserError
from dewfall.images.monitor.records import Capture, files, read_capture


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Ground truth lines by the event that they tell of; the last of several counts. Raises UserError for what is no such line."""
    found: dict[str, dict[str, Any]] = {}
    for path in files(folder):
        for number, line in enumerate(path.read_text().splitlines()):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
                found[str(document["eventMetadata"]["eventId"])] = document["groundTruthData"]
            except (ValueError, KeyError, TypeError):
                raise UserError(
                    f"Line {number + 1} of {path.name} is no ground truth: eventMetadata.eventId and groundTruthData are needed."
                ) from None
    return found


def join(captures: Iterable[Capture], truth: dict[str, dict[str, Any]]) -> Iterator[Capture]:
    """Captures with their ground truth; those without are left out."""
    for capture in captures:
        held = truth.get(capture.key)
        if held is not None:
            yield replace(read_capture({**capture.document, "groundTruthData": held}), place=capture.place)


def write(merged: list[Capture], folder: Path) -> None:
    """The merged lines in a part file for each folder (variant and hour) that they were captured in."""
    places: dict[str, list[Capture]] = {}
    for capture in merged:
        places.setdefault(capture.place, []).append(capture)
    for place, held in places.items():
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / "part-00000.jsonl").write_text("".join(json.dumps(capture.document) + "\n" for capture in held))
