"""A trained Object2Vec model behind /invocations: scores of pairs, embeddings where only one side is given."""

import json
from collections.abc import Sequence
from typing import Any

from dewfall.images.builtin import neural
from dewfall.images.formats import JSON, JSON_LINES, FormatError, UnsupportedFormat, choose_accept, media_type, write_predictions
from dewfall.images.http import Answer, Invocation
from dewfall.ml.nets.pairs import PairModel

LINES = (JSON_LINES, "application/x-jsonlines")
SIDES = ("in0", "in1")


def padded(rows: Sequence[Sequence[int]], nothing: int, longest: int) -> Any:
    """Token lists, cut at `longest`, as one tensor filled up with `nothing`."""
    import torch

    width = max(1, min(longest, max((len(row) for row in rows), default=1)))
    return torch.tensor([[*row[:width], *[nothing] * (width - len(row))] for row in rows], dtype=torch.long)


class Object2VecHandler(neural.NetworkHandler):
    """The model behind /invocations."""

    strategy = "MULTI_RECORD"
    transforms = 4

    def build(self, about: dict[str, Any]) -> Any:
        return PairModel(**about["network"])

    def invoke(self, invocation: Invocation) -> Answer:
        try:
            kind, parameters = media_type(invocation.content_type or JSON)
            if kind not in (JSON, *LINES):
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use {JSON} or {JSON_LINES}.")
            accept = choose_accept(invocation.accept, (JSON, *LINES), kind)
            instances = _instances(bytes(invocation.body), kind)
            found = self._predict(instances, _lengths(parameters.get("infer_max_seqlens", ""), self.about["lengths"]))
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except FormatError as error:
            return Answer(str(error), "text/plain", 400)
        return Answer(write_predictions(found, accept), accept)

    def _predict(self, instances: list[dict[str, Any]], lengths: Sequence[int]) -> list[dict[str, Any]]:
        import torch

        if not instances:
            return []
        sides = [side for side in SIDES if side in instances[0]]
        if not sides or any([side for side in SIDES if side in one] != sides for one in instances):
            raise FormatError('Every instance must have "in0", "in1", or both, the same ones')
        tensors = {side: self._tensor(instances, side, lengths[place]) for place, side in enumerate(SIDES) if side in sides}
        with torch.no_grad():
            if len(sides) == 1:
                vectors = self.network.encoders[SIDES.index(sides[0])](tensors[sides[0]])
                return [{"embeddings": row} for row in vectors.tolist()]
            scores = self.network(tensors["in0"], tensors["in1"])
            return [{"scores": row} for row in (torch.softmax(scores, 1) if self.about["softmax"] else scores).tolist()]

    def _tensor(self, instances: list[dict[str, Any]], side: str, longest: int) -> Any:
        size = self.about["network"]["encoders"][SIDES.index(side)]["vocabulary"]
        rows = [one[side] if isinstance(one[side], list) else [one[side]] for one in instances]
        if not all(isinstance(token, int) and 0 <= token < size for row in rows for token in row):
            raise FormatError(f'"{side}" must be lists of integers from 0 to {size - 1}')
        return padded(rows, size, longest)


def _instances(body: bytes, kind: str) -> list[dict[str, Any]]:
    try:
        found = [json.loads(line) for line in body.splitlines() if line.strip()] if kind in LINES else json.loads(body)["instances"]
    except (ValueError, KeyError, TypeError):
        raise FormatError('The request must be a JSON object with a list called "instances", or JSON lines') from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FormatError('Every instance must be an object with "in0", "in1", or both')
    return found


def _lengths(text: str, trained: Sequence[int]) -> Sequence[int]:
    """`infer_max_seqlens=<in0>,<in1>` of a content type, else the lengths of the training."""
    if not text:
        return trained
    parts = text.split(",")
    if not all(part.strip().isdigit() and 1 <= int(part) <= 5000 for part in parts):
        raise FormatError("infer_max_seqlens must be integers from 1 to 5000")
    return [int(parts[0]), int(parts[-1])]
