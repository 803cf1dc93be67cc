"""Image URIs → images, their metrics and notes."""

from __future__ import annotations

import re

import pytest

from dewfall.images import catalog

XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3", "sagemaker-scikit-learn"),
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:0.20.0-cpu-py3", "sagemaker-scikit-learn"),
        ("492215442770.dkr.ecr.eu-central-1.amazonaws.com/sagemaker-xgboost:3.0-5", "sagemaker-xgboost"),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:latest", "sagemaker-xgboost"),
        ("390948362332.dkr.ecr.cn-north-1.amazonaws.com.cn/linear-learner:1", "linear-learner"),
        ("382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1", "kmeans"),
        ("382416733822.dkr.ecr.us-east-1.amazonaws.com/randomcutforest@sha256:abcd", "randomcutforest"),
        ("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312", "pytorch-training"),
        ("763104351884.dkr.ecr.us-gov-west-1.amazonaws.com/pytorch-inference:2.6.0-gpu-py312", "pytorch-inference"),
        ("236514542706.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0", "sagemaker-base-python"),
        ("dewfall/lightgbm", "lightgbm"),
        ("522234722520.dkr.ecr.us-east-1.amazonaws.com/forecasting-deepar:1", "forecasting-deepar"),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1", "image-classification"),
        ("dewfall/text-classification", "text-classification"),
    ],
)
def test_finds_images_of_any_account_and_region(uri: str, name: str) -> None:
    found = catalog.find(uri)
    assert found is not None
    assert found.name == name


def test_unknown_image() -> None:
    assert catalog.find("123456789012.dkr.ecr.us-east-1.amazonaws.com/churn:1") is None


def test_note_says_which_version_runs() -> None:
    image = catalog.find(XGBOOST)
    assert image is not None
    assert re.fullmatch(r"Image sagemaker-xgboost:1\.7-1 asks for XGBoost 1\.7-1; here XGBoost [\d.]+ runs\.", image.notes[0])


@pytest.mark.parametrize(
    ("repository", "line", "metric", "value"),
    [
        ("xgboost", "[4]#011train-rmse:0.5#011validation-rmse:0.75", "validation:rmse", 0.75),
        ("xgboost", "[12]#011train-auc:0.9#011validation-auc:0.8", "train:auc", 0.9),
        ("kmeans", "#quality_metric: host=algo-1, test msd <loss>=12.5", "test:msd", 12.5),
        ("linear-learner", "#quality_metric: host=algo-1, epoch=3, validation mse_objective <loss>=0.25", "validation:objective_loss", 0.25),
        ("linear-learner", "#quality_metric: host=algo-1, validation recall <score>=0.9", "validation:recall", 0.9),
        ("randomcutforest", "#quality_metric: host=algo-1, test f1 <score>=0.8", "test:f1", 0.8),
        ("lightgbm", "auc: 0.875", "auc", 0.875),
        ("ntm", "#quality_metric: host=algo-1, epoch=3, validation total_loss <loss>=7.5", "validation:total_loss", 7.5),
        ("forecasting-deepar", "#quality_metric: host=algo-1, test mean_wQuantileLoss <loss>=0.25", "test:mean_wQuantileLoss", 0.25),
        ("object2vec", "#quality_metric: host=algo-1, epoch=0, validation mean_squared_error <loss>=0.5", "validation:mean_squared_error", 0.5),
        ("image-classification", "#quality_metric: host=algo-1, epoch=0, validation accuracy <score>=0.5", "validation:accuracy", 0.5),
        ("semantic-segmentation", "#quality_metric: host=algo-1, epoch=0, validation mIOU <score>=0.5", "validation:mIOU", 0.5),
        ("object-detection", "#quality_metric: host=algo-1, epoch=0, validation mAP <score>=(0.5)", "validation:mAP", 0.5),
        ("seq2seq", "#quality_metric: host=algo-1, epoch=1, validation perplexity <loss>=1.5", "validation:perplexity", 1.5),
        ("tabtransformer", "epoch 1 valid: metrics={'f1': 0.75}", "f1_score", 0.75),
    ],
)
def test_metric_definitions_read_the_algorithms_lines(repository: str, line: str, metric: str, value: float) -> None:
    image = catalog.find(f"{repository}:1")
    assert image is not None
    found = re.search(image.metric_definitions[metric], line)
    assert found is not None
    assert float(found.group(1)) == value


def test_no_more_metric_definitions_than_a_job_may_have() -> None:
    for name in ("xgboost", "linear-learner", "kmeans", "pca", "knn", "randomcutforest", "lightgbm"):
        image = catalog.find(f"{name}:1")
        assert image is not None
        assert len(image.metric_definitions) <= 40
