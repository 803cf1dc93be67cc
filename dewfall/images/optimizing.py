"""`python -m dewfall.images.optimizing`: a trained model → ONNX → smaller numbers, measured against the original.

    /opt/ml/model (the archive) ─ load ─ convert ─ compare ─ quantize ─ compare ─ /opt/ml/output/model: model.onnx, onnx.json, report.json

The archive is served by the image `dewfall/onnx`. A conversion that changes predictions fails the job.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images import contract
from dewfall.images.contract import UserError
from dewfall.ml import quantize as onnx

CONFIG = "optimize.json"
ALIKE = 1e-3  # largest difference that a conversion may make, of the spread of the predictions
AGREED = 0.995  # share of decisions that must be the same
RANDOM_ROWS = 256
MOST_ROWS = 20_000
ENDINGS = {".onnx": "onnx", ".joblib": "sklearn", ".pt": "pytorch", ".pth": "pytorch", ".ubj": "xgboost", ".bst": "xgboost"}
OTHERS = (".py", ".md", ".csv", ".html", ".txt.gz")
LOADERS = "xgboost, lightgbm, sklearn, pytorch or onnx"
NAMES = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "sklearn": "scikit-learn", "pytorch": "PyTorch", "onnx": "ONNX"}


def main() -> int:
    """Do it, and tell a failure as every container tells it."""
    try:
        run(contract.read_config(CONFIG), contract.folders().model, contract.folders().data / "dataset", contract.folders().output / "model")
    except (UserError, ValueError) as error:
        contract.fail(f"ClientError: {error}")
    except Exception as error:
        traceback.print_exc()
        contract.fail(f"AlgorithmError: {type(error).__name__}: {error}")
    return 0


def run(config: dict[str, Any], folder: Path, dataset: Path, output: Path) -> dict[str, Any]:
    """The whole work of a job; its report."""
    file, framework = find_model(folder, config.get("Framework", ""))
    say(f"Loading {file.relative_to(folder)} as a model of {framework}")
    model = load_or_refuse(file, framework)
    rows, labels = read_dataset(dataset)
    shape = tuple(config.get("Shape") or (() if rows is None else rows.shape[1:])) or features_of(model, framework)
    tried = rows if rows is not None else np.random.default_rng(0).normal(size=(RANDOM_ROWS, *shape)).astype(np.float32)
    tried = tried.reshape(len(tried), *shape)
    before = onnx.original(model, framework)
    converted = onnx.convert(model, framework, shape)
    say(f"Converted to ONNX: {file.stat().st_size} → {len(converted.body)} bytes")
    told = onnx.compare(before, onnx.prediction(converted), tried, labels)
    check(told)
    report: dict[str, Any] = {
        "Framework": framework,
        "Data": "dataset" if rows is not None else "random rows: no accuracy",
        "SizeBefore": file.stat().st_size,
    }
    report |= {"Onnx": {"Size": len(converted.body), **told}}
    method = config.get("Quantize", "")
    if method:
        small = onnx.quantize(converted.body, method, rows if rows is None else tried)
        is_same = small == converted.body
        converted = replace(converted, body=small)
        report["Quantized"] = {"Method": method, "Size": len(small), **onnx.compare(before, onnx.prediction(converted), tried, labels)}
        if is_same:
            report["Quantized"]["Note"] = "The model has no matrix products (trees and linear operators have none): nothing was quantized."
    write(output, converted, report)
    return report


def find_model(folder: Path, framework: str) -> tuple[Path, str]:
    """The model's file and framework; the framework is found out where it is not said. Raises UserError."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".") and "code" not in path.parts]
    found = [(path, framework or _framework_of(path)) for path in files]
    known = [(path, kind) for path, kind in found if kind and _may_hold(path, kind)]
    if not known:
        names = ", ".join(str(path.relative_to(folder)) for path in files) or "nothing"
        raise UserError(f"No model of {framework or LOADERS} was found in the archive, which holds {names}. OPTION_FRAMEWORK names its framework.")
    return min(known, key=lambda pair: _framework_of(pair[0]) != pair[1])


