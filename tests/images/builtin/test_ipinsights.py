"""IP Insights: log-ins from elsewhere are told from usual ones, requests and answers in AWS's formats, refusals."""

import json
import re
from typing import Any

import numpy as np
import pytest

from dewfall.images.builtin import ipinsights
from dewfall.images.builtin.algorithm import ModelHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation

from .conftest import OptMl

SIZES = {"num_entity_vectors": "2000", "vector_dim": "32"}


def logins(count: int, seed: int) -> list[tuple[str, str]]:
    """Fifty people per company; each comes from networks of theirs."""
    rng = np.random.default_rng(seed)
    people = rng.integers(0, 400, count)
    return [(f"user_{who}", f"{20 + who // 50}.{who % 7}.{(who * 3 + rng.integers(0, 3)) % 250}.{rng.integers(1, 9)}") for who in people.tolist()]


def text(pairs: list[tuple[str, str]]) -> str:
    return "".join(f"{entity}, {address}\n" for entity, address in pairs)


def asked(opt_ml: OptMl, body: str, kind: str = "text/csv", accept: str = "application/json") -> Any:
    handler = ModelHandler(opt_ml.model, ipinsights.load, read=ipinsights.read_pairs)
    handler.load()
    answer = handler.invoke(Invocation(body.encode(), kind, accept, {}))
    return answer if answer.status != 200 else json.loads(bytes(answer.body))  # type: ignore[arg-type]


def test_a_stolen_account_is_told_from_its_owner(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"epochs": "10", "learning_rate": "0.03", "mini_batch_size": "500", "vector_dim": "16"}
    opt_ml.write(SIZES | given, {"train": text(logins(4000, 0)), "validation": text(logins(500, 1))})
    ipinsights.train()
    auc = float(re.findall(r"#quality_metric: host=\S+, validation discriminator_auc <score>=(\S+)", capsys.readouterr().out)[-1])
    assert auc > 0.95
    usual = logins(500, 2)
    stolen = [(who, usual[(place + 250) % 500][1]) for place, (who, _) in enumerate(usual)]
    real, strange = ([one["dot_product"] for one in asked(opt_ml, text(pairs))["predictions"]] for pairs in (usual, stolen))
    assert np.mean(np.array(real) > np.median(strange)) > 0.95


def test_requests_and_verbose_answers(opt_ml: OptMl) -> None:
    opt_ml.write(SIZES | {"epochs": "1", "num_ip_encoder_layers": "0"}, {"train": text(logins(300, 0))})
    ipinsights.train()
    first = asked(opt_ml, "user_1, 20.1.3.4\n", accept="application/json;verbose=True")["predictions"][0]
    assert first["dot_product"] == pytest.approx(np.dot(first["entity_embedding"], first["ip_embedding"]), rel=1e-4)
    body = json.dumps({"instances": [{"data": {"features": {"values": ["user_1", "20.1.3.4"]}}}, {"features": ["user_1", "20.1.3.4"]}]})
    assert [one["dot_product"] for one in asked(opt_ml, body, "application/json")["predictions"]] == pytest.approx([first["dot_product"]] * 2)
    line = asked(opt_ml, '{"features": ["user_1", "20.1.3.4"]}\n', "application/jsonlines", "application/jsonlines")
    assert line["dot_product"] == pytest.approx(first["dot_product"])
    assert asked(opt_ml, "user_1\n").status == 400


@pytest.mark.parametrize(
    ("given", "data", "message"),
    [
        ({}, "a,300.1.1.1\n", "'300.1.1.1' is not an IPv4 address"),
        ({}, "a,1.1.1.1,x\n", "two columns"),
        ({"vector_dim": "2"}, "a,1.1.1.1\n", "2 is less than the minimum of 4"),
        ({"random_negative_sampling_rate": "0", "shuffled_negative_sampling_rate": "0"}, "a,1.1.1.1\n", "must be from 1 to 500"),
    ],
)
def test_refusals(opt_ml: OptMl, given: dict[str, str], data: str, message: str) -> None:
    opt_ml.write(SIZES | given, {"train": data})
    with pytest.raises(UserError, match=message):
        ipinsights.train()
