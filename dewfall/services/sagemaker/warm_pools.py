"""Warm pools in motion: a job takes a matching one over, keeps its own after its end, and finds in its cache folder what the former job left there.

What is kept between the jobs is the folder that AWS calls the persistent cache; imported libraries stay warm for every job anyway.

    <data>/warm-pools/<id>     mounted at /opt/ml/sagemaker/warmpoolcache, moved from job to job by its id
"""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Channel, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules import warm_pools
from dewfall.services.sagemaker.training_status import job_key

KIND = "warm-pool"  # records of the pools that wait for a job, named by the job that has left them
CACHE = "/opt/ml/sagemaker/warmpoolcache"
VARIABLE = "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY"


def check_warm_pool(req: dict[str, Any]) -> None:
    """Raise the AwsError of a request that cannot have a warm pool."""
    resources = req["ResourceConfig"]
    if not resources.get("KeepAlivePeriodInSeconds"):
        return
    if req.get("EnableManagedSpotTraining"):
        raise validation("KeepAlivePeriodInSeconds is not supported when EnableManagedSpotTraining is set to true")
    if resources.get("InstanceGroups"):
        raise validation("KeepAlivePeriodInSeconds is not supported for heterogeneous clusters (InstanceGroups)")


def take_pool(ctx: Ctx, record: Record) -> None:
    """Give a job that is about to start the pool of a matching one, or a new one where it wants to keep its own. Once only."""
    if "WarmPool" in record.document:
        return
    sweep(ctx)
    with ctx.ports.store.transaction() as tx:
        pool = next((pool for pool in _waiting(ctx, tx) if pool.document["Traits"] == warm_pools.traits(record.document)), None)
        if pool is None and not warm_pools.keep_alive(record.document):
            return
        own = f"{record.key.name}-{int(record.document['CreationTime'].timestamp() * 1000)}"
        record.document["WarmPool"] = pool.document["Id"] if pool else own
        record.document["WarmPoolStatus"] = {"Status": "InUse"}
        if pool is not None:
            _hand_over(ctx, tx, pool, record.key.name)
        record.version = tx.records.save(record).version


def cache_channel(ctx: Ctx, document: dict[str, Any]) -> tuple[Channel, ...]:
    """The pool's folder at its place in the container."""
    if "WarmPool" not in document:
        return ()
    folder = _folder(ctx, document["WarmPool"])
    folder.mkdir(parents=True, exist_ok=True)
    return (Channel("warmpoolcache", CACHE, "Folder", (), folder=str(folder), writable=True),)


def leave_pool(ctx: Ctx, tx: Tx, record: Record) -> None:
    """The job has ended: its pool waits for another one, or is over. To be saved by the caller."""
    document = record.document
    if "WarmPool" not in document:
        return
    if not warm_pools.is_kept(document):
        document["WarmPoolStatus"] = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}
        return
    document["WarmPoolStatus"] = {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 0}
    document["WarmPoolSince"] = ctx.now()
    pool = {"Id": document["WarmPool"], "Traits": warm_pools.traits(document), "Since": ctx.now(), "Seconds": warm_pools.keep_alive(document)}
    tx.records.create(Record(_key(ctx, record.key.name), pool))


def status_now(ctx: Ctx, document: dict[str, Any]) -> dict[str, Any]:
    """The document as users see it now."""
    if "WarmPoolStatus" not in document:
        return document
    since: datetime | None = document.get("WarmPoolSince")
    status = warm_pools.status_at(document["WarmPoolStatus"], since, warm_pools.keep_alive(document), ctx.now())
    return {**document, "WarmPoolStatus": status}


def keep_for(ctx: Ctx, tx: Tx, record: Record, seconds: int) -> None:
    """UpdateTrainingJob's other length of the keep-alive period; 0 ends an available pool. To be saved by the caller."""
    status = status_now(ctx, record.document).get("WarmPoolStatus", {}).get("Status")
    if status not in ("Available", "InUse"):
        told = f"its warm pool is in status {status}" if status else "it has no warm pool"
        raise validation(f"The KeepAlivePeriodInSeconds of training job {record.key.name} cannot be updated because {told}.")
    record.document["ResourceConfig"] = {**record.document["ResourceConfig"], "KeepAlivePeriodInSeconds": seconds}
    pool = tx.records.get(_key(ctx, record.key.name))
    if status != "Available" or pool is None:
        return
    record.document["WarmPoolStatus"] = status_now(ctx, record.document)["WarmPoolStatus"]
    pool.document["Seconds"] = seconds
    tx.records.save(pool)


def check_deletion(ctx: Ctx, record: Record) -> None:
    """A job that keeps instances cannot be deleted."""
    if status_now(ctx, record.document).get("WarmPoolStatus", {}).get("Status") == "Available":
        raise AwsError("ResourceInUse", f"The training job {record.key.name} retains a warm pool. Terminate it by UpdateTrainingJob first.")


def sweep(ctx: Ctx) -> None:
    """Remove what is left of pools whose time is over."""
    with ctx.ports.store.transaction() as tx:
        for pool in tx.records.list(ctx.account, ctx.region, "sagemaker", KIND):
            if _is_over(ctx, pool):
                tx.records.delete(pool.key)
                shutil.rmtree(_folder(ctx, pool.document["Id"]), ignore_errors=True)


def drop_folder(ctx: Ctx, document: dict[str, Any]) -> None:
    """Remove the folder of a pool that has ended with its job."""
    if document.get("WarmPoolStatus", {}).get("Status") == "Terminated":
        with contextlib.suppress(OSError):
            shutil.rmtree(_folder(ctx, document["WarmPool"]))


def _waiting(ctx: Ctx, tx: Tx) -> list[Record]:
    """Pools that a job may take, the longest waiting first."""
    pools = [pool for pool in tx.records.list(ctx.account, ctx.region, "sagemaker", KIND) if not _is_over(ctx, pool)]
    return sorted(pools, key=lambda pool: str(pool.document["Since"]))


def _hand_over(ctx: Ctx, tx: Tx, pool: Record, to: str) -> None:
    tx.records.delete(pool.key)
    former = tx.records.get(job_key(ctx, pool.key.name))
    if former is not None:
        kept = int((ctx.now() - pool.document["Since"]).total_seconds())
        former.document["WarmPoolStatus"] = {"Status": "Reused", "ResourceRetainedBillableTimeInSeconds": kept, "ReusedByJob": to}
        tx.records.save(former)


def _is_over(ctx: Ctx, pool: Record) -> bool:
    return bool((ctx.now() - pool.document["Since"]).total_seconds() >= pool.document["Seconds"])


def _key(ctx: Ctx, job: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", KIND, job)


def _folder(ctx: Ctx, pool: str) -> Path:
    return ctx.ports.settings.data / "warm-pools" / f"{ctx.account}.{ctx.region}.{os.path.basename(pool)}"
