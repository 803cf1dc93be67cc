"""A folder of saved tensors in smdebug's layout: written step by step by a hook, read by rules.

collections/000000000/worker_0_collections.json
events/<step>/<step>_worker_0.tfevents          the tensors
index/<step // 1000>/<step>_worker_0.json       which of them lies where; written last, so that whoever finds it finds them
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dewfall.images.debugging.config import HookConfig
from dewfall.images.debugging.events import Saved, encode

END_OF_JOB = "training_job_end.ts"


class TensorFolder:
    """The writer of one worker."""

    def __init__(self, config: HookConfig, worker: str = "worker_0") -> None:
        self.config, self.worker = config, worker
        self.names: dict[str, set[str]] = {collection.name: set() for collection in config.collections}

    def write(self, step: int, tensors: Iterable[tuple[str, str, Any]], mode: str = "GLOBAL", mode_step: int | None = None) -> None:
        """Save a step's tensors: (collection, name, value). A name that comes twice is saved once and belongs to both collections."""
        known = sum(map(len, self.names.values()))
        chosen: dict[str, Any] = {}
        for collection, name, value in tensors:
            self.names.setdefault(collection, set()).add(name)
            chosen.setdefault(name, value)
        if not chosen:
            return
        at = step if mode_step is None else mode_step
        self._write(step, [_saved(name, step, mode, at, value) for name, value in chosen.items()])
        if sum(map(len, self.names.values())) != known:
            _replace(self.config.folder / "collections" / f"{0:09d}" / f"{self.worker}_collections.json", json.dumps(self._collections()).encode())

    def _write(self, step: int, saved: list[Saved]) -> None:
        file = f"events/{step:012d}/{step:012d}_{self.worker}.tfevents"
        body, payload, now = bytearray(), [], time.time()
        for tensor in saved:
            record = encode(tensor, now)
            payload.append({"tensorname": tensor.name, "start_idx": len(body), "length": len(record)})
            body += record
        meta = {"mode": saved[0].mode, "mode_step": saved[0].mode_step, "event_file_name": file}
        index = {"meta": meta, "tensor_payload": payload, "shape_payload": []}
        _replace(self.config.folder / file, bytes(body))
        _replace(self.config.folder / f"index/{step // 1000:09d}/{step:012d}_{self.worker}.json", json.dumps(index).encode())

    def _collections(self) -> dict[str, Any]:
        known = {collection.name: collection for collection in self.config.collections}
        found = {}
        for name, tensors in self.names.items():
            own = known.get(name)
            found[name] = {
                "name": name,
                "include_regex": list(own.include) if own else [],
                "tensor_names": sorted(tensors),
                "reduction_config": None,
                "save_config": {mode.upper(): at.document() for mode, at in own.at.items()} if own else None,
                "save_histogram": True,
            }
        return {"collections": found, "_meta": {"num_workers": 1}}


def members(collections: Iterable[bytes]) -> Mapping[str, frozenset[str]]:
    """Collection → tensors, of the collections' files of all workers."""
    found: dict[str, frozenset[str]] = {}
    for body in collections:
        for name, entry in json.loads(body)["collections"].items():
            found[name] = found.get(name, frozenset()) | frozenset(entry["tensor_names"])
    return found


def _saved(name: str, step: int, mode: str, mode_step: int, value: Any) -> Saved:
    import numpy as np

    return Saved(name, step, mode, mode_step, np.asarray(value))


def _replace(path: Path, body: bytes) -> None:
    """A file that is there with all its bytes or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(body)
    os.replace(draft, path)
