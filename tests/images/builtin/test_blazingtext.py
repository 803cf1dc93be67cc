"""BlazingText on real text: vectors, classes, fastText's own results, AWS's requests and answers."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dewfall.images.builtin import blazingtext
from dewfall.images.builtin.blazingtext_serving import TextHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import frame

from .conftest import OptMl

fasttext = pytest.importorskip("fasttext")
SMALL = {"vector_dim": "20", "buckets": "20000", "min_count": "1"}


def manual() -> str:
    """Python's own language reference, as sentences."""
    from pydoc_data.topics import topics

    lines = re.split(r"[.:]\s", " ".join(topics.values()).lower())
    return "\n".join(" ".join(re.findall(r"[a-z]+", line)) for line in lines)


def people(find: Callable[[str], Path]) -> list[str]:
    """Real people's answers as words, their income as the label."""
    with find("adult.csv").open() as file:
        rows = list(csv.reader(file))[1:3001]
    return [
        f"__label__{'rich' if '>' in row[-1] else 'poor'} " + " ".join(f"{place}_{cell.strip()}" for place, cell in enumerate(row[:-1]))
        for row in rows
    ]


def asked(opt_ml: OptMl, document: Any, kind: str = "application/json") -> Any:
    handler = TextHandler(opt_ml.model)
    handler.load()
    body = "".join(json.dumps(line) + "\n" for line in document) if kind.endswith("lines") else json.dumps(document)
    answer = handler.invoke(Invocation(body.encode(), kind, "text/csv", {}))
    text = bytes(answer.body).decode()  # type: ignore[arg-type]
    return [json.loads(line) for line in text.splitlines()] if kind.endswith("lines") else json.loads(text)


@pytest.mark.parametrize("mode", ["cbow", "skipgram", "batch_skipgram"])
def test_words_get_vectors(opt_ml: OptMl, mode: str) -> None:
    opt_ml.write({"mode": mode, "min_count": "20", "vector_dim": "16", "evaluation": "false", "epochs": "2"}, {"train": manual()})
    blazingtext.train()
    head, first, *_ = (opt_ml.model / "vectors.txt").read_text().splitlines()
    word, *values = first.split()
    found = asked(opt_ml, {"instances": [word, "xylophonist"]})
    assert head.split()[1] == "16"
    assert np.allclose(found[0]["vector"], np.array(values, float), atol=1e-4)
    assert found[1] == {"vector": [0.0] * 16, "word": "xylophonist"}


def test_batches_of_skipgram_tell_their_progress_and_fasttext_reads_their_file(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    opt_ml.write({"mode": "batch_skipgram", "min_count": "50", "vector_dim": "8", "evaluation": "false", "epochs": "1"}, {"train": manual()})
    blazingtext.train()
    said = capsys.readouterr().out
    assert re.search(r"##### Alpha: 0\.0000  Progress: 100\.00%  Million Words/sec: [0-9.]+ #####\nTraining finished!\nAverage throughput in", said)
    model = fasttext.load_model(str(opt_ml.model / "vectors.bin"))
    lines = (opt_ml.model / "vectors.txt").read_text().splitlines()[1:]
    assert model.get_words() == [line.split()[0] for line in lines]
    assert np.allclose(model.get_word_vector("the"), [float(value) for value in lines[0].split()[1:]], atol=1e-4)


def test_unknown_words_get_vectors_of_their_parts_and_similarity_is_judged(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gensim")
    opt_ml.write(SMALL | {"mode": "skipgram", "subwords": "True", "min_count": "5"}, {"train": manual()})
    blazingtext.train()
    assert -1 <= float(re.findall(r"#mean_rho: (\S+)", capsys.readouterr().out)[0]) <= 1
    assert json.loads((opt_ml.model / "eval.json").read_text())["EN-WS-353-ALL.txt"]["total_pairs"] == 353
    assert any(asked(opt_ml, {"instances": ["functionless"]})[0]["vector"])


def test_classes_are_told_apart_as_well_as_by_fasttext(
    opt_ml: OptMl, shared_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = people(shared_data)
    opt_ml.write(SMALL | {"mode": "supervised", "epochs": "10"}, {"train": "\n".join(lines[:2200]), "validation": "\n".join(lines[2200:])})
    blazingtext.train()
    found = float(re.findall(r"#validation_accuracy: (\S+)", capsys.readouterr().out)[0])
    (tmp_path / "own").write_text("\n".join(lines[:2200]))
    (tmp_path / "held").write_text("\n".join(lines[2200:]))
    with blazingtext._zeroed_memory():
        own = fasttext.train_supervised(str(tmp_path / "own"), dim=20, epoch=10, lr=0.05, wordNgrams=2, bucket=20000, thread=1, verbose=0)
    assert found >= own.test(str(tmp_path / "held"))[1] - 0.02
    text = lines[0].partition(" ")[2]
    best = asked(opt_ml, {"instances": [text], "configuration": {"k": 2}})[0]
    assert sum(best["prob"]) == pytest.approx(1, abs=1e-3)
    assert asked(opt_ml, [{"source": text}], "application/jsonlines") == [{"prob": best["prob"][:1], "label": best["label"][:1]}]


def test_early_stopping_keeps_the_best(opt_ml: OptMl, shared_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    lines = people(shared_data)[:600]
    given = {"mode": "supervised", "early_stopping": "True", "epochs": "40", "min_epochs": "5", "patience": "3"}
    opt_ml.write(SMALL | given, {"train": "\n".join(lines[:400]), "validation": "\n".join(lines[400:])})
    blazingtext.train()
    out = capsys.readouterr().out
    seen = [float(value) for value in re.findall(r"Validation accuracy: (\S+)", out)]
    assert float(re.findall(r"#validation_accuracy: (\S+)", out)[0]) == max(seen)


def test_augmented_manifest_through_a_pipe(opt_ml: OptMl) -> None:
    pairs = [("good film really", "[1, 3]"), ("bad film really", "2")] * 30
    body = b"".join(frame(part.encode()) for pair in pairs for part in pair)
    opt_ml.write(SMALL | {"mode": "supervised", "epochs": "30"}, {"train": body}, "application/x-recordio")
    blazingtext.train()
    assert asked(opt_ml, {"instances": ["bad film"]})[0]["label"] == ["__label__2"]


@pytest.mark.parametrize(
    ("given", "data", "message"),
    [
        ({"mode": "supervised"}, "no label here\n", "line 1 has no label"),
        ({"mode": "glove"}, "a b c\n", "'glove' is not one of"),
        ({"mode": "skipgram", "min_count": "50"}, "a b c\n", "min_count"),
        ({"mode": "batch_skipgram", "min_count": "50"}, "a b c\n", "min_count"),
        ({"mode": "batch_skipgram", "subwords": "true"}, "a b c\n", "not supported by batch_skipgram"),
    ],
)
def test_refusals(opt_ml: OptMl, given: dict[str, str], data: str, message: str) -> None:
    opt_ml.write(given, {"train": data})
    with pytest.raises(UserError, match=message):
        blazingtext.train()
