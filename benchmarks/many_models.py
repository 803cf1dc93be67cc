"""1,000 small models on one multi-model endpoint, asked with Zipf-distributed frequency: hit rate, latencies, memory.

Once with memory for all of them, once with room for 100, where the hit rate is compared with that of an ideal LRU cache on the same calls.
"""

from __future__ import annotations

import io
import json
import os
import random
import statistics
import tarfile
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.peers import dewfall

MODELS, CALLS, ROOM, SKEW = 1000, 5_000, 100, 1.0
AWS_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
OWN_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/shelf:latest"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
Row = tuple[str, str, str, bool]


def many_models() -> list[Row]:
    """Both endpoints, one after the other, with the same calls."""
    with tempfile.TemporaryDirectory() as name:
        images = Path(name) / "images.json"
        images.write_text(json.dumps({"*/shelf:*": {"serve": ["python", str(Path(__file__).parent / "scripts" / "shelf.py")]}}))
        os.environ["DEWFALL_IMAGES"] = str(images)
        try:
            with dewfall() as (url, _, folder):
                _upload(url)
                return [*_measure(url, folder, "all fit", AWS_IMAGE, MODELS), *_measure(url, folder, f"room for {ROOM}", OWN_IMAGE, ROOM)]
        finally:
            del os.environ["DEWFALL_IMAGES"]


def ideal(calls: list[int], room: int) -> float:
    """The hit rate of a cache of the `room` most recently used."""
    kept: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for model in calls:
        hits += model in kept
        kept[model] = None
        kept.move_to_end(model)
        if len(kept) > room:
            kept.popitem(last=False)
    return hits / len(calls)


def _measure(url: str, folder: Path, label: str, image: str, room: int) -> list[Row]:
    name = f"shelf-{room}"
    _deploy(url, name, image, {"SHELF_ROOM": str(room)})
    calls = random.Random(0).choices(range(MODELS), [1 / (rank + 1) ** SKEW for rank in range(MODELS)], k=CALLS)
    headers = {"Content-Type": "text/csv"}
    path = f"{url}/endpoints/{name}/invocations"
    requests = {
        m: load.signed(path, "sagemaker", "POST", {**headers, "X-Amzn-SageMaker-Target-Model": f"m{m}.tar.gz"}, b"1,2,3,4") for m in set(calls)
    }
    connection = load.connect(url)
    taken = []
    for model in calls:
        began = time.perf_counter()
        load.exchange(connection, requests[model])
        taken.append((time.perf_counter() - began) * 1000)
    hits = _hit_rate(url, name)
    best = ideal(calls, room)
    ranked = sorted(taken)
    memory = _memory(folder, name)
    what = f"1,000 models, {CALLS:,} Zipf calls, {label}"
    row = (
        f"p50 {statistics.median(taken):.2f} ms, p99 {ranked[int(len(ranked) * 0.99)]:.1f} ms, {CALLS / sum(taken) * 1000:.0f} a second, {memory} MB"
    )
    return [(f"{what}: hit rate", f"{hits:.3f} (ideal LRU {best:.3f})", "≥ 0.98 × ideal", hits >= 0.98 * best), (what, row, "reported", True)]


def _client(url: str, service: str) -> Any:
    from benchmarks.measures import client

    return client(url, service)


def _upload(url: str) -> None:
    import numpy as np
    import xgboost

    s3 = _client(url, "s3")
    s3.create_bucket(Bucket="shelf")
    rows = np.random.default_rng(0).normal(size=(50, 4))
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, label=rows[:, 0]), 5)
    data = bytes(booster.save_raw("ubj"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("xgboost-model")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    for model in range(MODELS):
        s3.put_object(Bucket="shelf", Key=f"m{model}.tar.gz", Body=buffer.getvalue())


def _deploy(url: str, name: str, image: str, environment: dict[str, str]) -> None:
    sagemaker = _client(url, "sagemaker")
    container = {"Image": image, "Mode": "MultiModel", "ModelDataUrl": "s3://shelf/", "Environment": environment}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)


def _hit_rate(url: str, name: str) -> float:
    """ModelCacheHit's average, once every call is in it."""
    cloudwatch = _client(url, "cloudwatch")
    dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        span = {"StartTime": time.time() - 7200, "EndTime": time.time() + 60, "Period": 60}
        found = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker", MetricName="ModelCacheHit", Dimensions=dimensions, Statistics=["Sum", "SampleCount"], **span
        )["Datapoints"]
        if sum(point["SampleCount"] for point in found) >= CALLS:
            return float(sum(point["Sum"] for point in found)) / CALLS
        time.sleep(1)
    raise RuntimeError("the metric is incomplete")


def _memory(folder: Path, name: str) -> int:
    """Megabytes that the endpoint's replica holds."""
    from dewfall.engine.processes import descendants, proportional

    agents = (folder / "jobs").glob(f"endpoint.*.{name}.*/status.json")
    return sum(proportional(descendants(json.loads(path.read_text())["pid"])) for path in agents) >> 20
