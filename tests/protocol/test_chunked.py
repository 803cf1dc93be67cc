"""aws-chunked bodies, however they are cut on their way."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewfall.errors import AwsError
from dewfall.wire.chunked import AwsChunkedDecoder

UNSIGNED = b"5\r\nhello\r\n3;\r\n wo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
SIGNED = b"5;chunk-signature=ab\r\nhello\r\n3;chunk-signature=cd\r\n wo\r\n0;chunk-signature=ef\r\n\r\n"


@given(body=st.sampled_from([UNSIGNED, SIGNED]), cuts=st.lists(st.integers(0, len(SIGNED)), max_size=8))
def test_pieces_of_any_size_give_the_same_bytes(body: bytes, cuts: list[int]) -> None:
    decoder, edges = AwsChunkedDecoder(), sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    data = b"".join(decoder.feed(body[start:end]) for start, end in itertools.pairwise(edges))
    assert (data, decoder.finished) == (b"hello wo", True)


def test_trailers_are_kept_by_lower_case_name() -> None:
    decoder = AwsChunkedDecoder()
    decoder.feed(UNSIGNED.replace(b"x-amz", b"X-Amz"))
    assert decoder.trailers == {"x-amz-checksum-crc32": "NhCmhg=="}


def test_signatures_are_kept_with_their_digests() -> None:
    decoder = AwsChunkedDecoder()
    decoder.feed(SIGNED)
    assert [chunk.signature for chunk in decoder.signatures] == ["ab", "cd", "ef"]
    assert decoder.signatures[0].digest == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_a_body_that_breaks_off_is_not_finished() -> None:
    decoder = AwsChunkedDecoder()
    assert (decoder.feed(UNSIGNED[:-2]), decoder.finished) == (b"hello wo", False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"x\r\nhello", "InvalidChunkSizeError"),
        (b"-5\r\nhello", "InvalidChunkSizeError"),
        (b"\r\n", "InvalidChunkSizeError"),
        (b"ffffffffff\r\n", "InvalidChunkSizeError"),
        (b"2\r\nhello", "IncompleteBody"),
        (b"5" * 20_000, "InvalidChunkSizeError"),
        (b"0\r\nno colon\r\n\r\n", "MalformedTrailerError"),
    ],
)
def test_wrong_framing_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(AwsError) as caught:
        AwsChunkedDecoder().feed(body + b"\r\n")
    assert caught.value.code == code
