"""The step that optimization and compilation jobs share: a process converts a model to ONNX, and what it leaves goes to S3.

    STARTING ─ INPROGRESS ─ COMPLETED | FAILED | STOPPED      (`_Work` of the document says what is to be done)

Why one step for both: they differ in what AWS calls their members, and in where the artifact lies.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec

from dewfall.context import Ctx
from dewfall.engine.ports import AgentSpec, AgentStatus, Archive, Channel, FileLink, Key, Output, Record, Task, Tx
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError, validation
from dewfall.services.sagemaker.models import load_model
from dewfall.services.sagemaker.training_logs import Target, ship_log

OPTIMIZATION, COMPILATION = "optimization-job", "compilation-job"
WORDS = {OPTIMIZATION: "Optimization", COMPILATION: "Compilation"}
GROUPS = {OPTIMIZATION: "/aws/sagemaker/OptimizationJobs", COMPILATION: "/aws/sagemaker/CompilationJobs"}
FINAL = frozenset({"COMPLETED", "FAILED", "STOPPED"})
NEEDED = ("onnx", "onnxruntime", "skl2onnx", "onnxmltools")
IMAGE = "dewfall/onnx:1"
MODEL, MADE, DATASET, REPORT = "/opt/ml/model", "/opt/ml/output/model", "/opt/ml/input/data/dataset", "/opt/ml/output/data"
# Image of the catalog → framework, where a SageMaker model is to be converted.
FRAMEWORKS = {"sagemaker-xgboost": "xgboost", "sagemaker-scikit-learn": "sklearn", "lightgbm": "lightgbm", "dewfall-onnx": "onnx"}
POLL = 0.5
REASON_LIMIT = 1024


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a job. A Conflict (somebody stopped it meanwhile) makes the worker look again."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(task.key)
    agent = agent_id(ctx, task.key)
    if record is None or record.status in FINAL:
        ctx.ports.compute.discard(agent)
        return Done()
    if record.status == "STOPPING":
        return _end(ctx, record, "STOPPED", "")
    status = ctx.ports.compute.status(agent)
    if status is None:
        return _begin(ctx, record, agent)
    over = status.state in ("Exited", "Lost")
    target = Target(GROUPS[record.key.kind], record.key.name, _progress(record.key))
    while not ship_log(ctx, target, agent, at_end=over):
        pass
    if not over:
        return Again(POLL)
    if status.state == "Lost" or status.exit_code != 0:
        return _end(ctx, record, "FAILED", _reason(status))
    try:
        return _store(ctx, record, status)
    except (AwsError, OSError) as error:
        return _end(ctx, record, "FAILED", f"ClientError: the result cannot be stored: {error}")


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an internal error ends the job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(task.key)
    if record is not None and record.status not in FINAL:
        _end(ctx, record, "FAILED", f"InternalServerError: {message}")


def check_libraries() -> None:
    """Raise AwsError unless the libraries are there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise validation(f"Converting models needs {', '.join(missing)}, which is not installed. Run: pip install 'dewfall[onnx]'")


def check_object(ctx: Ctx, uri: str) -> str:
    """An object's URI, if it is there. Raises AwsError."""
    try:
        found = ctx.ports.objects.get(uri)
    except AwsError:
        found = None
    if found is None:
        raise validation(f"Could not find model data at {uri}.")
    return uri


def source_of_model(ctx: Ctx, tx: Tx, name: str) -> tuple[str, str]:
    """(URI of the archive, framework or "") of a SageMaker model. Raises AwsError for one that has none."""
    from dewfall.images import catalog

    model = load_model(ctx, tx, name).document
    container = (model.get("Containers") or [model.get("PrimaryContainer")])[0]
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    if source.get("CompressionType") != "Gzip":
        raise validation(f"Model {name} has no tar.gz archive that could be converted.")
    image = catalog.find(container["Image"])
    named = image.name if image else ""
    return source["S3Uri"], "pytorch" if named.startswith("pytorch") else FRAMEWORKS.get(named, "")


def save(ctx: Ctx, tx: Tx, record: Record, status: str) -> Record:
    """Save a job in a new status."""
    record.status = record.document[f"{WORDS[record.key.kind]}JobStatus"] = status
    record.document["LastModifiedTime"] = ctx.now()
    return tx.records.save(record)


