"""What the Hugging Face inference image does where the user's module is silent: a transformers pipeline of the model's task.

The task is HF_TASK, else what the model's config.json says by its architecture; the model lies in the model folder, or is HF_MODEL_ID, which
transformers fetches where it can.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dewfall.images.formats import CSV, JSON, UnsupportedFormat, media_type

TEXT = "text/plain"
BINARY = ("image/", "audio/", "application/x-image", "application/octet-stream")
# The end of an architecture's name → the pipeline for it.
TASKS = {
    "TapasForQuestionAnswering": "table-question-answering",
    "ForQuestionAnswering": "question-answering",
    "ForTokenClassification": "token-classification",
    "ForSequenceClassification": "text-classification",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "text2text-generation",
    "EncoderDecoderModel": "text2text-generation",
    "ForImageClassification": "image-classification",
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
}
NO_TASK = "Task couldn't be inferenced from {}. Inference Toolkit can only inference tasks from architectures ending with {}. Set HF_TASK."


class PredictionError(Exception):
    """The pipeline refused the request; its text is the answer, with the status of AWS's toolkit."""

    status_code = 400


def model_fn(model_dir: str) -> Any:
    """The pipeline."""
    from transformers import pipeline

    folder = Path(model_dir)
    name = str(folder) if (folder / "config.json").is_file() else os.environ.get("HF_MODEL_ID", "")
    if not name:
        raise ValueError(f"No config.json in {model_dir}, and HF_MODEL_ID names no model.")
    task = os.environ.get("HF_TASK") or infer_task(folder)
    return pipeline(task, model=name, device="cpu", trust_remote_code=os.environ.get("HF_TRUST_REMOTE_CODE", "").lower() in ("1", "true"))


def infer_task(folder: Path) -> str:
    """The task by the architecture that config.json names. ValueError when it tells none."""
    try:
        architecture = str(json.loads((folder / "config.json").read_text())["architectures"][0])
    except (OSError, ValueError, LookupError, TypeError):
        raise ValueError("HF_TASK must be set: the model has no config.json that names its architecture.") from None
    for ending, task in TASKS.items():
        if architecture.endswith(ending):
            return task
    raise ValueError(NO_TASK.format(architecture, ", ".join(TASKS)))


def input_fn(data: Any, content_type: str) -> dict[str, Any]:
    """A request as {"inputs": …, "parameters": …}."""
    kind = media_type(content_type or JSON)[0]
    if kind == JSON:
        found = json.loads(data)
        return found if isinstance(found, dict) else {"inputs": found}
    if kind == CSV:
        return {"inputs": _table(data if isinstance(data, str) else bytes(data).decode())}
    if kind == TEXT:
        return {"inputs": data if isinstance(data, str) else bytes(data).decode()}
    if kind.startswith("image/") or kind == "application/x-image":
        from PIL import Image

        return {"inputs": Image.open(io.BytesIO(data)).convert("RGB")}
    if kind.startswith(BINARY):
        return {"inputs": bytes(data)}
    raise UnsupportedFormat(f"Content type {content_type} is not supported by this framework. Supported: {JSON}, {CSV}, {TEXT}, image/*, audio/*.")


def _table(text: str) -> Any:
    """A CSV with header: the column `inputs`, else one dictionary per row."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if rows and set(rows[0]) == {"inputs"}:
        return [row["inputs"] for row in rows]
    return rows


def predict_fn(data: dict[str, Any], model: Any) -> Any:
    """The pipeline's answer."""
    given = dict(data)
    inputs, parameters = given.pop("inputs", given), given.pop("parameters", None) or {}
    try:
        if isinstance(inputs, dict) and getattr(model, "task", "") in ("question-answering", "zero-shot-classification"):
            return model(**inputs, **parameters)
        return model(inputs, **parameters)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise PredictionError(str(error)) from error


def output_fn(prediction: Any, accept: str) -> tuple[Any, str]:
    """JSON, or CSV of dictionaries."""
    wanted = [media_type(part)[0] for part in accept.split(",")]
    if any(kind in (JSON, "*/*", "application/*") for kind in wanted):
        return json.dumps(prediction, default=_plain), JSON
    if CSV in wanted:
        rows = prediction if isinstance(prediction, list) else [prediction]
        stream = io.StringIO()
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue(), CSV
    raise UnsupportedFormat(f"Accept type {accept} is not supported by this framework. Supported: {JSON}, {CSV}.")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


HUGGINGFACE: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"model_fn": model_fn, "input_fn": input_fn, "predict_fn": predict_fn, "output_fn": output_fn}
)
