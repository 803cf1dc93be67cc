"""Sequence to Sequence: numbers spelled out backwards; every network; texts, lines and records."""

import doctest
import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from dewfall.images.builtin import seq2seq
from dewfall.images.builtin.seq2seq_serving import TranslationHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import Record, Tensor, read_records, write_records
from dewfall.ml import bleu
from tests.images.builtin.conftest import OptMl

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
MARKS = {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3}
SOURCE, TARGET = MARKS | {str(place): place + 4 for place in range(10)}, MARKS | {word: place + 4 for place, word in enumerate(WORDS)}
GIVEN = {"rnn_num_hidden": "48", "num_embed_source": "24", "num_embed_target": "24", "cnn_num_hidden": "32", "batch_size": "32", "beam_size": "3"}
RECORDIO = "application/x-recordio-protobuf"


def records(count: int) -> bytes:
    rng, found = np.random.default_rng(count), []
    for _ in range(count):
        digits = rng.integers(0, 10, rng.integers(1, 6))
        sides = [np.array(side + 4, np.int32) for side in (digits, digits[::-1])]
        found.append(Record({"values": Tensor(sides[0])}, {"values": Tensor(sides[1])}))
    return write_records(found)


def lay_out(opt_ml: OptMl, given: dict[str, str], count: int) -> None:
    opt_ml.write(GIVEN | given, {"train": records(count), "validation": records(60), "vocab": b""}, RECORDIO)
    for name, table in (("src", SOURCE), ("trg", TARGET)):
        (opt_ml.home / "input/data/vocab" / f"vocab.{name}.json").write_text(json.dumps(table))


def served(opt_ml: OptMl) -> TranslationHandler:
    handler = TranslationHandler(opt_ml.model)
    handler.load()
    return handler


def asked(handler: TranslationHandler, body: bytes, kind: str) -> tuple[int, bytes]:
    answer = handler.invoke(Invocation(body, kind, "*/*", {}))
    return answer.status, answer.body if isinstance(answer.body, bytes) else b""


@pytest.mark.timeout(600)
def test_spells_numbers_backwards(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(opt_ml, {"max_num_epochs": "20", "learning_rate": "0.006", "optimized_metric": "bleu", "checkpoint_frequency_num_batches": "300"}, 900)
    seq2seq.train()
    out = capsys.readouterr().out
    found: dict[str, Any] = dict(re.findall(r"#quality_metric: host=\S+, epoch=\d+, validation (\w+) <\w+>=(\S+)", out))
    assert float(found["accuracy"]) > 0.9
    assert float(found["perplexity"]) < 2
    assert float(found["bleu"]) > 0.8
    handler = served(opt_ml)
    body = json.dumps({"instances": [{"data": "1 2 3"}], "configuration": {"attention_matrix": "true"}}).encode()
    answer = json.loads(asked(handler, body, "application/json")[1])["predictions"][0]
    assert answer["target"] == "three two one"
    assert np.array(answer["matrix"]).shape == (3, 3)
    assert asked(handler, b'{"source": "4 5"}\n', "application/jsonlines")[1] == b'{"target": "five four"}\n'
    packed = asked(handler, write_records([Record({"values": Tensor(np.array([4, 13], np.int32))})]), RECORDIO)[1]
    assert next(iter(read_records(packed))).features["target"].values.tolist() == [13, 4]
    assert asked(handler, b"{}", "application/json")[0] == 400
    assert asked(handler, b"1", "text/csv")[0] == 415


@pytest.mark.parametrize(
    "change",
    [
        {"encoder_type": "cnn", "decoder_type": "cnn", "rnn_attention_type": "dot", "lr_scheduler_type": "fixed_rate_inv_t"},
        {
            "rnn_cell_type": "gru",
            "rnn_attention_type": "bilinear",
            "num_layers_encoder": "2",
            "num_layers_decoder": "3",
            "rnn_residual_connections": "true",
        },
        {"rnn_attention_type": "fixed", "rnn_decoder_state_init": "avg", "weight_init_type": "uniform", "weight_init_scale": "0.1"},
    ],
)
def test_other_networks_learn_and_answer(opt_ml: OptMl, change: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(opt_ml, {"max_num_batches": "10", "checkpoint_frequency_num_batches": "5"} | change, 64)
    seq2seq.train()
    found = [float(value) for value in re.findall(r"validation perplexity <loss>=(\S+)", capsys.readouterr().out)]
    assert len(found) == 2
    assert found[1] < found[0]
    assert asked(served(opt_ml), b'{"source": "1"}', "application/jsonlines")[0] == 200


@pytest.mark.parametrize(("least", "epochs"), [("0", 0), ("2", 2)])
def test_early_stopping_waits_for_min_num_epochs(opt_ml: OptMl, least: str, epochs: int, capsys: pytest.CaptureFixture[str]) -> None:
    still = {"learning_rate": "1e-30", "checkpoint_frequency_num_batches": "1", "checkpoint_threshold": "1", "batch_size": "4"}
    lay_out(opt_ml, still | {"min_num_epochs": least}, 8)
    seq2seq.train()
    assert len(re.findall(r"Epoch\[\d+\] Train-perplexity", capsys.readouterr().out)) == epochs


def test_refuses_in_words(opt_ml: OptMl) -> None:
    lay_out(opt_ml, {"min_num_epochs": "3", "max_num_epochs": "2"}, 4)
    with pytest.raises(UserError, match="min_num_epochs, 3, is greater than max_num_epochs, 2"):
        seq2seq.train()
    lay_out(opt_ml, {}, 4)
    (opt_ml.home / "input/data/vocab/vocab.trg.json").write_text("[]")
    with pytest.raises(UserError, match=r"vocab\.trg\.json"):
        seq2seq.train()


def test_examples() -> None:
    assert doctest.testmod(bleu).failed == 0
