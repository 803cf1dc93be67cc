"""JumpStart's bucket, `jumpstart-cache-prod-<region>`: manifest, model specifications and scripts of the models that run here.

The SageMaker SDK reads them to know a model id's image, scripts and hyperparameters. AWS's own are not copied: these are written
for the tabular algorithms here, under AWS's model ids and in the form the SDK expects.
"""

import contextlib
import gzip
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import bucket_key, find_bucket
from dewfall.engine.ports import AlreadyExists, Record
from dewfall.engine.versions import newest
from dewfall.images.catalog.hyperparameters import specifications

BUCKET = "jumpstart-cache-prod-"
OWNER = "jumpstart"
MANIFEST = "models_manifest.json"
PROPRIETARY_MANIFEST = "proprietary-sdk-manifest.json"
VERSION = "2.1.1"
OLDEST_SDK = "2.68.1"
IMAGE = "683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ECR = {"framework": "sklearn", "framework_version": "1.2-1", "py_version": "py3"}
ALIAS = "cpu_ecr_uri_1"
FAMILIES = ("c4", "c5", "c5d", "c5n", "c6i", "c7i", "m4", "m5", "m5d", "m5n", "m6i", "m7i", "r5", "r5d", "r6i", "r7i", "t2", "t3", "local")
INSTANCES = ["ml.m5.xlarge", "ml.m5.large", "ml.m5.2xlarge", "ml.m5.4xlarge", "ml.c5.2xlarge", "ml.c5.xlarge", "ml.t3.medium"]
TASKS = ("classification", "regression")
TYPES = {"Integer": "int", "Continuous": "float"}


@dataclass(frozen=True, slots=True)
class Model:
    """An algorithm of JumpStart's: model ids by task, the module and class that run it, its metrics as (name, regex) by task."""

    title: str
    url: str
    algorithm: str  # whose hyperparameters (images/catalog)
    module: str  # below dewfall.images.builtin
    served_by: str
    resource: str
    ids: Mapping[str, str]
    metrics: Mapping[str, tuple[tuple[str, str], ...]]


def _lines(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"valid:{name}", rf"{name}: ([0-9\.]+)") for name in names)


LIGHTGBM_METRICS = ("auc", "binary_logloss", "binary_error", "multi_logloss", "multi_error")
BEST = r"bestTest = ([0-9\.]+)"
MODELS = (
    Model(
        "LightGBM",
        "https://lightgbm.readthedocs.io/en/latest/",
        "lightgbm",
        "lightgbm",
        "LightGbmModel",
        "lgb",
        {task: f"lightgbm-{task}-model" for task in TASKS},
        {"classification": _lines(*LIGHTGBM_METRICS), "regression": _lines("rmse", "l1", "l2")},
    ),
    Model(
        "CatBoost",
        "https://catboost.ai/",
        "catboost",
        "catboost",
        "CatBoostModel",
        "cat",
        {task: f"catboost-{task}-model" for task in TASKS},
        {"classification": (("AUC", BEST), ("MultiClass", BEST)), "regression": (("RMSE", BEST),)},
    ),
    Model(
        "AutoGluon-Tabular",
        "https://auto.gluon.ai/stable/index.html",
        "autogluon-tabular",
        "autogluon",
        "AutoGluonModel",
        "ag",
        {task: f"autogluon-{task}-ensemble" for task in TASKS},
        {"classification": _lines("roc_auc", "accuracy"), "regression": _lines("root_mean_squared_error", "r2")},
    ),
    Model(
        "TabTransformer",
        "https://arxiv.org/abs/2012.06678",
        "tabtransformer",
        "tabtransformer",
        "TabTransformerModel",
        "pt-tab",
        {task: f"pytorch-tabtransformer{task}-model" for task in TASKS},
        {
            "classification": (("f1_score", r"metrics={'f1': (\S+)}"), ("accuracy_score", r"metrics={'accuracy': (\S+)}")),
            "regression": (("r2", r"metrics={'r2': (\S+)}"),),
        },
    ),
)

TRAINING_SCRIPT = '''"""Train {title} for {task} on the channel `training`."""

import sys

from dewfall.images.builtin.{module} import train
from dewfall.images.contract import UserError

if __name__ == "__main__":
    try:
        train("{task}")
    except UserError as error:
        sys.exit(f"ClientError: {{error}}")
'''

INFERENCE_SCRIPT = '''"""Serve a {title} model for {task}."""

from pathlib import Path

from dewfall.images.builtin.{module} import {served_by}, answer, read_rows


def model_fn(model_dir):
    return {served_by}(Path(model_dir))


def transform_fn(model, data, content_type, accept):
    body = data.encode() if isinstance(data, str) else bytes(data)
    found = answer(model, model.predict(read_rows(body, content_type, model.features)), accept or "application/json")
    return found.body, found.content_type
'''


def ensure(ctx: Ctx, bucket: str) -> None:
    """Fill a JumpStart bucket when it is first read, or names fewer models than there are.

    Jobs take scripts from it as from any other bucket; the manifest, put last, says it is whole.
    """
    if not bucket.startswith(BUCKET):
        return
    region = bucket.removeprefix(BUCKET)
    with ctx.ports.store.reading() as tx:
        manifest = newest(tx, bucket, MANIFEST) if find_bucket(tx, bucket) else None
        if manifest and manifest.size == len(objects(region)[MANIFEST]):
            return
    created = ctx.now().replace(microsecond=0)
    document = {"Name": bucket, "Account": OWNER, "Region": region, "CreationDate": created, "Versioning": "", "Settings": {}}
    with contextlib.suppress(AlreadyExists), ctx.ports.store.transaction() as tx:
        tx.records.create(Record(bucket_key(bucket), document, parent=OWNER, created=created))
    for key, body in sorted(objects(region).items(), key=lambda item: item[0] == MANIFEST):
        ctx.ports.objects.put(f"s3://{bucket}/{key}", body)