def load_or_refuse(file: Path, framework: str) -> Any:
    """The trained model in a file. Raises UserError, in the words of AWS's compiler, where it is none."""
    try:
        return load(file, framework)
    except ImportError:
        raise
    except Exception as error:  # whatever its framework raises
        traceback.print_exc()
        why = " ".join(str(error).partition("Stack trace")[0].split())
        raise UserError(f"InputConfiguration: Unable to load provided {NAMES[framework]} model. Error: {why[:600]}") from None


def load(file: Path, framework: str) -> Any:
    """The trained model in a file."""
    if framework == "onnx":
        return file.read_bytes()
    if framework == "xgboost":
        from dewfall.images.builtin.xgboost.predictor import load_file

        return load_file(file)
    if framework == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(file))
    if framework == "pytorch":
        import torch

        return torch.jit.load(str(file), map_location="cpu")
    import joblib

    return joblib.load(file)


def features_of(model: Any, framework: str) -> tuple[int, ...]:
    """The shape of one row, where the model knows it. Raises UserError."""
    if framework == "xgboost":
        return (int(model.num_features()),)
    if framework == "lightgbm":
        return (int(model.num_feature()),)
    if framework == "onnx":
        return tuple(int(one) for one in onnx.open_session(model).get_inputs()[0].shape[1:])
    if hasattr(model, "n_features_in_"):
        return (int(model.n_features_in_),)
    raise UserError("The shape of the model's input is not known: give OPTION_SHAPE, DataInputConfig, or a dataset.")


def read_dataset(folder: Path) -> tuple[Any, Any]:
    """(rows, labels) of CSV files whose first column is the label; (None, None) where there is no dataset. Raises UserError."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
    if not files:
        return None, None
    try:
        table = np.concatenate([np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2) for path in files])[:MOST_ROWS]
    except ValueError as error:
        raise UserError(f"The dataset must be CSV of numbers without a header, the label in the first column: {error}") from None
    return table[:, 1:].astype(np.float32), table[:, 0]


def check(told: dict[str, Any]) -> None:
    """Raises UserError where the converted model predicts something else."""
    difference = told.get("MaxDifference", 0.0)
    if told["Agreement"] < AGREED and difference > ALIKE:
        raise UserError(
            f"The conversion to ONNX changes predictions: they differ by {difference:.2g} of their spread, "
            f"and {100 * told['Agreement']:.1f} % of the decisions agree. Nothing was stored."
        )


def write(output: Path, converted: onnx.Converted, report: dict[str, Any]) -> None:
    """The files of the archive."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "model.onnx").write_bytes(converted.body)
    (output / "onnx.json").write_text(json.dumps({"output": converted.output, "column": converted.column}))
    (output / "report.json").write_text(json.dumps(report, indent=1))
    data = contract.folders().output_data
    data.mkdir(parents=True, exist_ok=True)
    (data / "report.json").write_text(json.dumps(report, indent=1))
    say(json.dumps(report))


def say(line: str) -> None:
    """A line of the log, at once."""
    print(line, flush=True)


def _framework_of(path: Path) -> str:
    if path.suffix in ENDINGS:
        return ENDINGS[path.suffix]
    start = path.read_bytes()[:64]
    if start.startswith(b"tree\n"):
        return "lightgbm"
    if path.name.startswith("xgboost-model") or start.startswith(b'{"learner"'):
        return "xgboost"
    return "sklearn" if path.suffix in (".pkl", ".pickle") else ""


def _may_hold(path: Path, framework: str) -> bool:
    own = _framework_of(path)
    is_pickled = own == "sklearn" and framework == "xgboost"
    return is_pickled or (own in ("", framework) and path.suffix not in OTHERS)


if __name__ == "__main__":
    sys.exit(main())
