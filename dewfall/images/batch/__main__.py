"""What the job runs: waits for its replicas' addresses, asks them how they want records, sends all files, and says how it went."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from dewfall.images import contract
from dewfall.images.batch.calls import Instance
from dewfall.images.batch.filters import Processing
from dewfall.images.batch.loop import MEGABYTE, File, Settings, transform

LOOK = 0.02  # seconds between looks for the addresses
DEFAULTS = {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6, "BatchStrategy": "MULTI_RECORD"}
STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
RESULTS, INPUTS = "results.json", "inputs.json"  # of the files that went well: where their output goes, and what they are
CLIENT_TIMEOUT, CLIENT_RETRIES = 600, 3


def main() -> None:
    """The whole job; exit code 1, with the reason in /opt/ml/output/failure, when a file has failed."""
    signal.signal(signal.SIGTERM, _end)
    config = contract.read_config("batch.json")
    client = config.get("ModelClientConfig", {})
    timeout, retries = client.get("InvocationsTimeoutInSeconds", CLIENT_TIMEOUT), client.get("InvocationsMaxRetries", CLIENT_RETRIES)
    instances = [Instance(addresses, timeout, retries) for addresses in wait_for_addresses(Path(os.environ["DEWFALL_REPLICAS"]))]
    settings = choose(config, instances[0].parameters())
    target = contract.folders().output_data
    target.mkdir(parents=True, exist_ok=True)
    source = contract.folders().data / "batch"
    files = [File(entry["name"], source / str(n), target / str(n)) for n, entry in enumerate(config["Files"])]
    kind = transform(instances, files, settings, say)
    done = {str(n): entry["output"] for n, entry in enumerate(config["Files"]) if not files[n].failed}
    (target / INPUTS).write_text(json.dumps({n: config["Files"][int(n)]["name"] for n in done}))
    (target / RESULTS).write_text(json.dumps(done))
    if kind:
        contract.write_failure(f"{kind}: See job logs for more information")
        sys.exit(1)


def wait_for_addresses(file: Path) -> list[list[str]]:
    """Per instance the addresses of its containers, once all of them have answered a ping."""
    while True:
        try:
            addresses: list[list[str]] = json.loads(file.read_text())
        except (OSError, ValueError):
            time.sleep(LOOK)
            continue
        return addresses


def choose(config: dict[str, Any], told: dict[str, Any]) -> Settings:
    """The request's word comes first, then the container's, then AWS's defaults."""
    asked = {name: config[name] for name in DEFAULTS if config.get(name) is not None}
    if "BatchStrategy" in asked:
        asked["BatchStrategy"] = STRATEGIES[asked["BatchStrategy"]]
    if not asked.get("MaxConcurrentTransforms", 1):
        del asked["MaxConcurrentTransforms"]
    chosen = {**DEFAULTS, **{name: told[name] for name in DEFAULTS if told.get(name) is not None}, **asked}
    say(", ".join(f"{name}={chosen[name]}" for name in DEFAULTS))
    source, target, filters = config["TransformInput"], config["TransformOutput"], config.get("Processing", {})
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kind = source.get("ContentType", "").split(";")[0].strip().lower()
    return Settings(
        split=source.get("SplitType", "None"),
        assemble=target.get("AssembleWith", "None"),
        compression=source.get("CompressionType", "None"),
        content_type=source.get("ContentType", ""),
        accept=target.get("Accept", ""),
        multi=chosen["BatchStrategy"] == "MULTI_RECORD",
        payload=int(chosen["MaxPayloadInMB"]) * MEGABYTE,
        concurrent=max(1, int(chosen["MaxConcurrentTransforms"])),
        processing=Processing(
            kind,
            target.get("Accept", ""),
            filters.get("Input", []),
            filters.get("Output", []),
            filters.get("Join", False),
            began if filters.get("Stamp") else "",
        ),
    )


def say(text: str) -> None:
    """A line of the job's data-log, as AWS writes them."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    print(f"{stamp}:[sagemaker logs]: {text}", flush=True)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
