"""Multipart uploads: parts, order, sizes, checksums, copies, abort."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

Refused = Callable[..., tuple[str, int]]

PART = b"p" * (5 * 1024**2)


def begin(s3: Any, *bodies: bytes, **more: Any) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """An upload with these parts."""
    where = {"Bucket": "data", "Key": "k"}
    where["UploadId"] = s3.create_multipart_upload(**where, **more)["UploadId"]
    parts = [s3.upload_part(**where, PartNumber=n, Body=body) for n, body in enumerate(bodies, 1)]
    return where, [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(parts, 1)]


def test_parts_become_one_object(s3: Any) -> None:
    where, parts = begin(s3, PART, b"end", Metadata={"m": "1"}, ContentType="text/x")
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    got = s3.get_object(Bucket="data", Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == PART + b"end"
    assert (got["ETag"], got["Metadata"], got["ContentType"]) == (done["ETag"], {"m": "1"}, "text/x")
    assert done["ETag"].endswith('-2"')
    assert (got["ChecksumCRC64NVME"], got["ChecksumType"]) == (done["ChecksumCRC64NVME"], "FULL_OBJECT")
    second = s3.get_object(Bucket="data", Key="k", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (b"end", 2)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="data")
    assert s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})["ETag"] == done["ETag"]


def test_the_combined_checksum_is_that_of_the_bytes(s3: Any) -> None:
    where, parts = begin(s3, PART, b"end")
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    whole = s3.put_object(Bucket="data", Key="whole", Body=PART + b"end", ChecksumAlgorithm="CRC64NVME")
    assert done["ChecksumCRC64NVME"] == whole["ChecksumCRC64NVME"]


def test_what_is_refused(s3: Any, refused: Refused) -> None:
    where, parts = begin(s3, b"small", b"end")
    complete = s3.complete_multipart_upload
    assert refused(complete, **where, MultipartUpload={"Parts": parts}) == ("EntityTooSmall", 400)
    assert refused(complete, **where, MultipartUpload={"Parts": parts[::-1]}) == ("InvalidPartOrder", 400)
    assert refused(complete, **where, MultipartUpload={"Parts": [{"PartNumber": 3, "ETag": "x"}]}) == ("InvalidPart", 400)
    assert refused(complete, **where, MultipartUpload={"Parts": []}) == ("MalformedXML", 400)
    assert refused(s3.upload_part, **where, PartNumber=10001, Body=b"") == ("InvalidArgument", 400)
    assert refused(s3.upload_part, **{**where, "UploadId": "none"}, PartNumber=1, Body=b"") == ("NoSuchUpload", 404)
    assert refused(s3.head_object, Bucket="data", Key="k") == ("404", 404)


def test_composite_checksums_want_those_of_the_parts(s3: Any, refused: Refused) -> None:
    where, _ = begin(s3, ChecksumAlgorithm="SHA256")
    part = s3.upload_part(**where, PartNumber=1, Body=b"abc", ChecksumAlgorithm="SHA256")
    bare = {"PartNumber": 1, "ETag": part["ETag"]}
    assert refused(s3.complete_multipart_upload, **where, MultipartUpload={"Parts": [bare]}) == ("InvalidRequest", 400)
    assert refused(s3.upload_part, **where, PartNumber=2, Body=b"x", ChecksumAlgorithm="CRC32") == ("InvalidRequest", 400)
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{**bare, "ChecksumSHA256": part["ChecksumSHA256"]}]})
    assert (done["ChecksumSHA256"][-2:], done["ChecksumType"]) == ("-1", "COMPOSITE")


def test_a_part_can_be_sent_again_and_listed(s3: Any) -> None:
    where, _ = begin(s3, b"first", b"second")
    s3.upload_part(**where, PartNumber=1, Body=b"again!")
    page = s3.list_parts(**where, MaxParts=1)
    assert [(p["PartNumber"], p["Size"]) for p in page["Parts"]] == [(1, 6)]
    rest = s3.list_parts(**where, PartNumberMarker=page["NextPartNumberMarker"])
    assert (page["IsTruncated"], [p["PartNumber"] for p in rest["Parts"]]) == (True, [2])


def test_an_aborted_upload_is_gone(s3: Any, refused: Refused) -> None:
    where, parts = begin(s3, b"x")
    assert s3.list_multipart_uploads(Bucket="data")["Uploads"][0]["UploadId"] == where["UploadId"]
    s3.abort_multipart_upload(**where)
    assert refused(s3.complete_multipart_upload, **where, MultipartUpload={"Parts": parts}) == ("NoSuchUpload", 404)
    assert refused(s3.abort_multipart_upload, **where) == ("NoSuchUpload", 404)


def test_parts_are_copied_from_ranges(s3: Any, refused: Refused) -> None:
    s3.put_object(Bucket="data", Key="source", Body=b"0123456789")
    where, _ = begin(s3)
    part = s3.upload_part_copy(**where, PartNumber=1, CopySource="data/source", CopySourceRange="bytes=2-5")["CopyPartResult"]
    assert refused(s3.upload_part_copy, **where, PartNumber=2, CopySource="data/source", CopySourceRange="bytes=2-50") == ("InvalidArgument", 400)
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"2345"


def test_completion_can_be_conditional(s3: Any, refused: Refused) -> None:
    where, parts = begin(s3, b"x")
    s3.put_object(Bucket="data", Key="k", Body=b"there")
    assert refused(s3.complete_multipart_upload, **where, MultipartUpload={"Parts": parts}, IfNoneMatch="*") == ("PreconditionFailed", 412)
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket="data", Key="k")["Body"].read() == b"x"


def test_the_transfer_manager_goes_both_ways(s3: Any) -> None:
    body = bytes(range(256)) * 40_000
    s3.upload_fileobj(io.BytesIO(body), "data", "big")
    target = io.BytesIO()
    s3.download_fileobj("data", "big", target)
    assert target.getvalue() == body


def begun(s3: Any, *bodies: bytes, **plan: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An upload with its parts: what names it, and what UploadPart answered with the numbers."""
    upload = {"Bucket": "data", "Key": "k", "UploadId": s3.create_multipart_upload(Bucket="data", Key="k", **plan)["UploadId"]}
    answers = [s3.upload_part(**upload, PartNumber=n, Body=body, ChecksumAlgorithm="CRC32C") for n, body in enumerate(bodies, 1)]
    return upload, [{"PartNumber": n, **{k: answer[k] for k in ("ETag", "ChecksumCRC32C")}} for n, answer in enumerate(answers, 1)]


