"""Associations between lineage entities, and the query that walks them."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import lineage
from dewfall.services.sagemaker.experiments import COMPONENT, key_of

KIND = "lineage-association"
MOST_DEPTH, MOST_VERTICES = 10, 50
LINEAGE_TYPES = {"artifact": "Artifact", "action": "Action", "context": "Context", "experiment-trial-component": "TrialComponent"}


@operation("sagemaker", "AddAssociation")
def add_association(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        for member in ("SourceArn", "DestinationArn"):
            need(ctx, tx, req[member])
        _check_ends(req["SourceArn"], req["DestinationArn"])
        if not put(ctx, tx, req["SourceArn"], req["DestinationArn"], req.get("AssociationType", "AssociatedWith")):
            raise validation(f"Association between '{req['SourceArn']}' and '{req['DestinationArn']}' already exists.")
    return {member: req[member] for member in ("SourceArn", "DestinationArn")}


@operation("sagemaker", "DeleteAssociation")
def delete_association(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        if not tx.records.delete(_key(ctx, req["SourceArn"], req["DestinationArn"])):
            raise AwsError("ResourceNotFound", f"Association between '{req['SourceArn']}' and '{req['DestinationArn']}' does not exist.")
    return {member: req[member] for member in ("SourceArn", "DestinationArn")}


@operation("sagemaker", "ListAssociations")
def list_associations(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND, parent=req.get("SourceArn"))
        found = [_summary(ctx, tx, record.document) for record in records if lineage.is_created_within(record, req)]
    found = [one for one in found if _fits(one, req)]
    by = req.get("SortBy") or "CreationTime"
    found.sort(
        key=lambda one: (one.get(by) or "", one["SourceArn"], one["DestinationArn"]), reverse=req.get("SortOrder", "Descending") == "Descending"
    )
    shown, token = page(found, req, key=lambda one: f"{one['SourceArn']}|{one['DestinationArn']}", default=10)
    return with_token({"AssociationSummaries": shown}, token)


@operation("sagemaker", "QueryLineage")
def query_lineage(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    starts = req.get("StartArns") or []
    if not starts:
        raise validation("StartArns must name the entity that the query begins with.")
    depth = min(int(req.get("MaxDepth") or MOST_DEPTH), MOST_DEPTH)
    with ctx.ports.store.reading() as tx:
        for arn in starts:
            need(ctx, tx, arn)
        edges = [record.document for record in tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)]
        walked = walk(starts, edges, req.get("Direction") or "Both", depth)
        filters = req.get("Filters", {})
        vertices = [vertex for arn in walked if (vertex := _vertex(ctx, tx, arn, filters)) is not None]
        if filters and req.get("IncludeEdges"):  # asked for, they bring what lies on the way to the entities of interest
            on_path = between(starts, [vertex["Arn"] for vertex in vertices], edges, req.get("Direction") or "Both")
            vertices = [vertex for arn in walked if arn in on_path and (vertex := _vertex(ctx, tx, arn, {})) is not None]
    most = int(req.get("MaxResults") or MOST_VERTICES)
    begin = _place(req.get("NextToken"))
    shown = vertices[begin : begin + most]
    answer: dict[str, Any] = {"Vertices": shown, "Edges": []}
    if req.get("IncludeEdges", True):
        known = {vertex["Arn"] for vertex in vertices} | set(starts)
        members = ("SourceArn", "DestinationArn", "AssociationType")
        kept = [edge for edge in edges if edge["SourceArn"] in known and edge["DestinationArn"] in known]
        answer["Edges"] = [{member: edge[member] for member in members} for edge in kept]
    return with_token(answer, _token(begin + most) if begin + most < len(vertices) else None)


def walk(starts: Iterable[str], edges: list[dict[str, Any]], direction: str, depth: int) -> list[str]:
    """Entities within `depth` associations of the starts, nearest first, without the starts; Both goes either way from each of them.

    >>> edges = [{"SourceArn": "a", "DestinationArn": "b"}, {"SourceArn": "b", "DestinationArn": "c"}, {"SourceArn": "d", "DestinationArn": "c"}]
    >>> walk(["b"], edges, "Both", 10), walk(["c"], edges, "Ascendants", 1), walk(["b"], edges, "Descendants", 10)
    (['a', 'c', 'd'], ['b', 'd'], ['c'])
    """
    neighbours = _neighbours(edges, direction)
    far = dict.fromkeys(starts, 0)
    waiting = deque(far)
    while waiting:
        arn = waiting.popleft()
        for other in neighbours.get(arn, ()) if far[arn] < depth else ():
            if other not in far:
                far[other] = far[arn] + 1
                waiting.append(other)
    return [arn for arn, steps in far.items() if steps]


def _neighbours(edges: list[dict[str, Any]], direction: str) -> dict[str, list[str]]:
    """Of each entity those that one association leads to, ascendants first."""
    found: dict[str, list[str]] = {}
    for way, here, there in (("Ascendants", "DestinationArn", "SourceArn"), ("Descendants", "SourceArn", "DestinationArn")):
        for edge in edges if direction in ("Both", way) else ():
            found.setdefault(edge[here], []).append(edge[there])
    return found


def between(starts: Iterable[str], ends: Iterable[str], edges: list[dict[str, Any]], direction: str) -> set[str]:
    """The ends and all entities on a shortest way of either kind from the starts to one of them.

    >>> edges = [{"SourceArn": "a", "DestinationArn": "b"}, {"SourceArn": "b", "DestinationArn": "c"}, {"SourceArn": "b", "DestinationArn": "d"}]
    >>> sorted(between(["a"], ["c"], edges, "Descendants")), sorted(between(["c"], ["d"], edges, "Both"))
    (['b', 'c'], ['b', 'd'])
    """
    starts, ends = list(starts), list(ends)
    found = set(ends)
    for way, back in (("Descendants", "Ascendants"), ("Ascendants", "Descendants")):
        if direction in ("Both", way):
            there = set(walk(starts, edges, way, len(edges)))
            reached = [end for end in ends if end in there]
            found |= there & set(walk(reached, edges, back, len(edges))) if reached else set()
    if direction == "Both":
        found |= _shortest(starts, ends, edges)
    return found - set(starts)


def _shortest(starts: list[str], ends: list[str], edges: list[dict[str, Any]]) -> set[str]:
    """The entities on one shortest way, whichever way its associations point, from the starts to each end."""
    before: dict[str, str | None] = dict.fromkeys(starts)
    neighbours = _neighbours(edges, "Both")
    waiting = deque(starts)
    while waiting:
        arn = waiting.popleft()
        for other in neighbours.get(arn, ()):
            if other not in before:
                before[other] = arn
                waiting.append(other)
    found: set[str] = set()
    for end in ends:
        at: str | None = end
        while at is not None and at in before and at not in found:
            found.add(at)
            at = before[at]
    return found


def put(ctx: Ctx, tx: Tx, source: str, destination: str, kind: str) -> bool:
    """Associate two entities; False when they are already."""
    document = {
        "SourceArn": source,
        "DestinationArn": destination,
        "AssociationType": kind,
        "CreationTime": ctx.now(),
        "CreatedBy": {},
    }
    try:
        tx.records.create(Record(_key(ctx, source, destination), document, parent=source))
    except AlreadyExists:
        return False
    return True


def touching(ctx: Ctx, tx: Tx, arn: str) -> list[Record]:
    """The associations that an entity is an end of."""
    return [
        record
        for record in tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
        if arn in (record.document["SourceArn"], record.document["DestinationArn"])
    ]


def find(ctx: Ctx, tx: Tx, arn: str) -> Record | None:
    """The record of a lineage entity or trial component; None where there is none."""
    resource, _, name = arn.rpartition(":")[2].partition("/")
    if resource in (lineage.ARTIFACT, lineage.ACTION, lineage.CONTEXT):
        return tx.records.get(lineage.key_of(ctx, resource, name))
    if resource == "experiment-trial-component":
        return tx.records.get(key_of(ctx, COMPONENT, name)) or next(
            (r for r in tx.records.list(ctx.account, ctx.region, "sagemaker", COMPONENT) if r.document["TrialComponentArn"] == arn), None
        )
    return None


def need(ctx: Ctx, tx: Tx, arn: str) -> Record:
    """As `find`; AWS's error where there is none."""
    record = find(ctx, tx, arn)
    if record is None:
        raise AwsError("ResourceNotFound", f"Lineage entity '{arn}' does not exist.")
    return record


