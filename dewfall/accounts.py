"""Access keys that carry their account, as AWS's own do: the router and dispatch learn it without a look-up.

A user may write a 12-digit account number in place of an access key id. Keys that Dewfall hands out read
`AKIADW<account in base 32><random>` (ASIA… where temporary); every other key belongs to the default account.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path

_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_OWN = re.compile(r"^A(?:KIA|SIA)DW([A-Z2-7]{8})[A-Z2-7]{6}$")


def new_access_key(account: str, *, temporary: bool = False) -> str:
    """A new access key id of this account, 20 characters.

    >>> account_of_key(new_access_key("123456789012"), "000000000000")
    '123456789012'
    """
    number, digits = int(account), ""
    for _ in range(8):
        number, digit = divmod(number, 32)
        digits = _BASE32[digit] + digits
    random = "".join(secrets.choice(_BASE32) for _ in range(6))
    return f"{'ASIA' if temporary else 'AKIA'}DW{digits}{random}"


def account_of_key(access_key: str, default: str) -> str:
    """The account an access key id belongs to."""
    if len(access_key) == 12 and access_key.isdigit():
        return access_key
    own = _OWN.match(access_key)
    if own is None:
        return default
    number = 0
    for character in own[1]:
        number = number * 32 + _BASE32.index(character)
    return f"{number:012d}"[-12:]


def owner_file(data: Path, account: str, default: str) -> Path:
    """Where the key of an account's owner is kept."""
    return data / ("root-credentials.json" if account == default else f"root-credentials-{account}.json")


def root_credentials(data: Path, account: str, default: str) -> dict[str, str]:
    """The key of an account's owner, made once per data folder and readable by its user alone; `dewfall env` prints it under enforce."""
    file = owner_file(data, account, default)
    if not file.exists():
        data.mkdir(parents=True, exist_ok=True)
        made = {"AccessKeyId": new_access_key(account), "SecretAccessKey": secrets.token_urlsafe(30)}
        draft = os.open(file.with_suffix(f".{os.getpid()}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(draft, "w") as stream:
            json.dump(made, stream)
        file.with_suffix(f".{os.getpid()}").replace(file)
    kept: dict[str, str] = json.loads(file.read_text())
    return kept
