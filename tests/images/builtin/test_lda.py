"""LDA: drawn topics are found again, handwritten digits described as well as by scikit-learn's LDA, formats and refusals."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from dewfall.images.builtin import lda
from dewfall.images.builtin.algorithm import ModelHandler, read_sparse
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import read_records, write_matrix
from dewfall.ml import topics

from .conftest import OptMl

RECORDIO = "application/x-recordio-protobuf"


def bars(documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Griffiths' and Steyvers' example: ten topics, the rows and columns of a five by five grid of words."""
    rng = np.random.default_rng(0)
    square = np.zeros((10, 5, 5))
    for line in range(5):
        square[line, line], square[5 + line, :, line] = 0.2, 0.2
    beta = square.reshape(10, 25)
    mixtures = rng.dirichlet(np.full(10, 0.1), documents)
    return beta, np.array([rng.multinomial(100, mixture @ beta) for mixture in mixtures])


def test_topics_that_made_the_documents_are_found_again() -> None:
    beta, documents = bars(1000)
    found = topics.fit(documents, topics.Settings(10))
    distance = np.abs(beta[:, None] - found.beta[None]).sum(axis=2)
    assert distance.min(axis=1).max() < 0.2
    assert found.alpha.sum() == pytest.approx(1)


def test_digits_are_described_as_well_as_by_scikit_learn(
    opt_ml: OptMl, shared_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.decomposition import LatentDirichletAllocation

    pixels = np.load(shared_data("mnist_10k.npz"))["x"][:700].reshape(700, -1)
    counts = csr_matrix((pixels // 64).astype(np.float32))
    given = {"num_topics": "10", "feature_dim": "784", "mini_batch_size": "500"}
    opt_ml.write(given, {"train": write_matrix(counts[:500]), "test": write_matrix(counts[500:])}, RECORDIO)
    lda.train()
    found = float(re.findall(r"#quality_metric: host=\S+, test pwll <score>=(\S+)", capsys.readouterr().out)[0])
    theirs = LatentDirichletAllocation(10, doc_topic_prior=0.1, random_state=0).fit(counts[:500])
    own = topics.Topics(np.full(10, 0.1), theirs.components_ / theirs.components_.sum(axis=1, keepdims=True))
    assert found >= topics.word_likelihood(own, counts[500:]) - 0.005


def test_mixtures_in_every_format(opt_ml: OptMl) -> None:
    documents = bars(200)[1].astype(np.float32)
    text = "".join(",".join(map(str, row)) + "\n" for row in documents.tolist())
    opt_ml.write({"num_topics": "4", "feature_dim": "25", "mini_batch_size": "200"}, {"train": text}, "text/csv")
    lda.train()
    handler = ModelHandler(opt_ml.model, lda.load, read=read_sparse)
    handler.load()
    asked = {"instances": [{"features": documents[0].tolist()}, {"data": {"features": {"keys": [1], "shape": [25], "values": [3]}}}]}
    found = json.loads(bytes(handler.invoke(Invocation(json.dumps(asked).encode(), "application/json", "", {})).body))["predictions"]  # type: ignore[arg-type]
    records = list(read_records(bytes(handler.invoke(Invocation(write_matrix(documents[:1]), RECORDIO, RECORDIO, {})).body)))  # type: ignore[arg-type]
    assert sum(found[1]["topic_mixture"]) == pytest.approx(1)
    assert np.allclose(records[0].label["topic_mixture"].values, found[0]["topic_mixture"], atol=1e-3)


@pytest.mark.parametrize(("rows", "message"), [([[1, 0], [0, 1]], "no document has three words"), ([[3, -1], [4, 4]], "must not be negative")])
def test_refusals(opt_ml: OptMl, rows: list[list[int]], message: str) -> None:
    opt_ml.write({"num_topics": "2", "feature_dim": "2", "mini_batch_size": "2"}, {"train": write_matrix(np.array(rows, np.float32))}, RECORDIO)
    with pytest.raises(UserError, match=message):
        lda.train()