def type_of(arn: str, document: dict[str, Any]) -> str:
    """An entity's own type: Model, DataSet, Endpoint, SageMakerTrainingJob …"""
    kind = LINEAGE_TYPES[arn.rpartition(":")[2].partition("/")[0]]
    return str(document.get(f"{kind}Type") or document.get("Source", {}).get("SourceType", ""))


def _check_ends(source: str, destination: str) -> None:
    """Raise the error for ends that cannot be associated: what AWS documents, and an entity with itself."""
    if source == destination:
        raise validation(f"The source and the destination of an association must not be the same: '{source}'.")
    if all(arn.rpartition(":")[2].startswith("experiment") for arn in (source, destination)):
        raise validation("Associations cannot be created between two experiment entities.")


def _summary(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> dict[str, Any]:
    found = dict(document)
    for side in ("Source", "Destination"):
        arn = document[f"{side}Arn"]
        record = find(ctx, tx, arn)
        if record is not None:
            kind = LINEAGE_TYPES[arn.rpartition(":")[2].partition("/")[0]]
            found |= {f"{side}Type": type_of(arn, record.document), f"{side}Name": record.document.get(f"{kind}Name", record.key.name)}
    return found


def _fits(one: dict[str, Any], req: dict[str, Any]) -> bool:
    """SourceType and DestinationType name an entity's own type (ModelDeployment) or what it is (Action): the SDK asks in both ways."""
    if not all(req.get(member) in (None, one[member]) for member in ("DestinationArn", "AssociationType")):
        return False
    for side in ("Source", "Destination"):
        wanted = req.get(f"{side}Type")
        kind = LINEAGE_TYPES.get(one[f"{side}Arn"].rpartition(":")[2].partition("/")[0])
        if wanted and wanted not in (one.get(f"{side}Type"), kind, f"Experiment{kind}"):
            return False
    return True


def _vertex(ctx: Ctx, tx: Tx, arn: str, filters: dict[str, Any]) -> dict[str, Any] | None:
    record = find(ctx, tx, arn)
    if record is None:
        return None
    document = record.document
    vertex = {
        "Arn": arn,
        "Type": type_of(arn, document).removeprefix("SageMaker"),
        "LineageType": LINEAGE_TYPES[arn.rpartition(":")[2].partition("/")[0]],
    }
    for member, value in (("Types", vertex["Type"]), ("LineageTypes", vertex["LineageType"])):
        if filters.get(member) and value not in filters[member] and f"SageMaker{value}" not in filters[member]:
            return None
    for member, at in (("Created", document["CreationTime"]), ("Modified", document["LastModifiedTime"])):
        after, before = filters.get(f"{member}After"), filters.get(f"{member}Before")
        if (after is not None and at < after) or (before is not None and at > before):
            return None
    wanted = filters.get("Properties", {})  # one that matches is enough
    return vertex if not wanted or any(document.get("Properties", {}).get(name) == value for name, value in wanted.items()) else None


def _key(ctx: Ctx, source: str, destination: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", KIND, f"{source}|{destination}")


def _token(place: int) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(token: str | None) -> int:
    if not token:
        return 0
    try:
        return max(0, int(json.loads(base64.urlsafe_b64decode(token.encode()))))
    except (ValueError, TypeError):
        raise validation("Invalid pagination token given.") from None
