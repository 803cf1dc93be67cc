"""Object2Vec: classifies token lists as logistic regression does, learns pairs, answers scores and embeddings."""

import json
import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from dewfall.images.builtin import object2vec
from dewfall.images.builtin.object2vec_serving import Object2VecHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from tests.images.builtin.conftest import OptMl

SMALL = {"enc0_max_seq_len": "64", "enc0_vocab_size": "64", "enc_dim": "32", "enc0_token_embedding_dim": "32", "enc1_token_embedding_dim": "32"}


def digits() -> tuple[list[list[int]], np.ndarray, np.ndarray]:
    """Pictures as lists of the places that have ink."""
    from sklearn.datasets import load_digits

    rows, labels = load_digits(return_X_y=True)
    return [np.flatnonzero(row > 7).tolist() for row in rows], labels, rows > 7


def lines(first: list[list[int]], second: list[list[int]], labels: Any) -> str:
    return "".join(json.dumps({"in0": a, "in1": b, "label": float(c)}) + "\n" for a, b, c in zip(first, second, labels, strict=True))


def asked(opt_ml: OptMl, document: Any, kind: str = "application/json") -> Any:
    handler = Object2VecHandler(opt_ml.model)
    handler.load()
    answer = handler.invoke(Invocation(json.dumps(document).encode(), kind, "*/*", {}))
    return json.loads(bytes(answer.body)) if answer.status == 200 else answer.status  # type: ignore[arg-type]


def test_classifies_as_logistic_regression_does(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.linear_model import LogisticRegression

    tokens, labels, ink = digits()
    given = SMALL | {"num_classes": "10", "enc0_network": "pooled_embedding", "learning_rate": "0.01", "epochs": "8", "mlp_dim": "64"}
    nothing = [[0]] * len(labels)
    sets = {"train": lines(tokens[:1400], nothing[:1400], labels[:1400]), "validation": lines(tokens[1400:], nothing[1400:], labels[1400:])}
    opt_ml.write(given | {"mlp_activation": "relu"}, sets, "application/jsonlines")
    object2vec.train()
    found = re.findall(r"#quality_metric: host=\S+, epoch=\d+, validation accuracy <score>=(\S+)", capsys.readouterr().out)
    theirs = LogisticRegression(max_iter=1000).fit(ink[:1400], labels[:1400]).score(ink[1400:], labels[1400:])
    assert max(map(float, found)) > theirs - 0.05
    scores = asked(opt_ml, {"instances": [{"in0": tokens[0], "in1": [0]}]})["predictions"][0]["scores"]
    assert len(scores) == 10
    assert sum(scores) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("network", ["hcnn", "bilstm"])
def test_learns_which_pairs_belong_together(opt_ml: OptMl, network: str, capsys: pytest.CaptureFixture[str]) -> None:
    tokens, labels, _ = digits()
    given = SMALL | {"enc0_network": network, "enc1_network": "pooled_embedding", "enc1_max_seq_len": "1", "enc1_vocab_size": "10", "epochs": "6"}
    given |= {"negative_sampling_rate": "2", "learning_rate": "0.005", "mlp_dim": "32", "mlp_activation": "relu"}
    if network == "bilstm":
        given |= {"output_layer": "mean_squared_error", "epochs": "1", "negative_sampling_rate": "1"}
    opt_ml.write(given, {"train": lines(tokens[:600], [[int(label)] for label in labels[:600]], np.ones(600))}, "application/jsonlines")
    object2vec.train()
    out = capsys.readouterr().out
    if network == "hcnn":
        assert float(re.findall(r"train accuracy <score>=(\S+)", out)[-1]) > 0.72
    else:
        assert float(re.findall(r"train mean_squared_error <loss>=(\S+)", out)[-1]) < 0.3
    assert len(asked(opt_ml, {"instances": [{"in0": tokens[0]}]})["predictions"][0]["embeddings"]) == 32
    assert asked(opt_ml, {"instances": [{"in1": [11]}]}) == 400


def test_refuses_in_words(opt_ml: OptMl) -> None:
    for change, reason in (
        ({"comparator_list": "sum"}, "comparator_list"),
        ({"enc0_vocab_size": "3"}, "outside of the vocabulary"),
        ({"token_embedding_storage_type": "row_sparse", "optimizer": "rmsprop"}, "needs one of the optimizers adam, adagrad, sgd"),
        ({"enc0_network": "pooled_embedding", "enc1_network": "hcnn", "enc_dim": "64"}, "same dimension"),
    ):
        opt_ml.write(SMALL | change, {"train": lines([[5]], [[1]], [1])}, "application/jsonlines")
        with pytest.raises(UserError, match=reason):
            object2vec.train()
