"""BlazingText's answers: probabilities of classes for sentences, or vectors for words, as JSON or JSON lines.

AWS ignores an Accept that differs from the content type, and so does this.
"""

import json
from pathlib import Path
from typing import Any

from dewfall.images.formats import JSON, JSON_LINES, FormatError, media_type, write_json, write_jsonlines
from dewfall.images.http import Answer, Invocation, execution_parameters

MISSING = "BlazingText needs fastText, which is not installed. Install it where Dewfall runs: pip install 'dewfall[blazingtext]'"
KINDS = (JSON, JSON_LINES, "application/x-jsonlines")


class TextHandler:
    """A fastText binary behind /invocations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model: Any = None
        self.is_classifier = False

    def load(self) -> None:
        """model.bin, vectors.bin, or whichever binary is there."""
        try:
            import fasttext
        except ImportError:
            raise RuntimeError(MISSING) from None
        names = [self.folder / "model.bin", self.folder / "vectors.bin", *sorted(self.folder.glob("*.bin"))]
        path = next((name for name in names if name.exists()), None)
        if path is None:
            raise RuntimeError(f"No model.bin or vectors.bin in {self.folder}")
        self.model = fasttext.load_model(str(path))
        self.is_classifier = self.model.f.getArgs().model.name == "supervised"

    def ping(self) -> bool:
        return True

    def route(self, method: str, path: str, invocation: Invocation) -> Answer | None:
        return execution_parameters(method, path, 4, "MULTI_RECORD")

    def invoke(self, invocation: Invocation) -> Answer:
        kind = media_type(invocation.content_type)[0] or JSON
        if kind not in KINDS:
            return Answer(f"Content type {invocation.content_type} is not supported. Please use one of {', '.join(KINDS[:2])}", "text/plain", 415)
        try:
            asked = _json(bytes(invocation.body)) if kind == JSON else _jsonlines(bytes(invocation.body))
        except (FormatError, ValueError, KeyError, TypeError) as error:
            return Answer(f"unable to evaluate payload provided: {error!r}", "text/plain", 400)
        found = [self._classes(text, k) if self.is_classifier else self._vector(text) for text, k in asked]
        return Answer(write_json(found) if kind == JSON else write_jsonlines(found), kind)

    def _classes(self, text: str, k: int) -> dict[str, Any]:
        pairs = self.model.f.predict(" ".join(text.split()) + "\n", k, 0.0, "strict")
        return {"prob": [min(1.0, float(chance)) for chance, _ in pairs], "label": [label for _, label in pairs]}

    def _vector(self, word: str) -> dict[str, Any]:
        return {"vector": self.model.get_word_vector(word).tolist(), "word": word}


def _json(body: bytes) -> list[tuple[str, int]]:
    document = json.loads(body)
    k = int(document.get("configuration", {}).get("k", 1))
    return _checked([(text, k) for text in document["instances"]])


def _jsonlines(body: bytes) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    return _checked([(line["source"], int(line.get("k", 1))) for line in lines])


def _checked(asked: list[tuple[str, int]]) -> list[tuple[str, int]]:
    if not all(isinstance(text, str) and k > 0 for text, k in asked):
        raise FormatError("instances are texts, k is a positive number")
    return asked
