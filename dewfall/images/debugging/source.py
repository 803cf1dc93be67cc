"""A training job's tensors in S3 as a Trial: index files tell of new ones, values are read when a rule asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dewfall.images.debugging.events import decode
from dewfall.images.debugging.folder import END_OF_JOB, members
from dewfall.images.debugging.reading import Reading
from dewfall.ml.debugging.trial import Array, Trial

BATCH = 100  # index files at a time: a fast job saves thousands of steps before a rule has seen the first


class Source:
    """The tensors below a reader's prefix."""

    def __init__(self, reader: Reading) -> None:
        self.reader = reader
        self.trial = Trial()
        self.places: dict[int, tuple[str, int]] = {}  # step → its mode, and its number among the steps of that mode
        self.is_behind = False  # whether more steps are there than have been taken
        self._seen = ""
        self._bodies: dict[str, bytes] = {}

    def has_ended(self) -> bool:
        """Whether nothing more will come. To be asked before `update`, until that is no more behind, so that what came before the end is seen."""
        return bool(self.reader.keys(END_OF_JOB))

    def update(self) -> list[int]:
        """The next steps that are new, in order; their tensors are in the trial then."""
        found = self.reader.keys("index/", self._seen, BATCH)
        self.is_behind = len(found) == BATCH
        keys = [key for key in found if key.endswith(".json") and not key.rpartition("/")[2].startswith(".")]
        self._seen = found[-1] if found else self._seen
        if not keys:
            return []
        self._bodies.clear()
        self.trial.collections = members(self.reader.read(key) for key in self.reader.keys("collections/") if key.endswith(".json"))
        steps = []
        for key in keys:
            index = json.loads(self.reader.read(key))
            step = int(key.rpartition("/")[2].partition("_")[0])
            steps.append(step)
            meta = index["meta"]
            self.places[step] = (meta["mode"], int(meta.get("mode_step", step)))
            for entry in index["tensor_payload"] or ():
                self.trial.add(entry["tensorname"], meta["mode"], step, self._fetch(meta["event_file_name"], entry))
        return sorted(set(steps))

    def _fetch(self, file: str, entry: dict[str, Any]) -> Callable[[], Array]:
        def fetch() -> Array:
            if file not in self._bodies:
                if len(self._bodies) > 8:
                    self._bodies.clear()
                self._bodies[file] = self.reader.read(file)
            start = entry["start_idx"]
            return next(decode(self._bodies[file][start : start + entry["length"]])).value

        return fetch
