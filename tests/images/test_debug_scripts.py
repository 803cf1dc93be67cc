"""smdebug's hooks in scripts of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dewfall.images.debugging.events import decode
from dewfall.images.debugging.saving import SaveConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    collections = [{"CollectionName": name, "CollectionParameters": {"save_interval": "2"}} for name in ("weights", "gradients", "losses", "relu")]
    collections[-1]["CollectionParameters"] = {"include_regex": ".*relu_output", "save_interval": "2"}
    config = tmp_path / "input" / "config" / "debughookconfig.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"S3OutputPath": "s3://b/p", "CollectionConfigurations": collections}))
    return tmp_path


def saved(folder: Path) -> dict[int, dict[str, np.ndarray]]:
    files = sorted((folder / "events").rglob("*.tfevents"))
    return {int(file.parent.name): {one.name: one.value for one in decode(file.read_bytes())} for file in files}


def test_a_script_of_xgboost_saves_what_the_job_asks_for(home: Path) -> None:
    import xgboost

    from dewfall.images.debugging.xgboost_script import Hook

    rows = xgboost.DMatrix(np.random.default_rng(1).normal(size=(30, 2)), np.arange(30))
    xgboost.train({}, rows, 5, evals=[(rows, "train")], callbacks=[Hook.create_from_json_file()])
    assert {step: sorted(tensors) for step, tensors in saved(home / "output" / "tensors").items()} == {step: ["train-rmse"] for step in (0, 2, 4)}


def test_a_script_may_say_itself_what_is_saved(home: Path) -> None:
    import xgboost

    from dewfall.images.debugging.xgboost_script import Hook

    rows = xgboost.DMatrix(np.random.default_rng(1).normal(size=(30, 2)), np.arange(30))
    hook = Hook(str(home / "own"), SaveConfig(save_interval=3), ["labels"], validation_data=rows)
    xgboost.train({}, rows, 5, evals=[(rows, "train")], callbacks=[hook])
    assert {step: sorted(tensors) for step, tensors in saved(home / "own").items()} == {step: ["labels", "train-rmse"] for step in (0, 3)}


def test_a_script_of_pytorch_saves_weights_gradients_and_losses(home: Path) -> None:
    torch = pytest.importorskip("torch")
    from dewfall.images.debugging.torch_script import Hook

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu = torch.nn.Linear(2, 3), torch.nn.ReLU()

        def forward(self, rows: object) -> object:
            return self.relu(self.first(rows))

    net, loss, hook = Net(), torch.nn.MSELoss(), Hook.create_from_json_file()
    hook.register_module(net)
    hook.register_loss(loss)
    for _ in range(3):
        loss(net(torch.ones(4, 2)), torch.zeros(4, 3)).backward()
    hook.close()
    found = saved(home / "output" / "tensors")
    assert sorted(found) == [0, 2]
    assert sorted(found[2]) == ["MSELoss_output_0", "Net_first.weight", "gradient/Net_first.bias", "gradient/Net_first.weight", "relu_output_0"]
    assert found[2]["gradient/Net_first.weight"].shape == (3, 2)
