"""A script that makes smdebug's hook, in a job of the XGBoost image, with a rule that reads it."""

from __future__ import annotations

from dewfall.testing import Server

from .test_debugger_story import BUCKET, evaluated, rule
from .test_training_story import Train, train

__all__ = ["train"]

CODE = """
import numpy as np, xgboost
from smdebug.xgboost import Hook
rows = xgboost.DMatrix(np.arange(60).reshape(30, 2), np.arange(30))
xgboost.train({"eta": 0}, rows, 20, evals=[(rows, "train")], callbacks=[Hook.create_from_json_file()])
"""


def test_a_script_uses_the_hook_by_its_name(dewfall: Server, train: Train) -> None:
    collection = {"CollectionName": "losses", "CollectionParameters": {"save_interval": "1"}}
    hook = {"S3OutputPath": f"s3://{BUCKET}/debug", "CollectionConfigurations": [collection]}
    described = train(CODE, "scripted", toolkit=True, DebugHookConfig=hook, DebugRuleConfigurations=[rule("LossNotDecreasing")])
    assert described["TrainingJobStatus"] == "Completed"
    assert evaluated(dewfall, "scripted")["LossNotDecreasing"]["RuleEvaluationStatus"] == "IssuesFound"
