"""A training run as smdebug shows it, read from S3 or a folder while it goes on."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dewfall.images.debugging.analysis.errors import MissingCollectionFiles, NoMoreData, StepUnavailable, TensorUnavailable
from dewfall.images.debugging.analysis.tensor import WORKER, StepState, Tensor
from dewfall.images.debugging.reading import Reader, Reading
from dewfall.images.debugging.saving import ModeKeys
from dewfall.images.debugging.source import Source

POLL = 1.0
Range = tuple[int | None, int | None] | None


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as it was saved."""

    name: str
    tensor_names: frozenset[str]
    include_regex: tuple[str, ...] = ()


class FolderReader:
    """A Reader of a local folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keys(self, below: str, after: str = "", most: int = 0) -> list[str]:
        """The files whose names begin so, up to `after` left out; the first `most` of them."""
        names = (file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*") if file.is_file())
        return sorted(name for name in names if name.startswith(below) and name > after)[: most or None]

    def versions(self, below: str, after: str = "") -> dict[str, str]:
        """The same with something that changes when they do."""
        return {name: hashlib.md5(self.read(name), usedforsecurity=False).hexdigest() for name in self.keys(below, after)}

    def read(self, key: str) -> bytes:
        """A file's bytes."""
        return (self.folder / key).read_bytes()


