"""Ctx: who calls, where, when, and with which ports. Every operation, tick and job step receives one.

It is the only way to time, ids, storage, processes and other operations, so that a test can replace each by a value.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from dewfall.engine.ports import Ports

ALPHANUMERIC = string.ascii_uppercase + string.digits
PARTITIONS = (
    *(("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("us-isob-", "aws-iso-b"), ("us-isof-", "aws-iso-f"), ("eu-isoe-", "aws-iso-e")),
    *(("us-iso-", "aws-iso"), ("eusc-", "aws-eusc")),
)


class Clock(Protocol):
    """Time as a port."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def move(self, to: datetime) -> None:
        """Set the time; tests only."""
        self._now = to


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity behind a request: an IAM user, an assumed role's session, the account's root, or a service."""

    account: str
    arn: str
    user_id: str
    kind: str = "assumed-role"  # user | assumed-role | root | service | anonymous
    access_key: str = ""
    role_arn: str = ""  # of an assumed role: the role itself
    session_policies: tuple[str, ...] = ()  # policy documents as JSON text
    passed_tags: tuple[tuple[str, str], ...] = ()  # the session's transitive tags, which sessions that it opens have as well


class Invoke(Protocol):
    """ctx.call's other end: dispatch's steps after parsing."""

    def __call__(self, ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Ctx:
    """The surroundings of one operation. Cheap to make, never stored."""

    account: str
    region: str
    caller: Caller
    ports: Ports
    invoke: Invoke
    clock: Clock = field(default_factory=SystemClock)
    request_id: str = ""
    source_ip: str = "127.0.0.1"
    user_agent: str = ""
    partition: str = "aws"
    referer: str = ""
    secure: bool = False  # whether the request came by TLS

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        return self.clock.now()

    def call(self, service: str, operation: str, params: dict[str, Any], *, as_role: str | None = None) -> dict[str, Any]:
        """Run another AWS operation exactly as if a client had asked: validated, authorized, with its events."""
        ctx = self if as_role is None else replace(self, caller=role_caller(as_role))
        return self.invoke(ctx, service, operation, params)

    def arn(self, service: str, resource: str) -> str:
        """`arn:aws:service:region:account:resource`; S3 has neither region nor account, IAM and STS no region."""
        region = "" if service in ("iam", "sts", "s3") else self.region
        account = "" if service == "s3" else self.account
        return f"arn:{self.partition}:{service}:{region}:{account}:{resource}"


def partition_of(region: str) -> str:
    """The part of AWS that a region belongs to, as ARNs name it.

    >>> partition_of("eu-west-1"), partition_of("cn-north-1")
    ('aws', 'aws-cn')
    """
    return next((partition for start, partition in PARTITIONS if region.startswith(start)), "aws")


def role_caller(role_arn: str, session: str = "SageMaker") -> Caller:
    """The identity that a service has while it works for a role."""
    account, name = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    arn = f"arn:aws:sts::{account}:assumed-role/{name}/{session}"
    return Caller(account, arn, f"AROA{name.upper()[:12]}:{session}", role_arn=role_arn)


def new_id(length: int = 21, alphabet: str = ALPHANUMERIC) -> str:
    """A random identifier as AWS services hand out."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def new_uuid() -> str:
    """A random UUID in text."""
    return str(uuid.uuid4())


Operation = Callable[[Ctx, dict[str, Any]], dict[str, Any] | None]
