"""The LDA image: topics of documents given as word counts; the answer is a document's mixture of topics.

The model is `model.npz` with AWS's two arrays: `alpha` (k,) and `beta` (k, words).
"""

from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images.builtin import algorithm, report
from dewfall.images.contract import UserError, cluster, folders
from dewfall.ml import topics


def train() -> None:
    """Topics of channel train; per-word log-likelihood of channel test."""
    given = algorithm.settings("lda")
    us = cluster()
    if len(us.hosts) > 1:
        raise UserError(f"LDA trains on a single instance, but the job has {len(us.hosts)}.")
    table = algorithm.sparse_table("train", feature_dim=given["feature_dim"], label_size=0)
    assert table is not None
    found = topics.Settings(given["num_topics"], given["alpha0"], given["max_restarts"], given["max_iterations"], given["tol"])
    try:
        model = topics.fit(table.features, found)
    except ValueError as error:
        raise UserError(f"Unable to train on channel 'train': {error}") from None
    report.progress(us.current_host, 100)
    report.quality(us.current_host, "train pwll", topics.word_likelihood(model, table.features))
    test = algorithm.sparse_table("test", feature_dim=given["feature_dim"], label_size=0)
    if test is not None:
        report.final(us.current_host, "test", "pwll", topics.word_likelihood(model, test.features))
    folders().model.mkdir(parents=True, exist_ok=True)
    np.savez(folders().model / "model.npz", alpha=model.alpha, beta=model.beta)


class LdaModel:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.topics = topics.Topics(arrays["alpha"], arrays["beta"])

    @property
    def features(self) -> int:
        return int(self.topics.beta.shape[1])

    def predict(self, rows: Any, *, verbose: bool = False) -> list[dict[str, Any]]:
        return [{"topic_mixture": mixture} for mixture in topics.mixtures(self.topics, rows).tolist()]


def load(folder: Path) -> LdaModel:
    return LdaModel(folder / "model.npz")


if __name__ == "__main__":
    algorithm.run(train, load, read=algorithm.read_sparse)
