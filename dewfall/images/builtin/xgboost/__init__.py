"""The XGBoost container's algorithm. Which of its images is meant decides the artifact's form and how CSV is answered."""

import os

OLD = ("0.", "1.0", "1.1", "1.2")
OLDEST = ("1", "latest")  # both are 0.72


def is_before_2() -> bool:
    """Whether the image's XGBoost begins at 0.5; later ones estimate base_score from the labels."""
    tag = os.environ.get("SAGEMAKER_XGBOOST_VERSION", "")
    return tag in OLDEST or tag.startswith(("0.", "1."))


def is_before_1_3() -> bool:
    """Whether the image is one of those that pickle the Booster and answer CSV in one line."""
    tag = os.environ.get("SAGEMAKER_XGBOOST_VERSION", "")
    return tag in OLDEST or tag.startswith(OLD)