def find(bucket: str, key: str) -> bytes | None:
    """An object of a JumpStart bucket; None when the bucket is another or holds no such key."""
    if not bucket.startswith(BUCKET):
        return None
    return objects(bucket.removeprefix(BUCKET)).get(key)


@cache
def objects(region: str) -> Mapping[str, bytes]:
    """Every object of a region's bucket by key."""
    every = [(model, task) for model in MODELS for task in TASKS]
    found: dict[str, bytes] = {MANIFEST: _json([_header(model, task) for model, task in every]), PROPRIETARY_MANIFEST: _json([])}
    for model, task in every:
        keys = _keys(model, task)
        words = {"task": task, "title": model.title, "module": model.module, "served_by": model.served_by}
        found[keys["spec"]] = _json(_specification(model, task, region))
        found[keys["training_script"]] = _archive({"transfer_learning.py": TRAINING_SCRIPT.format(**words)})
        found[keys["hosting_script"]] = _archive({"inference.py": INFERENCE_SCRIPT.format(**words)})
        note = {"README": f"{model.title} trains from nothing: this archive stands where other models have their weights.\n"}
        found[keys["training_artifact"]] = found[keys["hosting_artifact"]] = _archive(note)
    return found


def _keys(model: Model, task: str) -> dict[str, str]:
    name, scripts = model.ids[task], f"source-directory-tarballs/{model.module}"
    return {
        "spec": f"community_models_specs/{name}/specs_v{VERSION}.json",
        "training_script": f"{scripts}/transfer_learning/{task}/v{VERSION}/sourcedir.tar.gz",
        "hosting_script": f"{scripts}/inference/{task}/v{VERSION}/sourcedir.tar.gz",
        "training_artifact": f"{model.module}-training/train-{name}.tar.gz",
        "hosting_artifact": f"{model.module}-infer/infer-{name}.tar.gz",
    }


def _header(model: Model, task: str) -> dict[str, str]:
    return {"model_id": model.ids[task], "version": VERSION, "min_version": OLDEST_SDK, "spec_key": _keys(model, task)["spec"]}


def _specification(model: Model, task: str, region: str) -> dict[str, Any]:
    keys = _keys(model, task)
    variants = {
        "regional_aliases": {region: {ALIAS: IMAGE.format(region=region)}},
        "variants": {family: {"regional_properties": {"image_uri": f"${ALIAS}"}} for family in FAMILIES},
    }
    accepts = ["application/json", "application/json;verbose", "text/csv"]
    return {
        "model_id": model.ids[task],
        "url": model.url,
        "version": VERSION,
        "min_sdk_version": OLDEST_SDK,
        "training_supported": True,
        "incremental_training_supported": False,
        "hosting_ecr_specs": ECR,
        "hosting_artifact_key": keys["hosting_artifact"],
        "hosting_script_key": keys["hosting_script"],
        "hosting_instance_type_variants": variants,
        "inference_vulnerable": False,
        "inference_dependencies": [],
        "inference_vulnerabilities": [],
        "training_vulnerable": False,
        "training_dependencies": [],
        "training_vulnerabilities": [],
        "deprecated": False,
        "inference_environment_variables": [_variable("SAGEMAKER_PROGRAM", "inference.py"), _variable("SAGEMAKER_MODEL_SERVER_WORKERS", "1")],
        "metrics": [{"Name": name, "Regex": regex} for name, regex in model.metrics[task]],
        "default_inference_instance_type": INSTANCES[0],
        "supported_inference_instance_types": INSTANCES,
        "default_training_instance_type": INSTANCES[0],
        "supported_training_instance_types": INSTANCES,
        "hyperparameters": _hyperparameters(model),
        "training_script_key": keys["training_script"],
        "training_ecr_specs": ECR,
        "training_artifact_key": keys["training_artifact"],
        "training_instance_type_variants": variants,
        "training_enable_network_isolation": False,
        "inference_enable_network_isolation": False,
        "hosting_use_script_uri": True,
        "resource_name_base": model.resource,
        "model_kwargs": {},
        "deploy_kwargs": {},
        "estimator_kwargs": {},
        "fit_kwargs": {},
        "predictor_specs": {
            "supported_content_types": ["text/csv"],
            "supported_accept_types": accepts,
            "default_content_type": "text/csv",
            "default_accept_type": "application/json",
        },
    }


def _variable(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "type": "text", "default": value, "scope": "container", "required_for_model_class": True}


def _hyperparameters(model: Model) -> list[dict[str, Any]]:
    found = [_hyperparameter(entry) for entry in specifications(model.algorithm) if entry.get("default") is not None and entry["name"] != "task"]
    container = {"sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz", "sagemaker_program": "transfer_learning.py"}
    found += [{"name": name, "type": "text", "default": value, "scope": "container"} for name, value in container.items()]
    return [*found, {"name": "sagemaker_container_log_level", "type": "text", "default": "20", "scope": "container"}]


def _hyperparameter(entry: Mapping[str, Any]) -> dict[str, Any]:
    """One of the catalog's in JumpStart's words; booleans travel as texts."""
    default = entry["default"]
    found = {"name": entry["name"], "type": TYPES.get(entry["type"], "text"), "default": str(default), "scope": "algorithm"}
    bounds = {"min": "min", "max": "max", "above": "exclusive_min", "below": "exclusive_max"}
    found |= {ours: entry[name] for name, ours in bounds.items() if name in entry}
    return found | ({"options": entry["values"]} if entry["type"] == "Categorical" else {})


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def _archive(texts: Mapping[str, str]) -> bytes:
    """A tar.gz of text files, the same bytes each time."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)
