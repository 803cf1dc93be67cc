"""Lifecycle rules: kept, told to readers as x-amz-expiration, and honoured by a tick that expires what is due.

Days count from midnight UTC after the moment plus the days, as AWS counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, groupby
from operator import attrgetter, itemgetter
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.buckets import Document
from dewfall.engine.ports import Record
from dewfall.engine.uploads import Upload, uploads_from
from dewfall.engine.versions import BATCH, Version, all_versions
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, http_date, invalid_argument, invalid_request, malformed_xml, moment

DEFAULT_SIZE = "all_storage_classes_128K"
SIZES = (DEFAULT_SIZE, "varies_by_storage_class")
ACTIONS = ("Expiration", "Transitions", "NoncurrentVersionTransitions", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
MOST = 1000 * 1024**4  # bytes that a filter may speak of, by AWS's own message
MOVES = ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")


@operation("s3", "PutBucketLifecycleConfiguration")
def put_bucket_lifecycle_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    rules = (req.get("LifecycleConfiguration") or {}).get("Rules")
    if not rules:
        raise malformed_xml()
    for rule in rules:
        _check_rule(rule)
    _check_together(rules)
    size = req.get("TransitionDefaultMinimumObjectSize") or DEFAULT_SIZE
    if size not in SIZES:
        raise invalid_request(f"Invalid TransitionDefaultMinimumObjectSize found: {size}")
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        record.document["Settings"]["Lifecycle"] = {"Rules": rules, "TransitionDefaultMinimumObjectSize": size}
        tx.records.save(record)
    return {"TransitionDefaultMinimumObjectSize": size}


@operation("s3", "GetBucketLifecycleConfiguration")
def get_bucket_lifecycle_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        kept: Document | None = bucket_record(ctx, tx, req).document["Settings"].get("Lifecycle")
    if kept is None:
        message = "The lifecycle configuration does not exist"
        raise AwsError("NoSuchLifecycleConfiguration", message, status=404, BucketName=req["Bucket"])
    return {**kept, "_headers": {"x-amz-transition-default-minimum-object-size": kept["TransitionDefaultMinimumObjectSize"]}}


@operation("s3", "DeleteBucketLifecycle")
def delete_bucket_lifecycle(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if record.document["Settings"].pop("Lifecycle", None) is not None:
            tx.records.save(record)


# ---------------------------------------------------------------- deciding


def expiration_member(bucket: Document, version: Version) -> Document:
    """The Expiration member of an answer about a current version, when a rule will expire it."""
    found = [(due, rule["ID"]) for rule in rules_of(bucket) if version.current and (due := expires(rule, version)) is not None]
    if not found:
        return {}
    due, name = min(found, key=itemgetter(0))
    return {"Expiration": f'expiry-date="{http_date(due)}", rule-id="{name}"'}


def abort_members(bucket: Document, upload: Upload) -> Document:
    """AbortDate and AbortRuleId of an upload that a rule will abort."""
    found = list(_aborts(rules_of(bucket), upload))
    if not found:
        return {}
    due, name = min(found, key=itemgetter(0))
    return {"AbortDate": due, "AbortRuleId": name}


def rules_of(bucket: Document) -> list[Document]:
    """The enabled rules."""
    kept = bucket["Settings"].get("Lifecycle")
    return [rule for rule in kept["Rules"] if rule["Status"] == "Enabled"] if kept else []


def expires(rule: Document, version: Version) -> datetime | None:
    """When a rule expires a current version; None when it does not apply."""
    action = rule.get("Expiration") or {}
    if version.marker or not ({"Days", "Date"} & action.keys()) or not applies(rule, version):
        return None
    return moment(action["Date"]) if "Date" in action else midnight(version.modified + timedelta(days=action["Days"]))


def applies(rule: Document, version: Version) -> bool:
    """Whether a rule's filter fits a version."""
    chosen = rule.get("Filter") or {}
    both = chosen.get("And") or {}
    prefix = rule.get("Prefix") or chosen.get("Prefix") or both.get("Prefix") or ""
    tags = [*([chosen["Tag"]] if "Tag" in chosen else []), *both.get("Tags", [])]
    above = chosen.get("ObjectSizeGreaterThan", both.get("ObjectSizeGreaterThan"))
    below = chosen.get("ObjectSizeLessThan", both.get("ObjectSizeLessThan"))
    own = version.document.get("Tags", {})
    return (
        version.key.startswith(prefix)
        and all(own.get(tag["Key"]) == tag["Value"] for tag in tags)
        and (above is None or version.size > above)
        and (below is None or version.size < below)
    )


def midnight(when: datetime) -> datetime:
    """The first midnight UTC not before a moment."""
    day = when.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day == when else day + timedelta(days=1)


# ---------------------------------------------------------------- acting


