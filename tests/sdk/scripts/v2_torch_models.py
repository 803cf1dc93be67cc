"""SageMaker SDK v2's MultiDataModel with PyTorch models in script mode, as a user writes it. Prints a JSON line per finding."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import sagemaker
from sagemaker.deserializers import JSONDeserializer
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.pytorch import PyTorchModel
from sagemaker.serializers import JSONSerializer

FOLDER = Path(sys.argv[1])
NEWEST = {"framework_version": "2.3", "py_version": "py311"}
NETWORK = """
import torch

class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)

    def forward(self, x):
        return self.layer(x)
"""
INFERENCE = """
import os, torch
from network import Line

SIGN = {sign}

def model_fn(model_dir):
    model = Line()
    with torch.no_grad(), open(os.path.join(model_dir, "slope.txt")) as file:
        model.layer.weight.fill_(float(file.read()))
    return model.eval()

def predict_fn(rows, model):
    with torch.no_grad():
        return SIGN * model(rows)
"""


def tell(**found: object) -> None:
    print("FOUND " + json.dumps(found), flush=True)


def source(name: str, sign: int) -> Path:
    folder = FOLDER / name
    folder.mkdir()
    for file, text in (("network.py", NETWORK), ("inference.py", INFERENCE.replace("{sign}", str(sign)))):
        (folder / file).write_text(text)
    return folder


session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()
(FOLDER / "slope.txt").write_text("2.0")
with tarfile.open(FOLDER / "model.tar.gz", "w:gz") as archive:
    archive.add(FOLDER / "slope.txt", "slope.txt")
artifact = session.upload_data(str(FOLDER / "model.tar.gz"), bucket, "artifact")


def packed(code: Path) -> PyTorchModel:
    """The artifact, to which the SDK adds the code."""
    model = PyTorchModel(artifact, role, "inference.py", source_dir=str(code), sagemaker_session=session, **NEWEST)
    model.prepare_container_def("ml.m5.large")
    return model


model = packed(source("plain", 1))
many = MultiDataModel("lines", f"s3://{bucket}/lines/", model=model, sagemaker_session=session)
predictor = many.deploy(1, "ml.m5.large", serializer=JSONSerializer(), deserializer=JSONDeserializer())
many.add_model(model.repacked_model_data, "plain.tar.gz")
many.add_model(packed(source("negated", -1)).repacked_model_data, "negated.tar.gz")
many.add_model(artifact, "bare.tar.gz")


def answer(name: str) -> float:
    return float(predictor.predict([[1.0]], target_model=name)[0][0])


tell(answers=[answer(name) for name in ("plain.tar.gz", "negated.tar.gz", "plain.tar.gz")])
try:
    answer("bare.tar.gz")
except Exception as error:
    tell(bare=type(error).__name__, said=str(error), after=answer("negated.tar.gz"))
predictor.delete_endpoint()
