"""A small process beside the server that lays models out for multi-model replicas: one JSON line in, one out, several at a time.

    {"id": 1, "do": "unpack", "source": archive, "target": folder, "mark": text}  →  {"id": 1, "error": "", "value": bytes}
    {"id": 2, "do": "remove", "target": folder}                                     {"id": 2, "error": "", "value": 0}
    {"id": 3, "do": "measure", "target": agent's folder}                            {"id": 3, "error": "", "value": bytes of memory}

Why a process: unpacking may take seconds of computing, and the server has requests to pass on. It ends with the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dewfall.engine.agentstatus import read_document
from dewfall.engine.archives import BadArchive, unpack
from dewfall.engine.processes import descendants, die_with_parent, proportional

THREADS = 4
MODEL, MARK = "model", "mark"


def main() -> None:
    """Answer lines until there are no more."""
    die_with_parent()
    with ThreadPoolExecutor(THREADS) as pool:
        for line in sys.stdin.buffer:
            pool.submit(_answer, line)


def _answer(line: bytes) -> None:
    request = json.loads(line)
    try:
        value, error = ACTIONS[request["do"]](request), ""
    except FileNotFoundError as problem:
        value, error = 0, f"missing: {problem}"
    except (BadArchive, OSError) as problem:
        value, error = 0, str(problem)
    os.write(1, json.dumps({"id": request["id"], "error": error, "value": value}).encode() + b"\n")


def lay_out(request: dict[str, Any]) -> int:
    """Unpack an archive to `<target>/model`, whole or not at all; bytes unpacked. What lies there with the same mark stays."""
    folder = Path(request["target"])
    if not os.path.exists(request["source"]):
        raise FileNotFoundError(request["source"])
    with contextlib.suppress(OSError):
        if (folder / MARK).read_text() == request["mark"]:
            return _size(folder / MODEL)
    shutil.rmtree(folder, ignore_errors=True)
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        unpack(request["source"], str(draft / MODEL))
        (draft / MARK).write_text(request["mark"])
        os.rename(draft, folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return _size(folder / MODEL)


def remove(request: dict[str, Any]) -> int:
    """Remove a folder."""
    shutil.rmtree(request["target"], ignore_errors=True)
    return 0


def measure(request: dict[str, Any]) -> int:
    """Memory held by everything that an agent has started."""
    document = read_document(Path(request["target"])) or {}
    return proportional(descendants(int(document.get("pid") or 0))) if document.get("pid") else 0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


ACTIONS = {"unpack": lay_out, "remove": remove, "measure": measure}

if __name__ == "__main__":
    main()