def tick(ctx: Ctx) -> None:
    """Expire what rules say is due, in every bucket that has rules."""
    with ctx.ports.store.reading() as tx:
        buckets = [record for record in tx.records.scan("s3", "bucket") if rules_of(record.document)]
    for record in buckets:
        expire_bucket(ctx, record, ctx.now())


def expire_bucket(ctx: Ctx, record: Record, now: datetime) -> None:
    """One bucket: current versions, noncurrent ones, lone delete markers, uploads that were left."""
    bucket = record.document
    rules, name = rules_of(bucket), bucket["Name"]
    with ctx.ports.store.reading() as tx:
        due = list(_due(rules, all_versions(tx, name), now))
        stale = [upload for upload in uploads_from(tx, name, ("", ""), BATCH) if any(when <= now for when, _ in _aborts(rules, upload))]
    objects = ctx.ports.objects
    for version, whole in due:
        version_id = version.version_id if whole else None
        _remove(ctx, name, version, version_id)
    for upload in stale:
        with ctx.ports.store.transaction() as tx:
            tx.run("upload_remove", id=upload.id)
            tx.run("part_remove", upload=upload.id)
        objects.blobs.discard_upload(upload.id)


def _remove(ctx: Ctx, bucket: str, version: Version, version_id: str | None) -> None:
    from dewfall.services.s3.locks import check_delete

    def check(tx: Any, record: Record, found: Version | None) -> None:
        if found is None or found.generation != version.generation:
            raise AwsError("PreconditionFailed", "The object has changed.", status=412)
        if version_id is not None:
            check_delete(ctx, found, bypass=False)

    try:
        ctx.ports.objects.remove(bucket, version.key, version_id, check=check, event="LifecycleExpiration")
    except AwsError as error:
        if error.code not in ("PreconditionFailed", "AccessDenied", "NoSuchBucket"):
            raise


def _due(rules: list[Document], versions: Iterable[Version], now: datetime) -> Iterator[tuple[Version, bool]]:
    """(version, whether that version goes for good; else the key gets its delete marker). Versions come newest first per key."""
    for _, group in groupby(versions, key=attrgetter("key")):
        newer: list[Version] = []
        for version in (of_key := list(group)):
            if not version.current:
                if newer and any(_noncurrent_due(rule, version, newer, now) for rule in rules):
                    yield version, True
            elif version.marker:
                if len(of_key) == 1 and any(
                    (rule.get("Expiration") or {}).get("ExpiredObjectDeleteMarker") and applies(rule, version) for rule in rules
                ):
                    yield version, True
            elif any((when := expires(rule, version)) is not None and when <= now for rule in rules):
                yield version, False
            newer.append(version)


def _noncurrent_due(rule: Document, version: Version, newer: list[Version], now: datetime) -> bool:
    action = rule.get("NoncurrentVersionExpiration") or {}
    if "NoncurrentDays" not in action or not applies(rule, version):
        return False
    kept = action.get("NewerNoncurrentVersions", 0)
    return len(newer) - 1 >= kept and midnight(newer[-1].modified + timedelta(days=action["NoncurrentDays"])) <= now