def bare(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Parts": [{name: part[name] for name in ("PartNumber", "ETag")} for part in parts]}


def test_a_checksum_of_the_whole_comes_with_its_type(s3: Any, refused: Refused) -> None:
    upload, parts = begun(s3, b"abc", ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT")
    whole = parts[0]["ChecksumCRC32C"]
    for claim in ({"ChecksumCRC32C": whole}, {"ChecksumCRC32": "AAAAAA==", "ChecksumType": "FULL_OBJECT"}):
        assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=bare(parts), **claim) == ("BadDigest", 400)
    s3.complete_multipart_upload(**upload, MultipartUpload=bare(parts), ChecksumCRC32C=whole, ChecksumType="FULL_OBJECT")


def test_an_upload_without_algorithm_has_no_checksums_of_parts(s3: Any, refused: Refused) -> None:
    upload, parts = begun(s3, b"abc")
    assert "ChecksumCRC32C" not in s3.list_parts(**upload)["Parts"][0]
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts}) == ("InvalidPart", 400)
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=bare(parts), ChecksumType="COMPOSITE") == ("InvalidRequest", 400)
    assert s3.complete_multipart_upload(**upload, MultipartUpload=bare(parts), ChecksumCRC32C="AAAAAA==-2")["ChecksumType"] == "FULL_OBJECT"


def test_parts_of_a_whole_checksum_are_not_told(s3: Any) -> None:
    upload, parts = begun(s3, bytes(5 * 1024**2), b"abc", ChecksumAlgorithm="CRC32C", ChecksumType="FULL_OBJECT")
    s3.complete_multipart_upload(**upload, MultipartUpload=bare(parts))
    assert "ChecksumCRC32C" not in s3.get_object(Bucket="data", Key="k", PartNumber=2, ChecksumMode="ENABLED")
    told = s3.get_object_attributes(Bucket="data", Key="k", ObjectAttributes=["ObjectParts"])
    assert told["ObjectParts"] == {"TotalPartsCount": 2}
    assert s3.copy_object(Bucket="data", Key="c", CopySource="data/k")["CopyObjectResult"]["ChecksumType"] == "FULL_OBJECT"


def test_where_an_upload_went_is_an_address(s3: Any) -> None:
    upload = {"Bucket": "data", "Key": "a \u2014", "UploadId": s3.create_multipart_upload(Bucket="data", Key="a \u2014")["UploadId"]}
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]}]
    assert s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["Location"].endswith("/data/a%20%E2%80%94")


def test_uploads_with_a_customers_key_have_no_checksum_but_those_asked_for(s3: Any) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    upload = {"Bucket": "data", "Key": "k", "UploadId": s3.create_multipart_upload(Bucket="data", Key="k", **key)["UploadId"]}
    parts = [{"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"x", **key)["ETag"]}]
    assert "ChecksumType" not in s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert "ChecksumType" not in s3.head_object(Bucket="data", Key="k", ChecksumMode="ENABLED", **key)


def test_checksums_below_a_customers_key_need_it_at_the_end(s3: Any, refused: Refused) -> None:
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    upload = {"Bucket": "data", "Key": "k"}
    upload["UploadId"] = s3.create_multipart_upload(**upload, ChecksumAlgorithm="SHA256", **key)["UploadId"]
    part = s3.upload_part(**upload, PartNumber=1, Body=b"x", ChecksumAlgorithm="SHA256", **key)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]}
    assert refused(s3.complete_multipart_upload, **upload, MultipartUpload=parts) == ("InvalidArgument", 400)
    assert s3.complete_multipart_upload(**upload, MultipartUpload=parts, **key)["ChecksumSHA256"].endswith("-1")
