"""Images as ECR lists them: a manifest and its tags. The layers that a manifest names are not kept, nor asked for."""

from __future__ import annotations

import hashlib
import json
import re
from fnmatch import fnmatchcase
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.common import page, with_token
from dewfall.services.ecr.policies import invalid
from dewfall.services.ecr.repositories import find_repository, registry
from dewfall.services.registry import operation

DIGEST = "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+"


def _images(tx: Tx, ctx: Ctx, name: str) -> list[Record]:
    """A repository's images, the first pushed first."""
    repository = find_repository(tx, ctx, name).document["repositoryArn"]
    found = tx.records.list(ctx.account, ctx.region, "ecr", "image", parent=repository)
    return sorted(found, key=lambda record: record.document["_place"])


def _tagged(images: list[Record], tag: str) -> Record | None:
    return next((image for image in images if tag in image.document["_tags"]), None)


def _find(images: list[Record], image_id: dict[str, str]) -> Record | None:
    """The image of a digest, a tag, or a digest that has the tag."""
    digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
    fits = (i for i in images if digest in (None, i.document["imageDigest"]) and (tag is None or tag in i.document["_tags"]))
    return next(fits, None)


def _shows(image: Record, status: str) -> bool:
    return status == "ANY" or bool(image.document["_tags"]) == (status == "TAGGED")


def _wanted(req: dict[str, Any]) -> str:
    return str((req.get("filter") or {}).get("tagStatus", "ANY"))


# ---------------------------------------------------------------- pushing