def _aborts(rules: list[Document], upload: Upload) -> Iterator[tuple[datetime, str]]:
    """When rules abort an upload, and their names."""
    for rule in rules:
        days = (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation")
        prefix = rule.get("Prefix") or (rule.get("Filter") or {}).get("Prefix") or ""
        if days is not None and upload.key.startswith(prefix):
            yield midnight(upload.initiated + timedelta(days=days)), rule["ID"]


# ---------------------------------------------------------------- checking


def _check_together(rules: list[Document]) -> None:
    """Rules among each other: all with filters or none, and prefixes of rules without filters apart."""
    names = [rule["ID"] for rule in rules]
    if len(set(names)) != len(names):
        raise invalid_argument("Rule ID must be unique. Found same ID for more than one rule", "ID", None)
    old = "Prefix" in rules[0]
    if any(("Prefix" in rule) != old for rule in rules):
        refusal = "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter."
        raise invalid_request("Filter element can only be used in Lifecycle V2." if old else refusal)
    if not old:
        return
    for rule, other in combinations(rules, 2):
        action = next((name for name in ACTIONS if rule.get(name) and other.get(name)), None)
        one, two = sorted((rule["Prefix"], other["Prefix"]))
        if action and two.startswith(one):
            raise invalid_request(f"Found overlapping prefixes '{one}' and '{two}' for same action type '{action.removesuffix('s')}'")


def _check_filter(rule: Document) -> None:
    """A rule's filter, and what actions go with it."""
    chosen = rule.get("Filter") or {}
    both = chosen.get("And")
    inside = {name: value for name, value in (chosen if both is None else both).items() if value not in (None, [])}
    tags = [tag.get("Key") for tag in inside.get("Tags") or ([inside["Tag"]] if "Tag" in inside else [])]
    if len(chosen) > 1 or (both is not None and len(inside.keys() - {"Tags"}) + len(tags) < 2):
        raise malformed_xml()
    if len(set(tags)) != len(tags):
        raise invalid_request("Duplicate Tag Keys are not allowed.")
    least, most = inside.get("ObjectSizeGreaterThan"), inside.get("ObjectSizeLessThan")
    for name, size, lowest in (("ObjectSizeGreaterThan", least, 0), ("ObjectSizeLessThan", most, 1)):
        if size is not None and not lowest <= size <= MOST:
            raise invalid_request(f"'{name}' should be between {lowest} and {MOST}.")
    if least is not None and most is not None and most <= least:
        raise invalid_request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
    narrow = "Tags" if tags else "Object Size" if (least, most) != (None, None) else ""
    for name in ("AbortIncompleteMultipartUpload", "ExpiredObjectDeleteMarker"):
        if narrow and name in {**rule, **(rule.get("Expiration") or {})}:
            raise invalid_request(f"{name} cannot be specified with {narrow}.")


def _check_rule(rule: Document) -> None:
    rule.setdefault("ID", new_id(48, "abcdefghijklmnopqrstuvwxyz0123456789"))
    if len(rule["ID"]) > 255:
        raise invalid_argument("ID length should not exceed allowed limit of 255", "ID", rule["ID"])
    if rule.get("Status") not in ("Enabled", "Disabled") or ("Prefix" in rule) == ("Filter" in rule):
        raise malformed_xml()
    noncurrent = rule.get("NoncurrentVersionExpiration")
    if noncurrent is not None and "NoncurrentDays" not in noncurrent:
        raise malformed_xml()
    for change in rule.get("Transitions") or ():
        if change.get("StorageClass") not in MOVES or ("Days" in change) == ("Date" in change):
            raise malformed_xml()
    _check_moves(rule)
    for change in rule.get("NoncurrentVersionTransitions") or ():
        if change.get("StorageClass") not in MOVES or "NoncurrentDays" not in change:
            raise malformed_xml()
    if not any(rule.get(action) for action in ACTIONS):
        raise invalid_request("At least one action needs to be specified in a rule")
    _check_filter(rule)
    expiration = rule.get("Expiration")
    if expiration is not None:
        if len(expiration) != 1:
            raise malformed_xml()
        if "Days" in expiration and expiration["Days"] <= 0:
            raise invalid_argument("'Days' for Expiration action must be a positive integer", "Days", expiration["Days"])
        if "Date" in expiration and midnight(moment(expiration["Date"])) != moment(expiration["Date"]):
            raise invalid_argument("'Date' must be at midnight GMT", "Date", moment(expiration["Date"]).isoformat())
    if noncurrent is not None and noncurrent["NoncurrentDays"] <= 0:
        message = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"
        raise invalid_argument(message, "NoncurrentDays", noncurrent.get("NoncurrentDays"))
    if "NewerNoncurrentVersions" in (noncurrent or {}) and "Prefix" in rule:
        raise invalid_request("NewerNoncurrentVersions element can only be used in Lifecycle V2.")
    days = (rule.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation", 1)
    if days <= 0:
        message = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer"
        raise invalid_argument(message, "DaysAfterInitiation", days)


def _check_moves(rule: Document) -> None:
    """Transitions among each other and with the expiration: one way to count, each class once, and in their order."""
    moves, expiration = rule.get("Transitions") or [], rule.get("Expiration") or {}
    for move in moves:
        if move["StorageClass"] in ("STANDARD_IA", "ONEZONE_IA") and move.get("Days", 30) < 30:
            message = f"'Days' in Transition action must be greater than or equal to 30 for storageClass '{move['StorageClass']}'"
            raise invalid_argument(message, "Days", move["Days"])
    if len({move["StorageClass"] for move in moves}) < len(moves):
        message = f"'StorageClass' must be different for 'Transition' actions in same 'Rule' with {_named(rule)}"
        raise invalid_argument(message, "StorageClass", moves[0]["StorageClass"])
    if moves and {"Days", "Date"} <= {name for action in (*moves, expiration) for name in action}:
        message = f"Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for {_named(rule)}"
        raise invalid_argument(message, "Date", None)
    for name in ("Days", "Date") if moves and expiration else ():
        if name in expiration and expiration[name] <= max(move[name] for move in moves):
            message = f"'{name}' in the Expiration action for {_named(rule)} must be greater than '{name}' in the Transition action"
            shown = moment(expiration[name]).isoformat() if name == "Date" else expiration[name]
            raise invalid_argument(message, name, shown)


def _named(rule: Document) -> str:
    """A rule by its filter, as AWS's messages have it."""
    if "Prefix" in rule:
        return f"prefix '{rule['Prefix']}'"
    prefix = rule["Filter"].get("Prefix")
    return f"filter '({f'prefix={prefix}' if prefix is not None else ''})'"
