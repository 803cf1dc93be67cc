"""Dashboards, kept as records: their drawing is the reader's matter."""

from __future__ import annotations

import json
import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record
from dewfall.errors import AwsError
from dewfall.services.cloudwatch.faults import invalid_value, page_of
from dewfall.services.common import with_token
from dewfall.services.registry import operation

NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


@operation("cloudwatch", "PutDashboard", records=True)
def put_dashboard(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, body = req["DashboardName"], req["DashboardBody"]
    if not NAME.fullmatch(name):
        message = (
            f"The value {name} for field DashboardName contains invalid characters. It can only contain alphanumerics, dash (-) and underscore (_).\n"
        )
        raise AwsError("DashboardInvalidInputError", message, status=400)
    try:
        json.loads(body)
    except ValueError:
        problem = {"Message": "The field DashboardBody must be a valid JSON object", "DataPath": ""}
        message = "The field DashboardBody must be a valid JSON object"
        raise AwsError("DashboardInvalidInputError", message, status=400, dashboardValidationMessages=[problem]) from None
    with ctx.ports.store.transaction() as tx:
        key = _key(ctx, name)
        record = tx.records.get(key)
        document = {"DashboardName": name, "DashboardArn": f"arn:{ctx.partition}:cloudwatch::{ctx.account}:dashboard/{name}", "DashboardBody": body}
        if record is None:
            tx.records.create(Record(key, document))
        else:
            record.document = document
            tx.records.save(record)
    return {"DashboardValidationMessages": []}


@operation("cloudwatch", "GetDashboard", records=True)
def get_dashboard(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_key(ctx, req["DashboardName"]))
    if record is None:
        raise AwsError("DashboardNotFoundError", f"Dashboard {req['DashboardName']} does not exist", status=404)
    return record.document


@operation("cloudwatch", "ListDashboards", records=True)
def list_dashboards(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, "", "cloudwatch", "dashboard", prefix=req.get("DashboardNamePrefix", ""))
    page, token = page_of(records, req, lambda record: record.key.name, default=1000, models_token=False)
    entries = [{**record.document, "LastModified": record.modified, "Size": len(record.document["DashboardBody"].encode())} for record in page]
    return with_token({"DashboardEntries": entries}, token)


@operation("cloudwatch", "DeleteDashboards", records=True)
def delete_dashboards(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if not req["DashboardNames"]:
        raise invalid_value("The parameter DashboardNames must contain at least one name.")
    with ctx.ports.store.transaction() as tx:
        for name in req["DashboardNames"]:
            if not tx.records.delete(_key(ctx, name)):
                raise AwsError("DashboardNotFoundError", f"Dashboard {name} does not exist", status=404)
    return {}


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, "", "cloudwatch", "dashboard", name)
