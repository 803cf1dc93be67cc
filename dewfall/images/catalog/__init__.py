"""Which image URI means what here: repositories, commands, metrics and hyperparameters of AWS's images, as data.

The server asks before any job runs, so finding an image reads a few small JSON files once and imports nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_URI = re.compile(r"^(?:(?P<registry>[^/]+\.[^/]+|localhost)(?::\d+)?/)?(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@.+)?$")
_VERSION = re.compile(r"^(\d+(?:\.\d+)*(?:-\d+)?)")


@dataclass(frozen=True, slots=True)
class Image:
    """An AWS image as it runs here. Commands are arguments of the Python interpreter; an empty one means: the image cannot do that."""

    name: str
    repository: str
    tag: str
    kind: str  # framework | algorithm | analysis
    train: tuple[str, ...]
    serve: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: str = ""  # a key of families()
    requires: str = ""  # a module that must be importable
    extra: str = ""  # what installs it: an extra of Dewfall, else a package
    package: str = ""  # the distribution whose version the tag names
    title: str = ""  # the framework as people call it
    metric_definitions: Mapping[str, str] = field(default_factory=dict)  # name → regex
    input_modes: tuple[str, ...] = ("File", "FastFile", "Pipe")
    train_types: tuple[str, ...] = ()
    serve_types: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    channel_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of channels whose content types are not train_types
    process: tuple[str, ...] = ()  # the image's own entry point in a processing job
    algorithm: str = ""  # whose hyperparameters (catalog/hyperparameters.py)

    @property
    def version(self) -> str:
        """The version that the tag names: `1.2-1` of `1.2-1-cpu-py3`."""
        found = _VERSION.match(self.tag)
        return found.group(1) if found else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for the log when another version runs here than the tag names."""
        runs = _installed(self.package) if self.package else ""
        asked = self.version.partition("-")[0]
        if not runs or not asked or self.version == "1" or f"{runs}.".startswith(f"{asked}."):
            return ()
        return (f"Image {self.repository}:{self.tag} asks for {self.title} {self.version}; here {self.title} {runs} runs.",)

    @property
    def hyperparameters(self) -> tuple[dict[str, Any], ...]:
        """Specifications of the algorithm's hyperparameters, AWS's names; () for frameworks."""
        from dewfall.images.catalog.hyperparameters import specifications

        return specifications(self.algorithm) if self.algorithm else ()


def find(image_uri: str) -> Image | None:
    """The image of a URI of any account, region, partition and registry; None when Dewfall has none like it."""
    repository, tag = split_uri(image_uri)
    for pattern, entry in _entries():
        if pattern.fullmatch(repository):
            return _image(entry, repository, tag)
    return None


@cache
def find_algorithm(name: str) -> Image:
    """The image of one of AWS's algorithms, by the algorithm's name. StopIteration for what is none."""
    return _image(next(entry for _, entry in _entries() if entry.get("algorithm") == name), name, "")


@cache
def split_uri(image_uri: str) -> tuple[str, str]:
    """`683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1` → ("sagemaker-xgboost", "1.7-1")."""
    found = _URI.match(image_uri.strip())
    if found is None:
        return "", ""
    return found["repository"].removeprefix("deep-learning-containers/"), found["tag"] or "latest"


def names() -> list[str]:
    """Every image by name, for listings and error messages."""
    return [entry["name"] for _, entry in _entries()]


@cache
def families() -> dict[str, tuple[str, ...]]:
    """What a warm process of each preload family has imported."""
    return {name: tuple(modules) for name, modules in _load("images.json")["families"].items()}


@cache
def _load(name: str) -> Any:
    return json.loads((_HERE / name).read_text())


@cache
def _entries() -> tuple[tuple[re.Pattern[str], dict[str, Any]], ...]:
    entries = [entry for file in ("images.json", "neural.json", "analysis.json") for entry in _load(file)["images"]]
    return tuple((re.compile(entry["repository"]), entry) for entry in entries)


def _image(entry: dict[str, Any], repository: str, tag: str) -> Image:
    return Image(
        entry["name"],
        repository,
        tag,
        entry["kind"],
        tuple(entry.get("train", "").split()),
        tuple(entry.get("serve", "").split()),
        environment={name: value.replace("{tag}", tag) for name, value in entry.get("environment", {}).items()},
        preload=entry.get("preload", ""),
        requires=entry.get("requires", ""),
        extra=entry.get("extra", ""),
        package=entry.get("package", ""),
        title=entry.get("title", ""),
        metric_definitions=_metrics(entry.get("metrics", "")),
        input_modes=tuple(entry.get("input_modes", ("File", "FastFile", "Pipe"))),
        train_types=tuple(entry.get("train_types", ())),
        serve_types=tuple(entry.get("serve_types", ())),
        channels=tuple(entry.get("channels", ())),
        channel_types={name: tuple(types) for name, types in entry.get("channel_types", {}).items()},
        process=tuple(entry.get("process", "").split()),
        algorithm=entry.get("algorithm", ""),
    )


@cache
def _metrics(name: str) -> dict[str, str]:
    """Metric regexes: written out, or a pattern for each of a list of names ({} is the metric's name)."""
    if not name:
        return {}
    table: dict[str, str] = {}
    for group in _load("metrics.json").get(name) or _load("neural.json")["metrics"][name]:
        for metric in group["metrics"]:
            table[group["name"].replace("{}", metric)] = group["regex"].replace("{}", re.escape(metric).replace(r"\-", "-"))
    return table


@cache
def _installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
