"""Export jobs of model cards: a process draws the PDF, the step puts it into S3."""

from __future__ import annotations

import json
import sys
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AgentSpec, AlreadyExists, Key, Output, Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError, validation
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import model_cards
from dewfall.services.sagemaker.channel_checks import S3_URI

KIND = "model-card-export-job"
FOLDER = "/opt/ml/output/card"
FILE = "model_card.pdf"
LOOK = 0.5  # seconds
LONGEST = 600.0
SUMMARY = ("ModelCardExportJobName", "ModelCardExportJobArn", "Status", "ModelCardName", "ModelCardVersion", "CreatedAt", "LastModifiedAt")


@operation("sagemaker", "CreateModelCardExportJob")
def create_model_card_export_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    output = req["OutputConfig"]["S3OutputPath"]
    if not S3_URI.match(output):
        raise validation(f"The S3OutputPath '{output}' is not valid. It must have the form s3://bucket/prefix.")
    name = req["ModelCardExportJobName"]
    with ctx.ports.store.transaction() as tx:
        card = model_cards.load_version(ctx, tx, req["ModelCardName"], req.get("ModelCardVersion")).document
        arn = f"{card['ModelCardArn']}/export-job/{name}"
        now = ctx.now()
        document = {
            "ModelCardExportJobName": name,
            "ModelCardExportJobArn": arn,
            "Status": "InProgress",
            "ModelCardName": card["ModelCardName"],
            "ModelCardVersion": card["ModelCardVersion"],
            "OutputConfig": req["OutputConfig"],
            "CreatedAt": now,
            "LastModifiedAt": now,
        }
        try:
            record = tx.records.create(Record(job_key(ctx, card["ModelCardName"], name), document, "InProgress", card["ModelCardName"]))
        except AlreadyExists:
            raise AwsError("ConflictException", f"Model card export job {name} already exists.") from None
        tx.queue.put(KIND, record.key)
    return {"ModelCardExportJobArn": arn}


@operation("sagemaker", "DescribeModelCardExportJob")
def describe_model_card_export_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    arn = req["ModelCardExportJobArn"]
    card, _, name = arn.rpartition("model-card/")[2].partition("/export-job/")
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, card, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Model card export job {arn} does not exist.")
    return record.document


@operation("sagemaker", "ListModelCardExportJobs")
def list_model_card_export_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        card = model_cards.load(ctx, tx, req["ModelCardName"]).key.name
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND, parent=card)
    wanted = [record for record in records if _fits(record.document, req)]
    by = {"Name": "ModelCardExportJobName", "Status": "Status"}.get(req.get("SortBy", ""), "CreatedAt")
    wanted.sort(key=lambda record: (record.document[by], record.key.name), reverse=req.get("SortOrder", "Descending") == "Descending")
    shown, token = page(wanted, req, key=lambda record: record.key.name, default=10)
    return with_token({"ModelCardExportJobSummaries": [{member: r.document[member] for member in SUMMARY} for r in shown]}, token)


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at an export job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(task.key)
    agent = agent_id(ctx, task.key.name)
    if record is None or record.status != "InProgress":
        ctx.ports.compute.discard(agent)
        return Done()
    status = ctx.ports.compute.status(agent)
    if status is None:
        ctx.ports.compute.start(_spec(ctx, record, agent))
        return Again(LOOK)
    if status.state not in ("Exited", "Lost"):
        return Again(LOOK)
    if status.state == "Exited" and status.exit_code == 0 and status.outputs:
        uri = f"{record.document['OutputConfig']['S3OutputPath'].rstrip('/')}/{record.document['ModelCardName']}/{FILE}"
        try:
            with open(f"{status.outputs[0].path}/{FILE}", "rb") as file:
                ctx.ports.objects.put(uri, file.read(), content_type="application/pdf")
        except (AwsError, OSError) as error:
            return _end(ctx, record, agent, "Failed", f"The PDF cannot be stored at {uri}: {error}")
        return _end(ctx, record, agent, "Completed", "", uri)
    return _end(ctx, record, agent, "Failed", status.message or status.log_tail[-500:] or "The export process was lost.")


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step keeps raising."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(task.key)
    if record is not None and record.status == "InProgress":
        _end(ctx, record, agent_id(ctx, task.key.name), "Failed", f"InternalServerError: {message}")


def agent_id(ctx: Ctx, name: str) -> str:
    """The process that draws."""
    return f"card.{ctx.account}.{ctx.region}.{name.replace('/', '.')}"


def job_key(ctx: Ctx, card: str, name: str) -> Key:
    """Where an export job is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, f"{card}/{name}")


def _spec(ctx: Ctx, record: Record, agent: str) -> AgentSpec:
    document = record.document
    with ctx.ports.store.reading() as tx:
        card = model_cards.load_version(ctx, tx, document["ModelCardName"], document["ModelCardVersion"]).document
    told = {member: card[member] for member in ("ModelCardName", "ModelCardVersion", "ModelCardStatus", "ModelCardArn")}
    told |= {"Content": json.loads(card["Content"]), "LastModifiedTime": card["LastModifiedTime"].isoformat()}
    return AgentSpec(
        id=agent,
        kind="job",
        command=(sys.executable, "-m", "dewfall.images.model_card"),
        environment={},
        working_directory="/opt/ml",
        files={"/opt/ml/input/config/card.json": json.dumps(told)},
        outputs=(Output("card", FOLDER, "files"),),
        max_runtime=LONGEST,
    )


def _end(ctx: Ctx, record: Record, agent: str, status: str, reason: str, uri: str = "") -> Outcome:
    record.document |= {"Status": status, "LastModifiedAt": ctx.now()}
    if reason:
        record.document["FailureReason"] = reason[:1024]
    if uri:
        record.document["ExportArtifacts"] = {"S3ExportArtifacts": uri}
    record.status = status
    with ctx.ports.store.transaction() as tx:
        tx.records.save(record)
    ctx.ports.compute.discard(agent)
    return Done()


def _fits(document: dict[str, Any], req: dict[str, Any]) -> bool:
    after, before = req.get("CreationTimeAfter"), req.get("CreationTimeBefore")
    named = req.get("ModelCardExportJobNameContains", "").lower() in document["ModelCardExportJobName"].lower()
    version = req.get("ModelCardVersion") in (None, document["ModelCardVersion"])
    status = req.get("StatusEquals") in (None, document["Status"])
    at = document["CreatedAt"]
    return named and version and status and (after is None or at >= after) and (before is None or at <= before)
