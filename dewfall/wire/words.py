"""Encoded words (RFC 2047) in S3's user metadata: read from requests, written where ASCII does not do.

Why as it is: S3 keeps what the words say, and writes them anew as the mail library does that it is made with.
"""

from __future__ import annotations

import base64
import binascii
import re
from quopri import decodestring

_WORD = re.compile(r"=\?([\w.:-]+)\?([BbQq])\?([^?\s]*)\?=(\s+(?==\?))?")
_SPECIAL = frozenset(b"=_?")


def decode_words(text: str) -> str:
    """A header's text with its encoded words read; what is none stays as it is.

    >>> decode_words("=?UTF-8?Q?caf=C3=A9_?=")
    'café '
    """
    return _WORD.sub(_decoded, text) if "=?" in text else text


def encode_words(text: str) -> str:
    """The text itself where it is ASCII, else one encoded word: Q where most of it is ASCII, B otherwise.

    >>> encode_words("é S3"), encode_words("éé")
    ('=?UTF-8?Q?=C3=A9_S3?=', '=?UTF-8?B?w6nDqQ==?=')
    """
    odd = sum(not _is_plain(character) for character in text)
    if not odd:
        return text
    data = text.encode("utf-8", "surrogatepass")
    if odd > len(text) - odd:
        return f"=?UTF-8?B?{base64.b64encode(data).decode()}?="
    return f"=?UTF-8?Q?{''.join(_quoted(byte) for byte in data)}?="


def _decoded(word: re.Match[str]) -> str:
    charset, encoding, body = word[1], word[2].upper(), word[3]
    try:
        data = base64.b64decode(body, validate=True) if encoding == "B" else decodestring(body.replace("_", " ").encode("ascii"), header=False)
        return data.decode(charset)
    except (binascii.Error, ValueError, LookupError):
        return word[0]


def _quoted(byte: int) -> str:
    if byte == 0x20:
        return "_"
    return chr(byte) if 0x20 < byte < 0x7F and byte not in _SPECIAL else f"={byte:02X}"


def _is_plain(character: str) -> bool:
    return " " <= character < "\x7f" or character in "\r\n\t"
