"""The door of the algorithms that need PyTorch: what it says when a library is missing, and on which host they train."""

import json
import sys

import pytest

from dewfall.images.builtin import neural
from dewfall.images.contract import CLIENT_ERROR_EXIT

from .conftest import OptMl


@pytest.mark.parametrize(("missing", "extra"), [("torch", "dewfall[torch]"), ("PIL", "dewfall[vision]")])
def test_says_which_extra_is_missing(opt_ml: OptMl, monkeypatch: pytest.MonkeyPatch, missing: str, extra: str) -> None:
    opt_ml.write({}, {})
    monkeypatch.setattr(neural, "find_spec", lambda name: None if name == missing else object())
    monkeypatch.setattr(sys, "argv", ["neural", "image_classification", "train"])
    with pytest.raises(SystemExit):
        neural.main()
    reason = (opt_ml.home / "output" / "failure").read_text()
    assert reason.startswith("ClientError: This algorithm needs Py" if missing == "torch" else "ClientError: This algorithm needs Pillow")
    assert f"pip install '{extra}'" in reason


@pytest.mark.parametrize(("distribution", "reason"), [("ShardedByS3Key", "FullyReplicated"), ("FullyReplicated", "")])
def test_only_the_first_host_trains(opt_ml: OptMl, monkeypatch: pytest.MonkeyPatch, distribution: str, reason: str) -> None:
    opt_ml.write({}, {"train": "1"})
    config = opt_ml.home / "input" / "config"
    (config / "inputdataconfig.json").write_text(json.dumps({"train": {"S3DistributionType": distribution}}))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}))
    with pytest.raises(SystemExit) as ended:
        neural.leave_to_first_host()
    assert ended.value.code == (CLIENT_ERROR_EXIT if reason else 0)
    failure = opt_ml.home / "output" / "failure"
    assert reason in (failure.read_text() if failure.exists() else "")