@operation("ecr", "PutImage", records=True)
def put_image(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx, name, text, tag = registry(ctx, req), req["repositoryName"], req["imageManifest"], req.get("imageTag")
    manifest, media = _manifest(req)
    digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    with ctx.ports.store.transaction() as tx:
        repository, images = find_repository(tx, ctx, name), _images(tx, ctx, name)
        if req.get("imageDigest", digest) != digest:
            raise AwsError(
                "ImageDigestDoesNotMatchException", "The specified image digest does not match the digest of the image manifest", status=400
            )
        image, holder = _find(images, {"imageDigest": digest}), _tagged(images, tag) if tag else None
        if holder is not None and _immutable(repository, str(tag)):
            words = f"The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
            raise AwsError("ImageTagAlreadyExistsException", words, status=400)
        if image is not None and (tag is None or holder is image):
            what = f"Image with digest '{digest}'" + (f" and tag '{tag}'" if tag else "")
            where = f"already exists in the repository with name '{name}' in registry with id '{ctx.account}'"
            raise AwsError("ImageAlreadyExistsException", f"{what} {where}", status=400)
        if holder is not None:
            _untag(tx, holder, str(tag))
        if image is None:
            key = Key(ctx.account, ctx.region, "ecr", "image", f"{name}@{digest}")
            place = images[-1].document["_place"] + 1 if images else 0
            pushed = {"imageDigest": digest, "imagePushedAt": ctx.now(), "imageManifestMediaType": media}
            pushed |= _contents(manifest) | {"_text": text, "_tags": [], "_place": place}
            image = tx.records.create(Record(key, pushed, parent=repository.document["repositoryArn"]))
        if tag:
            image.document["_tags"].append(tag)
            tx.records.save(image)
        return {"image": _image(ctx, name, image, {"imageDigest": digest} | ({"imageTag": tag} if tag else {}))}


def _manifest(req: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The manifest of a request and its media type."""
    try:
        manifest = json.loads(req["imageManifest"])
    except ValueError:
        raise invalid("ImageManifest", "Invalid JSON syntax") from None
    if not isinstance(manifest, dict):
        raise invalid("ImageManifest", "Invalid JSON syntax")
    media = req.get("imageManifestMediaType") or manifest.get("mediaType")
    if not media:
        raise AwsError("InvalidParameterException", "image manifest mediatype not provided in manifest or parameter", status=400)
    return manifest, media


def _contents(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of its parts: the images of a list, or what the image's own weigh together."""
    try:
        found: dict[str, Any] = {"_members": [member["digest"] for member in manifest.get("manifests", [])]}
        if "config" in manifest:
            found["_size"] = sum(int(part["size"]) for part in [manifest["config"], *manifest.get("layers", [])])
            found["artifactMediaType"] = str(manifest["config"]["mediaType"])
    except (KeyError, TypeError, ValueError):
        raise invalid("ImageManifest", "Invalid image manifest") from None
    return found


def _immutable(repository: Record, tag: str) -> bool:
    """Whether a tag of this repository stays where it is; exclusion filters turn the repository's setting round."""
    setting = repository.document["imageTagMutability"]
    filters = repository.document.get("imageTagMutabilityExclusionFilters", []) if setting.endswith("_WITH_EXCLUSION") else []
    return bool(setting.startswith("IMMUTABLE") != any(fnmatchcase(tag, f["filter"]) for f in filters))


def _untag(tx: Tx, image: Record, tag: str) -> None:
    image.document["_tags"].remove(tag)
    tx.records.save(image)


# ---------------------------------------------------------------- asking


def _image(ctx: Ctx, name: str, image: Record, image_id: dict[str, str]) -> dict[str, Any]:
    shown = {"registryId": ctx.account, "repositoryName": name, "imageId": image_id, "imageManifest": image.document["_text"]}
    return shown | {"imageManifestMediaType": image.document["imageManifestMediaType"]}


@operation("ecr", "BatchGetImage", records=True)
def batch_get_image(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx, name = registry(ctx, req), req["repositoryName"]
    found: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    with ctx.ports.store.reading() as tx:
        images = _images(tx, ctx, name)
    for image_id in req["imageIds"]:
        image, failure = _asked(images, image_id)
        if image is None:
            failures.append(failure)
        else:
            found.append(_image(ctx, name, image, image_id | {"imageDigest": image.document["imageDigest"]}))
    return {"images": found, "failures": failures}


@operation("ecr", "ListImages", records=True)
def list_images(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx = registry(ctx, req)
    with ctx.ports.store.reading() as tx:
        images = [image for image in _images(tx, ctx, req["repositoryName"]) if _shows(image, _wanted(req))]
    ids = [image_id for image in images for image_id in _ids(image)]
    taken, token = page(ids, req, key=lambda i: f"{i['imageDigest']} {i.get('imageTag', '')}", limit_member="maxResults", token_member="nextToken")
    return with_token({"imageIds": taken}, token, "nextToken")


def _ids(image: Record) -> list[dict[str, str]]:
    """What names an image: its digest with each of its tags."""
    digest = image.document["imageDigest"]
    return [{"imageDigest": digest, "imageTag": tag} for tag in image.document["_tags"]] or [{"imageDigest": digest}]


@operation("ecr", "DescribeImages", records=True)
def describe_images(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    ctx, name = registry(ctx, req), req["repositoryName"]
    with ctx.ports.store.reading() as tx:
        images = _images(tx, ctx, name)
    chosen = [image for image in images if _shows(image, _wanted(req))]
    if req.get("imageIds"):
        chosen = []
        for image_id in req["imageIds"]:
            image = _find(images, image_id)
            if image is None:
                raise not_found(ctx, name, image_id)
            chosen.append(image)
    details = [_detail(ctx, name, image, images) for image in chosen]
    taken, token = page(details, req, key=lambda d: str(d["imageDigest"]), limit_member="maxResults", token_member="nextToken")
    return with_token({"imageDetails": taken}, token, "nextToken")


def not_found(ctx: Ctx, name: str, image_id: dict[str, str]) -> AwsError:
    """ImageNotFoundException about a digest or a tag."""
    shown = ", ".join(f"{part}:'{image_id.get(part, 'null')}'" for part in ("imageDigest", "imageTag"))
    message = f"The image with imageId {{{shown}}} does not exist within the repository with name '{name}' "
    return AwsError("ImageNotFoundException", message + f"in the registry with id '{ctx.account}'", status=400)


def _detail(ctx: Ctx, name: str, image: Record, images: list[Record]) -> dict[str, Any]:
    document = image.document
    shown = {"registryId": ctx.account, "repositoryName": name} | {k: v for k, v in document.items() if not k.startswith("_")}
    sizes = [i.document["_size"] for i in images if i.document["imageDigest"] in document["_members"] and "_size" in i.document]
    sizes += [document["_size"]] if "_size" in document else []
    return shown | ({"imageSizeInBytes": max(sizes)} if sizes else {}) | ({"imageTags": document["_tags"]} if document["_tags"] else {})


# ---------------------------------------------------------------- deleting


@operation("ecr", "BatchDeleteImage", records=True)
def batch_delete_image(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """A tag alone is taken off its image, which goes with its last; a digest takes the image with every tag."""
    ctx, name = registry(ctx, req), req["repositoryName"]
    gone: list[dict[str, str]] = []
    failures: list[dict[str, Any]] = []
    with ctx.ports.store.transaction() as tx:
        for image_id in req["imageIds"]:
            images = _images(tx, ctx, name)
            image, failure = _asked(images, image_id)
            if image is None:
                failures.append(failure)
                continue
            if "imageDigest" not in image_id and len(image.document["_tags"]) > 1:
                _untag(tx, image, image_id["imageTag"])
                gone.append({"imageDigest": image.document["imageDigest"], "imageTag": image_id["imageTag"]})
                continue
            lists = [i.document["imageDigest"] for i in images if image.document["imageDigest"] in i.document["_members"]]
            if lists:
                words = f"Requested image referenced by manifest list: [{', '.join(lists)}]"
                failures.append({"imageId": image_id, "failureCode": "ImageReferencedByManifestList", "failureReason": words})
                continue
            tx.records.delete(image.key)
            gone.extend(_ids(image))
    return {"imageIds": gone, "failures": failures}


def _asked(images: list[Record], image_id: dict[str, str]) -> tuple[Record | None, dict[str, Any]]:
    """The image of an id in a batch, or why there is none."""
    code, reason = "ImageNotFound", "Requested image not found"
    if not image_id:
        code, reason = "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"
    elif not re.fullmatch(DIGEST, image_id.get("imageDigest", "a:0")):
        code, reason = "InvalidImageDigest", f"Invalid request parameters: image digest should satisfy the regex '{DIGEST}'"
    else:
        image = _find(images, image_id)
        if image is not None:
            return image, {}
    return None, {"imageId": image_id, "failureCode": code, "failureReason": reason}
