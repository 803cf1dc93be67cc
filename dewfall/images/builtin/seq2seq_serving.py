"""A trained sequence-to-sequence model behind /invocations: texts in JSON, one a line, or integers in RecordIO-protobuf."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images.builtin import neural
from dewfall.images.formats import JSON, JSON_LINES, RECORDIO, FormatError, UnsupportedFormat, choose_accept, media_type, write_json, write_jsonlines
from dewfall.images.http import Answer, Invocation
from dewfall.images.recordio import Record, RecordError, Tensor, read_records, write_records
from dewfall.ml.nets.translate import UNKNOWN, Part, Translator, translate

VOCABULARIES = ("vocab.src.json", "vocab.trg.json")
LINES = (JSON_LINES, "application/x-jsonlines")


def build(about: dict[str, Any]) -> Any:
    """The network of these hyperparameters and vocabulary sizes."""
    given = about["given"]
    residual = given["rnn_first_residual_layer"] if given["rnn_residual_connections"] else 0
    parts = []
    for side, size, layers in (("source", about["sizes"][0], "encoder"), ("target", about["sizes"][1], "decoder")):
        kind = given[f"{layers}_type"]
        parts.append(
            Part(
                kind,
                size,
                given[f"num_embed_{side}"],
                given["rnn_num_hidden"] if kind == "rnn" else given["cnn_num_hidden"],
                given[f"num_layers_{layers}"],
                given["rnn_cell_type"],
                given[f"cnn_kernel_width_{layers}"],
                given["cnn_activation_type"],
                given["cnn_hidden_dropout"],
                given[f"embed_dropout_{side}"],
                residual,
            )
        )
    return Translator(
        *parts,
        attention=given["rnn_attention_type"],
        attention_hidden=given["rnn_attention_num_hidden"] or given["rnn_num_hidden"],
        begin=given["rnn_decoder_state_init"],
        dropout=given["rnn_decoder_hidden_dropout"],
    )


class TranslationHandler(neural.NetworkHandler):
    """The model behind /invocations."""

    strategy = "MULTI_RECORD"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.given: dict[str, Any] = {}
        self.numbers: dict[str, int] = {}
        self.words: dict[int, str] = {}

    def build(self, about: dict[str, Any]) -> Any:
        return build(about)

    def load(self) -> None:
        super().load()
        self.given = self.about["given"]
        tables = [json.loads((self.folder / name).read_text()) for name in VOCABULARIES]
        self.numbers, self.words = tables[0], {number: word for word, number in tables[1].items()}

    def invoke(self, invocation: Invocation) -> Answer:
        body, kind = bytes(invocation.body), media_type(invocation.content_type or JSON)[0]
        try:
            if kind not in (JSON, *LINES, RECORDIO):
                raise UnsupportedFormat(f"Content type {invocation.content_type} is not supported. Use {JSON}, {JSON_LINES} or {RECORDIO}.")
            accept = choose_accept(invocation.accept, (kind,), kind)
            if kind == RECORDIO:
                return Answer(self._records(body), accept)
            texts, with_matrix = _texts(body, kind)
        except UnsupportedFormat as error:
            return Answer(str(error), "text/plain", 406 if str(error).startswith("Accept") else 415)
        except (FormatError, RecordError) as error:
            return Answer(str(error), "text/plain", 400)
        found = [self._answer(text, with_matrix=with_matrix) for text in texts]
        return Answer(write_jsonlines(found) if kind in LINES else write_json({"predictions": found}), accept)

    def _answer(self, text: str, *, with_matrix: bool) -> dict[str, Any]:
        source = [self.numbers.get(word, UNKNOWN) for word in text.split()]
        tokens, seen = self._translated(source)
        found: dict[str, Any] = {"target": " ".join(self.words.get(token, "<unk>") for token in tokens)}
        return found | ({"matrix": seen} if with_matrix else {})

    def _translated(self, source: list[int]) -> tuple[list[int], list[list[float]]]:
        return translate(self.network, source[: self.given["max_seq_len_source"]], self.given["beam_size"], self.given["max_seq_len_target"])

    def _records(self, body: bytes) -> bytes:
        answers = []
        size = self.network.source.vocabulary
        for record in read_records(body):
            tensor = record.features.get("values") or record.features.get("source")
            if tensor is None or any(not 0 <= token < size for token in tensor.values.tolist()):
                raise FormatError("Each record needs integer features 'values' within the source vocabulary")
            tokens = self._translated([int(token) for token in tensor.values.tolist()])[0]
            answers.append(Record({"target": Tensor(np.array(tokens, np.int32))}))
        return write_records(answers)


def _texts(body: bytes, kind: str) -> tuple[list[str], bool]:
    """(source texts, whether the attention matrix is wanted)."""
    try:
        if kind in LINES:
            return [str(json.loads(line)["source"]) for line in body.splitlines() if line.strip()], False
        document = json.loads(body)
        wanted = str(document.get("configuration", {}).get("attention_matrix", "false")).lower() == "true"
        return [str(instance["data"]) for instance in document["instances"]], wanted
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FormatError('The request must be {"instances": [{"data": "…"}]}, or JSON lines {"source": "…"}') from None
