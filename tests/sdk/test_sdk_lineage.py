"""The SageMaker SDK's lineage and model card classes from its own environment."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_lineage_and_model_cards_by_version_2(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_lineage.py"))
    assert (told["datasets"], told["edges"], told["all_edges"], told["near"]) == (["rows"], 0, 4, 1)
    assert told["all"][1:] == ["Model", "ModelDeployment", "Endpoint"]
    assert (told["endpoint_data"], told["served_by"]) == ([True], ["shop"])
    assert (told["listed"], told["actions"], told["saved"], told["left"]) == (1, 1, {"k": "v", "more": "1"}, 1)
    assert told["card"][1:3] == ["PendingReview", "small"]
    assert told["card"][3] == 3
    assert (told["models"], told["models_v2"], told["model_endpoints"], told["trained_models"]) == ([True], [True], [True], [True])
    assert told["transforms"] == ["hand-aws-transform-job"]
    assert (told["pdf"], told["exports"]) == ("%PDF-", ["Completed"])


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_lineage_of_jobs_that_nobody_wrote_down(run_script: Run, version: str) -> None:
    told: Any = ChainMap(*run_script(version, "lineage_of_jobs.py"))
    assert (told["training"], told["datasets"], told["models"]) == (True, [True, True], True)
    assert told["components"] == ["-aws-training-job", "-aws-processing-job"]  # nearest first
    assert (told["actions"], told["pipeline"]) == (["Approval", "ModelDeployment"], None)
    assert (told["processing"], told["transforms"]) == (["SageMakerProcessingJob"], 0)
    assert (told["served"], told["associated"], told["trained"], told["learned"]) == ([True], ["Endpoint"], True, [True, True])
    assert (told["reached"], told["upstream"], told["of_component"], told["from_component"]) == ([True], [True], [True, True], 2)
    assert (told["trained_models"], told["endpoint_models"]) == (0, 0)
    assert (told["image_of"], told["approval_reaches"]) == (True, [True])
    assert told["table"] == [["Input", "DataSet", "ContributedTo"], ["Input", "Image", "ContributedTo"], ["Output", "Model", "Produced"]]
    assert (told["group"], told["in_group"].rpartition("/")[2]) == (["sagemaker-default-lineage-group"], "sagemaker-default-lineage-group")
