"""botocore's service models, loaded when first asked for, indexed for a server: by target, by path, by signing name.

Why not botocore's loader: documentation strings are dropped while reading, which halves the memory of a model.
"""

from __future__ import annotations

import functools
import gzip
import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

_HEAD = 2500
_FIELD = re.compile(r'"(apiVersion|endpointPrefix|serviceId|signingName|targetPrefix)"\s*:\s*"([^"]*)"')
_LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class Head:
    """The few facts of a service that routing needs before its model is loaded."""

    service: str
    signing: str
    target: str
    prefix: str
    version: str
    service_id: str


def _data() -> Path:
    import botocore

    return Path(os.path.dirname(botocore.__file__)) / "data"


def model_file(service: str) -> Path:
    versions = sorted(_data().joinpath(service).glob("*/service-2.json*"))
    if not versions:
        raise KeyError(service)
    return versions[-1]


@functools.cache
def heads() -> dict[str, Head]:
    """Every service botocore knows, by its name. Reads the first bytes of each model: about 0.2 s, once."""
    found = {}
    for folder in sorted(_data().iterdir()):
        if folder.is_dir() and any(folder.glob("*/service-2.json*")):
            found[folder.name] = head(folder.name)
    return found


@functools.cache
def head(service: str) -> Head:
    """One service's facts. Raises KeyError for a name that botocore does not know."""
    file = model_file(service)
    with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as stream:
        text = stream.read(_HEAD).decode("utf-8", "replace")
    facts: dict[str, str] = dict(reversed(_FIELD.findall(text.partition('"operations"')[0])))
    prefix = facts.get("endpointPrefix", service)
    return Head(
        service,
        facts.get("signingName", prefix),
        facts.get("targetPrefix", ""),
        prefix,
        facts.get("apiVersion", ""),
        facts.get("serviceId", ""),
    )


# What nearly every request needs, so that it does not wait for the scan: signing name → services, most often meant first.
COMMON_SIGNING: dict[str, tuple[str, ...]] = {
    "s3": ("s3",),
    "sts": ("sts",),
    "iam": ("iam",),
    "logs": ("logs",),
    "monitoring": ("cloudwatch",),
    "sqs": ("sqs",),
    "sns": ("sns",),
    "ecr": ("ecr",),
    "events": ("events",),
    "rds": ("rds", "docdb", "neptune"),
    "elasticloadbalancing": ("elbv2", "elb"),
    "lex": ("lexv2-models", "lexv2-runtime", "lex-models", "lex-runtime"),
    "sagemaker": ("sagemaker", "sagemaker-runtime", "sagemaker-featurestore-runtime", "sagemaker-metrics", "sagemaker-a2i-runtime", "sagemaker-edge"),
}


@functools.cache
def services_signing_as(name: str) -> tuple[str, ...]:
    """Services whose requests carry this signing name in their credential scope."""
    if name in COMMON_SIGNING:
        return COMMON_SIGNING[name]
    return tuple(h.service for h in heads().values() if h.signing == name) or ((name,) if name in heads() else ())


@functools.cache
def rare_services_signing_as(name: str) -> tuple[str, ...]:
    """Those that `services_signing_as` leaves out, because they are seldom meant."""
    return tuple(h.service for h in heads().values() if h.signing == name and h.service not in COMMON_SIGNING.get(name, ()))


@functools.lru_cache(maxsize=4096)
def service_of_target(prefix: str, operation: str = "") -> str | None:
    """The service whose X-Amz-Target begins so; of several, the one that has the operation."""
    if not prefix:
        return None
    for services in COMMON_SIGNING.values():
        for service in services:
            if head(service).target == prefix:
                return service
    found = [h.service for h in heads().values() if h.target == prefix]
    return next((service for service in found if operation_model(service, operation) is not None), found[0] if found else None)


def spoken_in_version(service: str, version: str) -> str:
    """Of the services that sign alike, the one of this API version; the given one when none is."""
    alike = services_signing_as(head(service).signing)
    return next((name for name in (service, *alike) if head(name).version == version), service)


@functools.cache
def service_of_version(version: str, action: str) -> str | None:
    """The query service of an API version that has this action, else one of this version, which will say that it has not."""
    found = [head.service for head in heads().values() if version and head.version == version]
    spoken = [service for service in found if {"query", "ec2"} & set(protocols(service))]
    return next((service for service in spoken if action in service_model(service).operation_names), spoken[0] if spoken and action else None)


def service_model(service: str) -> ServiceModel:
    """botocore's ServiceModel. Raises KeyError for an unknown service."""
    with _LOCK:
        return _load(service)


@functools.cache
def _load(service: str) -> ServiceModel:
    from botocore.model import ServiceModel

    file = model_file(service)
    raw = file.read_bytes()
    text = gzip.decompress(raw) if file.suffix == ".gz" else raw
    return ServiceModel(json.loads(text, object_pairs_hook=_undocumented), service)


def _undocumented(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in pairs if not (key == "documentation" and isinstance(value, str))}


@functools.cache
def knows(service: str) -> bool:
    """Whether botocore has a model of this service."""
    try:
        head(service)
    except KeyError:
        return False
    return True


@functools.cache
def operation_model(service: str, operation: str) -> OperationModel | None:
    """One operation of a service, or None."""
    with _LOCK:
        model = service_model(service)
        return model.operation_model(operation) if operation in model.operation_names else None


def protocols(service: str) -> tuple[str, ...]:
    """The protocols a service may be spoken in."""
    metadata = service_model(service).metadata
    return tuple(metadata.get("protocols") or [metadata["protocol"]])
