"""A scikit-learn training script in SageMaker's script mode, with its own way of serving probabilities."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier


def read_channel(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Every CSV file of a channel: the label first."""
    folder = Path(os.environ[f"SM_CHANNEL_{name.upper()}"])
    table = np.vstack([np.loadtxt(file, delimiter=",", ndmin=2) for file in sorted(folder.glob("*.csv"))])
    return table[:, 1:], table[:, 0]


def model_fn(model_dir: str) -> RandomForestClassifier:
    """Load what training saved."""
    return joblib.load(Path(model_dir) / "model.joblib")


def predict_fn(rows: np.ndarray, model: RandomForestClassifier) -> np.ndarray:
    """The probability of class 1."""
    return model.predict_proba(np.atleast_2d(rows))[:, 1]


def main() -> None:
    """Train, print the validation error for the metric's regular expression, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n_estimators", type=int, default=100)
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    options, _ = parser.parse_known_args()
    rows, labels = read_channel("train")
    model = RandomForestClassifier(n_estimators=options.n_estimators, random_state=0).fit(rows, labels)
    valid_rows, valid_labels = read_channel("validation")
    print(f"validation-error={1 - model.score(valid_rows, valid_labels):.4f};")
    joblib.dump(model, Path(options.model_dir) / "model.joblib")


if __name__ == "__main__":
    main()