class Trial:
    """smdebug's Trial. Looks for new steps whenever it is asked, unless `dynamic_refresh` is off."""

    def __init__(self, reader: Reading, name: str, path: str, range_steps: Range = None) -> None:
        self.name, self.path, self.range_steps = name, path, range_steps
        self.loaded_all_steps, self.dynamic_refresh = False, True
        self._source = Source(reader)
        self._await_collections(reader)

    def maybe_refresh(self, name: str | None = None) -> None:
        """Take what is new."""
        if self.loaded_all_steps or not self.dynamic_refresh:
            return
        has_ended = self._source.has_ended()
        self._source.update()
        self.loaded_all_steps = has_ended and not self._source.is_behind

    def catch_up(self) -> None:
        """Take all that is new; a refresh takes a batch."""
        self.maybe_refresh()
        while self.dynamic_refresh and self._source.is_behind:
            self.maybe_refresh()

    def tensor_names(
        self,
        show_prefixed_tensors: bool = False,
        *,
        step: int | None = None,
        mode: ModeKeys = ModeKeys.GLOBAL,
        regex: str | Iterable[str] | None = None,
        collection: str | Collection | None = None,
    ) -> list[str]:
        """Names of all tensors, or of those of a step, a mode, a pattern or a collection."""
        if regex is not None and collection is not None:
            raise ValueError("Only one of `regex` or `collection` can be passed to this method")
        self.maybe_refresh()
        places = {self.global_step(mode, step)} if step is not None else {self.global_step(mode, one) for one in self.known_steps(mode)}
        found = [name for name in self._source.trial.names() if self.steps_of(name) & places]
        if regex is not None:
            patterns = [regex] if isinstance(regex, str) else list(regex)
            found = [name for name in found if any(re.search(pattern, name) for pattern in patterns)]
        if collection is not None:
            chosen = self.collection(collection if isinstance(collection, str) else collection.name)
            found = [name for name in found if chosen is not None and name in chosen.tensor_names]
        return sorted(found)

    def tensor(self, tname: str) -> Tensor:
        """A tensor. Raises TensorUnavailable when none of that name has been saved yet."""
        if not self.has_tensor(tname):
            raise TensorUnavailable(tname)
        return Tensor(tname, self)

    def has_tensor(self, tname: str) -> bool:
        """Whether it has been saved yet."""
        if not self.steps_of(tname):
            self.maybe_refresh()
        return bool(self.steps_of(tname))

    def steps(self, mode: ModeKeys = ModeKeys.GLOBAL, show_incomplete_steps: bool = False) -> list[int]:
        """The steps that were saved."""
        self.maybe_refresh()
        return self.known_steps(mode)

    def modes(self) -> list[ModeKeys]:
        """The modes of the steps, but for GLOBAL."""
        self.maybe_refresh()
        found = {mode for mode, _ in self._source.places.values()}
        return [mode for mode in ModeKeys if mode.name in found and mode is not ModeKeys.GLOBAL]

    def mode(self, global_step: int) -> ModeKeys | None:
        """The mode of a step."""
        self.maybe_refresh()
        return ModeKeys[self._source.places[global_step][0]] if global_step in self._source.places else None

    def mode_step(self, global_step: int) -> int | None:
        """A step's number among those of its mode."""
        self.maybe_refresh()
        return self._source.places.get(global_step, ("", None))[1]

    def global_step(self, mode: ModeKeys, mode_step: int) -> int | None:
        """A step's number among all; None where there is none such."""
        if mode is ModeKeys.GLOBAL:
            return mode_step if mode_step in self._source.places else None
        return next((step for step, place in self._source.places.items() if place == (mode.name, mode_step)), None)

    def workers(self) -> list[str]:
        """The processes that save."""
        return [WORKER]

    def collections(self) -> dict[str, Collection]:
        """The collections by their names."""
        self.maybe_refresh()
        return {name: Collection(name, names) for name, names in self._source.trial.collections.items()}

    def collection(self, coll_name: str) -> Collection | None:
        """One of them; None when there is none of that name."""
        return self.collections().get(coll_name)

    def has_passed_step(self, step: int, mode: ModeKeys = ModeKeys.GLOBAL) -> StepState:
        """Whether a step is there, will not come, or may still come."""
        if step > max(self.known_steps(mode), default=-1):
            self.maybe_refresh()
        known = self.known_steps(mode)
        if step in known:
            return StepState.AVAILABLE
        return StepState.UNAVAILABLE if self.loaded_all_steps or step < max(known, default=-1) else StepState.NOT_YET_AVAILABLE

    def wait_for_steps(self, required_steps: Iterable[int], mode: ModeKeys = ModeKeys.GLOBAL) -> None:
        """Return when all are there. Raises StepUnavailable for one that was not saved, NoMoreData for one that will not come.

        Looks for new steps even where `dynamic_refresh` is off: a rule waits for steps of its other trials while nothing else is refreshed.
        """
        before, self.dynamic_refresh = self.dynamic_refresh, True
        try:
            for step in required_steps:
                self._wait_for_step(step, mode)
        finally:
            self.dynamic_refresh = before

    def _wait_for_step(self, step: int, mode: ModeKeys) -> None:
        while (state := self.has_passed_step(step, mode)) is StepState.NOT_YET_AVAILABLE:
            time.sleep(0.0 if self._source.is_behind else POLL)
        last = max(self.known_steps(mode), default=-1)
        if state is StepState.UNAVAILABLE:
            raise NoMoreData(step, mode, last) if self.loaded_all_steps and step > last else StepUnavailable(step, mode)

    def known_steps(self, mode: ModeKeys = ModeKeys.GLOBAL) -> list[int]:
        """The steps seen so far, without looking again."""
        first, end = self.range_steps or (None, None)
        places = {step: place for step, place in self._source.places.items() if step >= (first or 0) and (end is None or step < end)}
        return sorted(places) if mode is ModeKeys.GLOBAL else sorted(number for name, number in places.values() if name == mode.name)

    def steps_of(self, name: str) -> set[int]:
        """The global steps of a tensor seen so far."""
        known = self._source.trial
        return {step for mode in known.modes(name) for step in known.steps(name, mode)}

    def read(self, name: str, step: int) -> Any:
        """A tensor's array at a global step."""
        known = self._source.trial
        return next(known.value(name, mode, step) for mode in known.modes(name) if step in known.steps(name, mode))

    def _await_collections(self, reader: Reading) -> None:
        while True:
            has_ended = self._source.has_ended()
            if reader.keys("collections/"):
                self._source.update()
                return
            if has_ended:
                raise MissingCollectionFiles
            time.sleep(POLL)


def create_trial(path: str, name: str | None = None, profiler: bool = False, output_dir: str = "/opt/ml/processing/outputs/", **others: Any) -> Any:
    """The trial of an s3:// prefix or a folder; with `profiler`, that of what was measured. Waits until there is something."""
    place = path.strip().rstrip("/")
    called = name or place.rpartition("/")[2]
    reader: Reading = _reader(f"{place}/") if place.startswith("s3://") else FolderReader(Path(place))
    if profiler:
        from dewfall.images.debugging.analysis.profiler_trial import ProfilerTrial

        return ProfilerTrial(reader, called, place, output_dir)
    return Trial(reader, called, place, others.get("range_steps"))


def _reader(uri: str) -> Reader:
    import boto3

    return Reader(boto3.client("s3"), uri)
