"""A transformers model of the user's own behind the Hugging Face image, without code: as its pipeline answers by itself."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from dewfall import testing_server
from tests.sdk.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-inference:2.1.0-transformers4.37.0-cpu-py310-ubuntu22.04"
ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
MAKE = """
import json, sys, torch, transformers
from pathlib import Path
folder = Path(sys.argv[1])
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film"]
(folder / "vocab.txt").write_text("\\n".join(words))
torch.manual_seed(0)
config = transformers.BertConfig(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
model = transformers.BertForSequenceClassification(config)
model.save_pretrained(folder)
tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
tokenizer.save_pretrained(folder)
print("FOUND " + json.dumps(transformers.pipeline("text-classification", model=str(folder))("a good film")))
"""
COMPARE = """
import json, sys, torch, transformers
from pathlib import Path
from dewfall.images.builtin.text_classification import TextHandler
from dewfall.images.http import Invocation
one, two = (transformers.AutoModelForSequenceClassification.from_pretrained(folder).state_dict() for folder in sys.argv[1:3])
near = max(float((one[name] - two[name]).abs().max()) for name in one if name.startswith("bert.embeddings.word"))
(found,) = transformers.pipeline("text-classification", model=sys.argv[2])(["a bad film"])
handler = TextHandler(Path(sys.argv[2]))
handler.load()
answer = handler.invoke(Invocation(b"a bad film", "application/x-text", "application/json;verbose", {}))
print("FOUND " + json.dumps({"near": near, "answer": json.loads(answer.body), **found}))
"""

RELATIVE = """
import json, sys, transformers
from pathlib import Path
from dewfall.ml.nets.language import LanguageModel
folder = Path(sys.argv[1])
config = transformers.XLNetConfig(vocab_size=9, d_model=16, n_layer=1, n_head=2, d_inner=32)
transformers.XLNetForSequenceClassification(config).save_pretrained(folder)
found = LanguageModel(folder, 2, fresh=True)
print("FOUND " + json.dumps({"longest": found.longest, "shape": list(found(["a good film", "bad"]).shape)}))
"""
KEPT = """
import sys, transformers
from pathlib import Path
from dewfall.images.builtin import language_models
folder = Path(sys.argv[1])
language_models.load(folder, [0, 1], dropout=0.1, reinitialize="False")
transformers.BertModel.from_pretrained(folder).save_pretrained(folder)
language_models.load(folder, [0, 1], dropout=0.1, reinitialize="False")
"""


def test_a_pipeline_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = str(environment("huggingface") / "python")
    (tmp_path / "model").mkdir()
    made = subprocess.run([python, "-c", MAKE, str(tmp_path / "model")], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-3000:]
    wanted = json.loads(made.stdout.partition("FOUND ")[2])
    monkeypatch.setattr(sys, "executable", python)
    with testing_server.running() as server:
        deploy(server, tmp_path / "model", IMAGE)
        body = json.dumps({"inputs": "a good film"})
        answer = server.client("sagemaker-runtime").invoke_endpoint(EndpointName="m", ContentType="application/json", Body=body)
        found = json.loads(answer["Body"].read())
    assert found[0]["label"] == wanted[0]["label"]
    assert found[0]["score"] == pytest.approx(wanted[0]["score"], abs=1e-5)


def test_text_classification_fine_tunes_a_model_of_channel_model(tmp_path: Path) -> None:
    begin, config, training, after = (tmp_path / name for name in ("input/data/model", "input/config", "input/data/training", "model"))
    for folder in (begin, config, training, after):
        folder.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps({"epochs": "20", "learning_rate": "0.003", "batch_size": "8"}))
    rows = [f"{label},{text}\n" for _ in range(20) for label, text in ((1, "a good film"), (3, "a bad film"), (1, "good"), (3, "bad bad"))]
    (training / "data.csv").write_text("".join(rows))

    ran("-c", MAKE, str(begin))
    said = ran("-m", "dewfall.images.builtin.neural", "text_classification", "train", home=str(tmp_path))
    assert "Loaded the BertForSequenceClassification of channel 'model', its top layer drawn anew." in said
    assert re.findall(r"val_accuracy=([0-9.]+)", said)[-1] == "1.000000"
    told = json.loads(ran("-c", COMPARE, str(begin), str(after)).partition("FOUND ")[2])
    assert 0 < told["near"] < 0.1
    assert told["label"] == "3"
    assert told["answer"]["predicted_label"] == 3
    assert told["score"] == pytest.approx(max(told["answer"]["probabilities"]), abs=1e-4)


def test_a_model_of_relative_positions_reads_whole_texts(tmp_path: Path) -> None:
    ran("-c", MAKE, str(tmp_path))
    assert json.loads(ran("-c", RELATIVE, str(tmp_path)).partition("FOUND ")[2]) == {"longest": 512, "shape": [2, 2]}


def test_a_top_layer_that_is_not_there_is_not_said_to_be_kept(tmp_path: Path) -> None:
    ran("-c", MAKE, str(tmp_path))
    told = [line.partition("its top layer ")[2] for line in ran("-c", KEPT, str(tmp_path)).splitlines() if "Loaded the" in line]
    assert told == ["kept.", "drawn anew, for its weights have none."]


def ran(*words: str, home: str = "") -> str:
    """What Python says with transformers, and with a job's folders below `home`."""
    variables = os.environ | {"SAGEMAKER_BASE_DIR": home, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(environment("huggingface") / "python"), *words], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def deploy(server: Any, folder: Path, image: str) -> None:
    """Serve a model folder and wait."""
    s3, sagemaker = server.client("s3"), server.client("sagemaker")
    s3.create_bucket(Bucket="models")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, ".")
    s3.put_object(Bucket="models", Key="model.tar.gz", Body=packed.getvalue())
    sagemaker.create_model(ModelName="m", PrimaryContainer={"Image": image, "ModelDataUrl": "s3://models/model.tar.gz"}, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="m", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="m", EndpointConfigName="m")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="m")
