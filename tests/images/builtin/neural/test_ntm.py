"""NTM: topics of real documents say as much as those of scikit-learn's LDA."""

import doctest
import json
import re

import numpy as np
import pytest

pytest.importorskip("torch")

from dewfall.images.builtin import algorithm, ntm
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import read_records, write_matrix
from dewfall.ml.nets import topics
from tests.images.builtin.conftest import OptMl

RECORDIO = "application/x-recordio-protobuf"


def test_topics_tell_digits_apart_as_lda_does(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.datasets import load_digits
    from sklearn.decomposition import LatentDirichletAllocation
    from sklearn.linear_model import LogisticRegression

    rows, labels = load_digits(return_X_y=True)
    rows = rows.astype(np.float32)
    given = {"feature_dim": "64", "num_topics": "10", "epochs": "20", "optimizer": "adam", "learning_rate": "0.01", "mini_batch_size": "64"}
    opt_ml.write(given, {"train": write_matrix(rows[:1400]), "validation": write_matrix(rows[1400:])}, RECORDIO)
    ntm.train()
    losses = [
        float(loss) for loss in re.findall(r"#quality_metric: host=\S+, epoch=\d+, validation total_loss <loss>=(\S+)", capsys.readouterr().out)
    ]
    assert losses[-1] < losses[0]
    found = np.array([one["topic_weights"] for one in ntm.NtmModel(opt_ml.model).predict(rows)])
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    theirs = LatentDirichletAllocation(10, random_state=0, max_iter=5).fit(rows[:1400]).transform(rows)

    def told(mixture: np.ndarray) -> float:
        return float(LogisticRegression(max_iter=2000, C=100).fit(mixture[:1400], labels[:1400]).score(mixture[1400:], labels[1400:]))

    assert told(found) > told(theirs) - 0.03


def test_answers_in_every_format(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).poisson(1.0, (64, 6)).astype(np.float32)
    opt_ml.write({"feature_dim": "6", "num_topics": "2", "epochs": "1"}, {"train": write_matrix(rows)}, RECORDIO)
    (opt_ml.home / "input/data/auxiliary").mkdir()
    (opt_ml.home / "input/data/auxiliary/vocab.txt").write_text("a\nb\nc\nd\ne\nf\n")
    ntm.train()
    assert re.search(r"Topics from epoch:final \(num_topics:2\) \[tu [\d.]+\]:", capsys.readouterr().out)
    handler = algorithm.ModelHandler(opt_ml.model, ntm.NtmModel)
    handler.load()
    answer = handler.invoke(Invocation(b"1,0,2,0,0,1\n", "text/csv", "application/json", {}))
    assert len(json.loads(bytes(answer.body))["predictions"][0]["topic_weights"]) == 2  # type: ignore[arg-type]
    packed = handler.invoke(Invocation(write_matrix(rows[:3]), RECORDIO, RECORDIO, {}))
    assert [list(record.label) for record in read_records(packed.body)] == [["topic_weights"]] * 3  # type: ignore[arg-type]


def test_refuses_what_is_not_a_count(opt_ml: OptMl) -> None:
    opt_ml.write({"feature_dim": "2", "num_topics": "2"}, {"train": write_matrix(-np.ones((3, 2), np.float32))}, RECORDIO)
    with pytest.raises(UserError, match="negative"):
        ntm.train()
    opt_ml.write({"feature_dim": "2", "num_topics": "1"}, {"train": b""}, RECORDIO)
    with pytest.raises(UserError, match="1 is less than the minimum of 2 for 'num_topics'"):
        ntm.train()


def test_examples() -> None:
    assert doctest.testmod(topics).failed == 0
