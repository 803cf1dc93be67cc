"""The TabTransformer image, JumpStart's layout of data and answers (tabular.py).

The model is `model.pt`, a state dictionary of dewfall.ml.nets.tabular.TabTransformer, `model.json`, how it was built and how columns are scaled,
and `task.json`. PyTorch is imported only by functions: JumpStart's scripts import this module before it is known whether it is there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import neural
from dewfall.images.builtin.algorithm import settings as read_settings
from dewfall.images.builtin.tabular import answer, encode, find_task, read_about, read_data, read_rows, run, write_about
from dewfall.images.contract import UserError

__all__ = ["TabTransformerModel", "answer", "main", "read_rows", "train"]  # what JumpStart's scripts import

SMALL = 1e-9


def train(task: str = "") -> None:
    """Train on the channel's rows, keep what is best on its validation rows; `task` overrides detection."""
    reason = neural.missing("tabtransformer")
    if reason:
        raise UserError(reason)
    given = read_settings("tabtransformer")
    torch = neural.prepare()
    training, validation, categories = read_data()
    task = find_task(task or given["task"], "DEWFALL_TABTRANSFORMER_TASK", training.labels)
    kinds = np.unique(np.concatenate([training.labels, validation.labels])) if task == "classification" else np.zeros(0)
    width = training.rows.shape[1]
    about = _about(training.rows, training.labels, categories, kinds, given)
    network = _build(about)
    _fit(network, about, (training.rows, encode(training.labels, kinds)), (validation.rows, encode(validation.labels, kinds)), given)
    folder = contract.folders().model
    write_about(folder, task, kinds, width)
    torch.save(network.state_dict(), folder / "model.pt")
    (folder / "model.json").write_text(json.dumps(about))


def _about(
    rows: NDArray[np.float64], labels: NDArray[np.float64], categories: list[int], kinds: NDArray[np.float64], given: Mapping[str, Any]
) -> dict[str, Any]:
    """What prepares rows, and how the network is built."""
    numbers = [column for column in range(rows.shape[1]) if column not in categories]
    known = [np.unique(rows[np.isfinite(rows[:, column]), column]).tolist() for column in categories]
    plain = np.ma.masked_invalid(rows[:, numbers])
    network = {
        "cardinality": [len(values) + 1 for values in known],
        "numbers": len(numbers),
        "outputs": len(kinds) if len(kinds) else 1,
        "dim": int(given["input_dim"]),
        "blocks": given["n_blocks"],
        "attention_dropout": given["attn_dropout"],
        "dropout": given["mlp_dropout"],
        "shared": given["frac_shared_embed"],
    }
    center, spread = (float(labels.mean()), float(labels.std()) or 1.0) if not len(kinds) else (0.0, 1.0)
    return {
        "network": network,
        "categories": categories,
        "numbers": numbers,
        "known": known,
        "mean": plain.mean(0).filled(0).tolist(),
        "spread": (plain.std(0).filled(1) + SMALL).tolist(),
        "label": [center, spread],
    }


def _build(about: Mapping[str, Any]) -> Any:
    from dewfall.ml.nets.tabular import TabTransformer

    return TabTransformer(**about["network"])


def _tensors(rows: NDArray[Any], about: Mapping[str, Any]) -> tuple[Any, Any]:
    """(codes, numbers): unknown categories are the first code, missing numbers the mean."""
    import torch

    codes = np.zeros((len(rows), len(about["categories"])), np.int64)
    for place, (column, values) in enumerate(zip(about["categories"], about["known"], strict=True)):
        found = np.searchsorted(values, rows[:, column]).clip(max=len(values) - 1) if values else np.zeros(len(rows), int)
        codes[:, place] = np.where(np.array(values or [np.nan])[found] == rows[:, column], found + 1, 0)
    scaled = (rows[:, about["numbers"]] - about["mean"]) / np.maximum(about["spread"], 1e-6)
    return torch.from_numpy(codes), torch.from_numpy(np.nan_to_num(scaled).astype(np.float32))


Table = tuple[NDArray[np.float64], NDArray[np.float64]]


def _fit(network: Any, about: Mapping[str, Any], training: Table, validation: Table, given: Mapping[str, Any]) -> None:
    import torch
    from torch.nn import functional

    from dewfall.ml.nets.fitting import Patience, batches, optimizer

    rng = np.random.default_rng(neural.SEED)
    codes, numbers = _tensors(training[0], about)
    center, spread = about["label"]
    is_regression = about["network"]["outputs"] == 1
    truth = torch.from_numpy((training[1] - center) / spread).float() if is_regression else torch.from_numpy(training[1]).long()
    steps = optimizer("adam", network.parameters(), given["learning_rate"])
    patience = Patience(given["patience"], larger=True)
    for epoch in range(given["n_epochs"]):
        network.train()
        total = []
        for picked in batches(len(truth), given["batch_size"], rng):
            scores = network(codes[picked], numbers[picked])
            wanted = truth[picked]
            loss = functional.mse_loss(scores[:, 0], wanted) if is_regression else functional.cross_entropy(scores, wanted)
            steps.zero_grad()
            loss.backward()
            steps.step()
            total.append(float(loss.detach()))
        name, value = _score(_predict(network, about, validation[0]), validation[1])
        print(f"epoch {epoch + 1} train: loss={np.mean(total):.6f}", flush=True)
        print(f"epoch {epoch + 1} valid: metrics={{'{name}': {value:.6f}}}", flush=True)
        if patience.ends(value, network):
            break
    patience.restore(network)


def _predict(network: Any, about: Mapping[str, Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) numbers, or (n, classes) probabilities."""
    import torch

    network.eval()
    with torch.no_grad():
        found = torch.cat([network(*(part[first : first + 4096] for part in _tensors(rows, about))) for first in range(0, max(len(rows), 1), 4096)])
        if about["network"]["outputs"] > 1:
            return torch.softmax(found.double(), 1).numpy()
        return found[:, 0].double().numpy() * about["label"][1] + about["label"][0]


def _score(found: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[str, float]:
    """r2 of numbers, f1 of two classes, accuracy of more."""
    if found.ndim == 1:
        return "r2", float(1 - ((found - truth) ** 2).sum() / max(((truth - truth.mean()) ** 2).sum(), SMALL))
    guess = found.argmax(1)
    if found.shape[1] > 2:
        return "accuracy", float((guess == truth).mean())
    hits = float(((guess == 1) & (truth == 1)).sum())
    return "f1", 2 * hits / max(float((guess == 1).sum() + (truth == 1).sum()), 1.0)


class TabTransformerModel:
    """A trained network and what it predicts."""

    def __init__(self, folder: Path) -> None:
        reason = neural.missing("tabtransformer")
        if reason:
            raise RuntimeError(reason)
        torch = neural.prepare()
        self.about = json.loads((folder / "model.json").read_text())
        self.network = _build(self.about)
        self.network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
        self.task, self.labels, self.features = read_about(folder)

    def predict(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) numbers, or (n, classes) probabilities."""
        return _predict(self.network, self.about, rows)


def main() -> None:
    run(train, TabTransformerModel)
