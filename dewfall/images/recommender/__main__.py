"""`python -m dewfall.images.recommender`: read the test, load the endpoint, leave what was measured in the output folder."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from dewfall.images import contract
from dewfall.images.recommender import load, traffic

CONFIG, RESULT = "load.json", "load.json"
SUFFIXES = {".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonlines", ".txt": "text/plain"}


def main() -> int:
    """Load and measure; a refusal is told as every container tells it."""
    from botocore.session import get_session

    config = contract.read_config(CONFIG)
    try:
        payloads = read_payloads(contract.folders().data / "payload", config["ContentTypes"])
        target = load.Target(get_session(), config["EndpointName"], payloads)
        measured, why = load.run(target, traffic.levels(config["TrafficPattern"]), config["StoppingConditions"], say)
    except contract.UserError as error:
        contract.fail(str(error))
    except Exception as error:
        traceback.print_exc()
        contract.fail(f"The load test failed: {type(error).__name__}: {error}")
    say(f"Load test over: {why}.")
    folder = contract.folders().output_data
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps({"Levels": measured, "Why": why}))
    return 0


def read_payloads(folder: Path, types: list[str]) -> list[load.Payload]:
    """The archive's files, each with the content type that its name says, where the model takes that, else the first. Raises UserError."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    if not found:
        raise contract.UserError("The sample payload archive holds no file.")
    return [load.Payload(path.read_bytes(), _content_type(path, types)) for path in found]


def _content_type(path: Path, types: list[str]) -> str:
    likely = SUFFIXES.get(path.suffix.lower(), "")
    return likely if likely in types or (not types and likely) else (types[0] if types else "application/octet-stream")


def say(*words: Any) -> None:
    """A line of the log, at once."""
    print(*words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
