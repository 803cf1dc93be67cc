"""Image URI → how it runs here: commands, environment, notes. Users' own images come from the file that DEWFALL_IMAGES names.

That file is JSON, image URI patterns (with `*`) to commands:

    {"123456789012.dkr.ecr.*.amazonaws.com/churn:*": {"train": "python train.py", "serve": ["python", "app.py"],
                                                      "environment": {"A": "b"}, "port": 8080}}
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dewfall.errors import AwsError
from dewfall.images.catalog import Image, find, names
from dewfall.settings import Settings

ECR = re.compile(r"\d{12}\.dkr\.ecr[a-z.-]*\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/")
INVALID = "Invalid image URI {}. Please provide a valid Amazon Elastic Container Registry path of the Docker image to run. "


@dataclass(frozen=True, slots=True)
class Runtime:
    """What `docker run <image> train` and `… serve` come to here; an empty command means: this image cannot do that."""

    name: str
    train_command: tuple[str, ...]
    serve_command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    preload: str = ""
    notes: tuple[str, ...] = ()
    port: int = 0  # of a server that insists on it; 0 = it listens where SAGEMAKER_BIND_TO_PORT or _SOCKET says
    process_command: tuple[str, ...] = ()  # the image's entry point in a processing job


def find_runtime(image_uri: str, settings: Settings) -> Runtime:
    """The runtime of an image. AwsError ValidationException, naming the ways out, when there is none or a library is missing."""
    own = _own_runtime(image_uri, settings.images)
    if own is not None:
        return own
    image = find(image_uri)
    if image is None:
        raise _unknown(image_uri)
    if image.requires and find_spec(image.requires) is None:
        raise AwsError(
            "ValidationException",
            f"Image {image_uri} needs {image.title}, which is not installed. Install it where Dewfall runs: pip install '{image.extra}'",
        )
    return _of_image(image)


def _of_image(image: Image) -> Runtime:
    return Runtime(
        image.name,
        (sys.executable, *image.train) if image.train else (),
        (sys.executable, *image.serve) if image.serve else (),
        environment=image.environment,
        preload=image.preload,
        notes=image.notes,
        process_command=(sys.executable, *image.process) if image.process else (),
    )


def _unknown(image_uri: str) -> AwsError:
    invalid = "" if ECR.match(image_uri) else INVALID.format(image_uri)
    example = '{"' + image_uri.partition(":")[0] + ':*": {"train": "python train.py", "serve": "python serve.py"}}'
    return AwsError(
        "ValidationException",
        f"{invalid}Dewfall has no runtime for the image {image_uri}. Ways out: use an image that it has ({', '.join(names())});"
        f" or give the command of your own image in a JSON file that DEWFALL_IMAGES names, for example {example}.",
    )


def _own_runtime(image_uri: str, file: str) -> Runtime | None:
    if not file:
        return None
    path = Path(file).expanduser()
    try:
        table = _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise AwsError("ValidationException", f"DEWFALL_IMAGES names {file}, which cannot be read: {error}") from None
    for pattern, entry in table.items():
        if image_uri == pattern or fnmatchcase(image_uri, pattern):
            return _of_entry(image_uri, pattern, entry)
    return None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> dict[str, Any]:
    table = json.loads(path.read_text())
    if not isinstance(table, dict):
        raise ValueError("it is not a JSON object")
    return table


def _of_entry(image_uri: str, pattern: str, entry: Any) -> Runtime:
    if isinstance(entry, str):
        found = find(entry)
        if found is None:
            raise AwsError("ValidationException", f"DEWFALL_IMAGES maps {pattern} to the image {entry}, which Dewfall does not have")
        return _of_image(found)
    return Runtime(
        image_uri,
        _words(entry.get("train")),
        _words(entry.get("serve")),
        environment={str(name): str(value) for name, value in entry.get("environment", {}).items()},
        notes=(f"Image {image_uri} runs by the command that DEWFALL_IMAGES gives for {pattern}.",),
        port=int(entry.get("port", 0)),
        process_command=_words(entry.get("process")),
    )


def _words(command: Any) -> tuple[str, ...]:
    """A command as text or list; `python` means the interpreter that Dewfall runs on."""
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command or ()]
    if words and words[0] in ("python", "python3"):
        words[0] = sys.executable
    return tuple(words)
