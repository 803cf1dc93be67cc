"""Channels and their content types: what the developer guide names is taken, all else is refused before data is read."""

from __future__ import annotations

import re

import pytest

from dewfall.images.builtin import algorithm, channels
from dewfall.images.contract import UserError

from .conftest import OptMl

RECORDS, IMAGES = "application/x-recordio-protobuf", ("application/x-recordio", "application/x-image", "image/jpeg", "image/png")
TAKEN = {
    "linear-learner": (RECORDS, "text/csv", "text/csv;label_size=1"),
    "factorization-machines": (RECORDS,),
    "kmeans": (RECORDS, "text/csv;label_size=0"),
    "knn": (RECORDS, "text/csv"),
    "pca": (RECORDS, "text/csv"),
    "randomcutforest": (RECORDS, "text/csv; label_size=0"),
    "lda": (RECORDS, "text/csv"),
    "ntm": (RECORDS, "text/csv"),
    "ipinsights": ("text/csv",),
    "object2vec": ("application/jsonlines",),
    "blazingtext": ("text/plain", "application/jsonlines", "application/x-recordio"),
    "forecasting-deepar": ("json", "json.gz", "parquet", "auto", "application/jsonlines"),
    "seq2seq": (RECORDS,),
    "image-classification": (*IMAGES, "application/x-recordio; label-format=class-id"),
    "object-detection": IMAGES,
    "semantic-segmentation": IMAGES,
    "lightgbm": ("text/csv",),
    "catboost": ("text/csv",),
    "autogluon-tabular": ("text/csv",),
    "tabtransformer": ("text/csv",),
    "text-classification": ("text/csv",),
}
EVERYTHING = {kind.partition(";")[0] for kinds in TAKEN.values() for kind in kinds} | {
    "application/json",
    "text/libsvm",
    "application/x-parquet",
    "video/mp4",
}
SCRIPTS = ("lightgbm", "catboost", "autogluon-tabular", "tabtransformer", "text-classification")
MORE = {"forecasting-deepar": {"application/json", "application/x-parquet"}}  # the same under another name


@pytest.mark.parametrize("name", TAKEN)
def test_content_types(opt_ml: OptMl, name: str) -> None:
    home = "training" if name in SCRIPTS else "train"
    for kind in ("", *TAKEN[name]):
        opt_ml.write({}, {home: b""}, kind)
        channels.check(name)
    for kind in EVERYTHING - {one.partition(";")[0] for one in TAKEN[name]} - MORE.get(name, set()):
        opt_ml.write({}, {home: b""}, kind)
        with pytest.raises(UserError, match=f"'{re.escape(kind)}'") as refused:
            channels.check(name)
        assert str(refused.value).startswith((channels.INVALID, "No iterator has been registered for ContentType"))


def test_the_job_is_refused_in_the_words_of_aws(opt_ml: OptMl) -> None:
    opt_ml.write({"predictor_type": "regressor"}, {"train": b"1,2"}, "csv")
    with pytest.raises(UserError, match=r"^No iterator has been registered for ContentType \('csv', '1\.0'\)$"):
        algorithm.settings("linear-learner")


def test_channels_that_an_algorithm_does_not_have(opt_ml: OptMl) -> None:
    opt_ml.write({}, {"train": b"", "training": b""}, RECORDS)
    with pytest.raises(UserError, match=r"Additional properties are not allowed \('training' was unexpected\)$"):
        channels.check("kmeans")
    opt_ml.write({}, {"training": b"", "train": b"", "code": b""}, "text/csv")
    channels.check("lightgbm")


@pytest.mark.parametrize(
    ("name", "channel", "kind"), [("ntm", "auxiliary", "text/plain"), ("object-detection", "model", "application/x-sagemaker-model")]
)
def test_other_channels_have_types_of_their_own(opt_ml: OptMl, name: str, channel: str, kind: str) -> None:
    opt_ml.write({}, {channel: b""}, kind)
    channels.check(name)
    opt_ml.write({}, {channel: b""}, "text/csv")
    with pytest.raises(UserError, match=f"for the ContentType of channel '{channel}'|No iterator"):
        channels.check(name)