def agent_id(ctx: Ctx, key: Key) -> str:
    """The process that converts."""
    return f"{key.kind}.{ctx.account}.{ctx.region}.{key.name}"


def _begin(ctx: Ctx, record: Record, agent: str) -> Outcome:
    if not ctx.ports.compute.has_room():
        return Again(POLL)
    work = record.document["_Work"]
    ctx.ports.series.create_log_stream(ctx.account, ctx.region, GROUPS[record.key.kind], record.key.name)
    try:
        archive = ctx.ports.objects.get(work["Archive"])
        data = list(ctx.ports.objects.list(work["Dataset"])) if work.get("Dataset") else []
    except AwsError as error:
        return _end(ctx, record, "FAILED", f"ClientError: {error.message}")
    if archive is None or (work.get("Dataset") and not data):
        return _end(ctx, record, "FAILED", f"ClientError: nothing was found at {work['Dataset'] if archive else work['Archive']}.")
    links = tuple(FileLink(os.path.basename(one.key), str(one.path), one.size) for one in data if not one.key.endswith("/"))
    spec = AgentSpec(
        id=agent,
        kind="job",
        command=(sys.executable, "-m", "dewfall.images.optimizing"),
        environment={},
        working_directory="/opt/ml",
        files={"/opt/ml/input/config/optimize.json": json.dumps(work)},
        archives=(Archive(str(archive.path), MODEL),),
        channels=(Channel("dataset", DATASET, "File", links),) if links else (),
        outputs=(Output("model.tar.gz", MADE), Output("report", REPORT, "files")),
        max_runtime=float(record.document["StoppingCondition"].get("MaxRuntimeInSeconds") or 3600),
        grace=5.0,
    )
    ctx.ports.compute.start(spec)
    with ctx.ports.store.transaction() as tx:
        record.document[f"{WORDS[record.key.kind]}StartTime"] = ctx.now()
        save(ctx, tx, record, "INPROGRESS")
    return Again(POLL)


def _store(ctx: Ctx, record: Record, status: AgentStatus) -> Outcome:
    """The archive and the report into S3, and a model of them where one was asked for."""
    work = record.document["_Work"]
    made = {output.name: output.path for output in status.outputs}
    with open(made["model.tar.gz"], "rb") as file:
        ctx.ports.objects.put(work["Target"], file.read(), content_type="application/x-tar")
    with open(f"{made['report']}/report.json", "rb") as file:
        ctx.ports.objects.put(f"{work['Target'].rpartition('/')[0]}/{record.key.name}-report.json", file.read(), content_type="application/json")
    if work.get("ModelName"):
        container = {"Image": IMAGE, "ModelDataUrl": work["Target"]}
        params = {"ModelName": work["ModelName"], "ExecutionRoleArn": record.document["RoleArn"], "PrimaryContainer": container}
        try:
            ctx.call("sagemaker", "CreateModel", params, as_role=record.document["RoleArn"])
        except AwsError as error:
            return _end(ctx, record, "FAILED", f"ClientError: {error.message}")
    if record.key.kind == OPTIMIZATION:
        record.document["OptimizationOutput"] = {"RecommendedInferenceImage": IMAGE}
    else:
        record.document |= {"ModelArtifacts": {"S3ModelArtifacts": work["Target"]}, "InferenceImage": IMAGE}
    return _end(ctx, record, "COMPLETED", "")


def _end(ctx: Ctx, record: Record, status: str, reason: str) -> Outcome:
    record.document[f"{WORDS[record.key.kind]}EndTime"] = ctx.now()
    if reason:
        record.document["FailureReason"] = reason[:REASON_LIMIT]
    with ctx.ports.store.transaction() as tx:
        save(ctx, tx, record, status)
        tx.records.delete(_progress(record.key))
    ctx.ports.compute.discard(agent_id(ctx, record.key))
    return Done()


def _reason(status: AgentStatus) -> str:
    if status.reason == "MaxRuntimeExceeded":
        return "ClientError: the job exceeded its MaxRuntimeInSeconds."
    return status.message or status.log_tail[-500:] or "InternalServerError: the process was lost."


def _progress(key: Key) -> Key:
    return Key(key.account, key.region, "sagemaker", "conversion-progress", f"{key.kind}/{key.name}")
