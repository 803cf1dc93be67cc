"""`dewfall clarify-check`: files and S3, with and without violations, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server
from tests.cli.conftest import Tell, port_of


def analysis(dpl: float) -> dict[str, Any]:
    entry = {"value_or_threshold": "0", "metrics": [{"name": "DPL", "description": "", "value": dpl}]}
    return {"version": "1.0", "pre_training_bias_metrics": {"label": "y", "label_value_or_threshold": "1", "facets": {"sex": [entry]}}}


@pytest.mark.parametrize(("dpl", "code", "said"), [(-0.3, 1, "sex=0 DPL: Metric value -0.3 doesn't meet the baseline"), (0.1, 0, "0 violations")])
def test_an_analysis_and_its_baseline(tell: Tell, tmp_path: Path, dpl: float, code: int, said: str) -> None:
    for name, value in (("out", dpl), ("baseline", 0.2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "analysis.json").write_text(json.dumps(analysis(value)))
    found = tell("clarify-check", str(tmp_path / "out"), str(tmp_path / "baseline" / "analysis.json"))
    assert found.code == code, found.err
    assert said in found.out
    written = json.loads((tmp_path / "out" / "constraint_violations.json").read_text())
    assert (written["version"], len(written["violations"])) == ("1.0", code)


def test_in_s3(tell: Tell, dewfall: Server) -> None:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket="clarify-checks")
    for name, value in (("out", 0.3), ("baseline", 0.2)):
        s3.put_object(Bucket="clarify-checks", Key=f"{name}/analysis.json", Body=json.dumps(analysis(value)))
    port = ("--port", str(port_of(dewfall)))
    assert tell("clarify-check", *port, "s3://clarify-checks/out/", "s3://clarify-checks/baseline").code == 1
    written = json.loads(s3.get_object(Bucket="clarify-checks", Key="out/constraint_violations.json")["Body"].read())
    assert [one["metric_name"] for one in written["violations"]] == ["DPL"]
    missing = tell("clarify-check", *port, "s3://clarify-checks/none", "s3://clarify-checks/baseline")
    assert (missing.code, "NoSuchKey" in missing.err) == (2, True)


@pytest.mark.parametrize(("text", "said"), [("[]", "holds no JSON object"), ("{", "is not valid JSON"), ("{}", "there is nothing to compare")])
def test_what_cannot_be_compared(tell: Tell, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "now.json").write_text(json.dumps(analysis(0.1)))
    (tmp_path / "before.json").write_text(text)
    found = tell("clarify-check", str(tmp_path / "now.json"), str(tmp_path / "before.json"))
    assert (found.code, said in found.err, found.out) == (2, True, "")
    assert not (tmp_path / "constraint_violations.json").exists()
