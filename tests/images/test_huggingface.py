"""The Hugging Face image's own functions, by a pipeline that is a plain function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.images import huggingface
from dewfall.images.formats import UnsupportedFormat


class Echo:
    """Answers with what it was given."""

    def __init__(self, task: str = "") -> None:
        self.task = task

    def __call__(self, *inputs: Any, **parameters: Any) -> Any:
        return {"inputs": inputs, "parameters": parameters}


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForSequenceClassification", "text-classification"),
        ("TapasForQuestionAnswering", "table-question-answering"),
        ("GPT2LMHeadModel", "text-generation"),
        ("T5ForConditionalGeneration", "text2text-generation"),
    ],
)
def test_the_task_follows_from_the_architecture(tmp_path: Path, architecture: str, task: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    assert huggingface.infer_task(tmp_path) == task


def test_an_unknown_architecture_needs_a_task(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    with pytest.raises(ValueError, match="Set HF_TASK"):
        huggingface.infer_task(tmp_path)


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        ('{"inputs": "hi", "parameters": {"top_k": 1}}', "application/json", {"inputs": "hi", "parameters": {"top_k": 1}}),
        ('["a", "b"]', "application/json", {"inputs": ["a", "b"]}),
        ("inputs\nhello\nworld\n", "text/csv", {"inputs": ["hello", "world"]}),
        ("question,context\nwho,me\n", "text/csv", {"inputs": [{"question": "who", "context": "me"}]}),
        ("hi", "text/plain", {"inputs": "hi"}),
        (b"RIFF", "audio/wav", {"inputs": b"RIFF"}),
    ],
)
def test_requests_are_read_by_their_type(body: Any, kind: str, data: Any) -> None:
    assert huggingface.input_fn(body, kind) == data


def test_other_types_are_refused() -> None:
    with pytest.raises(UnsupportedFormat):
        huggingface.input_fn("<a/>", "text/xml")
    with pytest.raises(UnsupportedFormat):
        huggingface.output_fn([], "text/xml")


def test_inputs_and_parameters_reach_the_pipeline() -> None:
    assert huggingface.predict_fn({"inputs": "hi", "parameters": {"top_k": 1}}, Echo()) == {"inputs": ("hi",), "parameters": {"top_k": 1}}
    question = {"inputs": {"question": "who", "context": "me"}}
    assert huggingface.predict_fn(question, Echo("question-answering")) == {"inputs": (), "parameters": {"question": "who", "context": "me"}}


def test_answers_are_json_or_csv() -> None:
    rows = [{"label": "A", "score": 0.5}]
    assert huggingface.output_fn(rows, "*/*") == ('[{"label": "A", "score": 0.5}]', "application/json")
    assert huggingface.output_fn(rows, "text/csv") == ("label,score\nA,0.5\n", "text/csv")
