"""Dispatch: from a routed request to its answer, in steps that every call takes, whoever makes it.

    request → parse ─┐
    ctx.call ────────┴→ validate → authorize → operation ─→ serialize → answer

Why one class: console, loops, jobs and clients come in by the same door, so validation and authorization hold for all.
"""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from dewfall.bodies import StagedBody
from dewfall.context import Caller, Clock, Ctx, new_uuid, partition_of
from dewfall.errors import AwsError, not_implemented
from dewfall.wire import models, route, signing, upstream
from dewfall.wire.answers import write_response
from dewfall.wire.bindings import check_s3, form_of, read_request, staged, with_presigned
from dewfall.wire.credentials import refuse_unreadable
from dewfall.wire.faults import protocol_of, write_error
from dewfall.wire.messages import Request, Response
from dewfall.wire.route import Match
from dewfall.wire.validate import validate

if TYPE_CHECKING:
    from datetime import datetime

    from dewfall.engine.ports import Ports
    from dewfall.settings import Settings

log = logging.getLogger(__name__)


class Found(Protocol):
    """What `find` gives for a built operation."""

    @property
    def function(self) -> Callable[[Ctx, dict[str, Any]], dict[str, Any] | None]: ...


Find = Callable[[str, str], Found | None]
FindIdentity = Callable[[str, Match, "Ports", "Settings"], Caller]
Authorize = Callable[[Ctx, str, str, dict[str, Any]], None]
FindSecret = Callable[[str, Match, "Ports", "Settings"], str | None]
FindToken = Callable[[str, "Ports"], "tuple[str, datetime | None]"]


class Dispatcher:
    """The steps between a request and its answer. `find_secret` and `find_token` are needed only where signatures are looked at."""

    def __init__(
        self,
        find: Find,
        find_identity: FindIdentity,
        authorize: Authorize,
        ports: Ports,
        clock: Clock,
        settings: Settings,
        find_secret: FindSecret | None = None,
        find_token: FindToken = lambda *_: ("", None),
    ) -> None:
        self.find = find
        self.find_identity = find_identity
        self.authorize = authorize
        self.ports = ports
        self.clock = clock
        self.settings = settings
        self.find_secret = find_secret
        self.find_token = find_token

    def match(self, request: Request) -> Match:
        """Which operation a request means, as far as its head tells. Never raises."""
        try:
            return route.match(request, self.settings.region)
        except Exception:
            log.exception("routing failed method=%s path=%s", request.method, request.raw_path)
            return Match("", region=self.settings.region)

    def handle(self, request: Request, match: Match) -> Response:
        """The answer to a request, errors included. Runs in a thread; may be called again for the same request."""
        request_id = new_request_id(match.service)
        try:
            return self._answer(request, match, request_id)
        except AwsError as error:
            _drop(request.body)
            return write_error(request, match, error, request_id)
        except Exception as error:
            _drop(request.body)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                log.error("disk is full request_id=%s service=%s operation=%s problem=%s", request_id, match.service, match.operation, error)
                return write_error(request, match, internal_failure(match, f"The disk is full. Free space and try again. ({error})"), request_id)
            log.exception("operation failed request_id=%s service=%s operation=%s", request_id, match.service, match.operation)
            return write_error(request, match, internal_failure(match), request_id)

    def refuse(self, request: Request, match: Match, error: AwsError) -> Response:
        """The answer to a request that could not be read."""
        return write_error(request, match, error, new_request_id(match.service))

    def call(self, ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """Run an operation for a ctx: validate → authorize → operation. Raises AwsError."""
        model = models.operation_model(service, operation)
        found = self.find(service, operation)
        if model is None or found is None:
            raise not_implemented(service, operation)
        if model.has_streaming_input:
            name = model.input_shape.serialization["payload"]
            if isinstance(params.get(name), bytes):
                params = {**params, name: staged(params[name])}
        return self._run(ctx, service, operation, params)

    def ctx(self, account: str, region: str, caller: Caller | None = None) -> Ctx:
        """Surroundings for work that no request began; without a caller, the account's default one."""
        region = region or self.settings.region
        if caller is None:
            caller = self.find_identity(account, Match("", region=region, access_key=account), self.ports, self.settings)
        return Ctx(account, region, caller, self.ports, self.call, self.clock, new_uuid(), partition=partition_of(region))

    # ------------------------------------------------------------ the steps

    def _answer(self, request: Request, match: Match, request_id: str) -> Response:
        form = form_of(request) if not match.complete or match.protocol in ("query", "ec2") else None
        if not match.complete:
            route.match_form(match, request, form or {})
        match.protocol = protocol_of(request, match)
        if match.model is None or self.find(match.service, match.operation) is None:
            return self._elsewhere(request, match)
        ctx = self._ctx_of(request, match, request_id)
        if match.service == "s3":
            request = with_presigned(request)
            check_s3(request, match)
        params = read_request(request, match, form)
        result = self._run(ctx, match.service, match.operation, params)
        return write_response(match.service, match.model, match.protocol, result, request_id)

    def _ctx_of(self, request: Request, match: Match, request_id: str) -> Ctx:
        """Check the signature as far as the settings ask for it, and find out who calls."""
        caller = self._caller(request, match)
        head = {"user_agent": request.headers.get("user-agent", ""), "referer": request.headers.get("referer", "")}
        where = {"source_ip": request.source_ip, "partition": partition_of(match.region)}
        secure = request.scheme == "https"
        return Ctx(caller.account, match.region, caller, self.ports, self.call, self.clock, request_id, **where, **head, secure=secure)

    def _caller(self, request: Request, match: Match) -> Caller:
        now = self.clock.now()
        signing.check_expiry(request, now)
        if self.settings.auth == "enforce":
            if not self._is_signed(request, match, now):
                return Caller(self.settings.account, "", "", kind="anonymous")
        elif self.settings.auth == "audit":
            try:
                self._is_signed(request, match, now)
            except AwsError as error:
                log.warning("would be refused service=%s operation=%s key=%s code=%s", match.service, match.operation, match.access_key, error.code)
        return self.find_identity(match.access_key, match, self.ports, self.settings)

    def _is_signed(self, request: Request, match: Match, now: datetime) -> bool:
        """Whether a known key signed the request; False where nobody needs to. Raises what AWS answers to a bad signature."""
        if self.find_secret is None:
            return True
        if not match.access_key:
            if match.service != "s3" and getattr(match.model, "auth_type", None) != "none":
                raise signing.missing(match.service, match.protocol)
            refuse_unreadable(request)
            return False
        secret = self.find_secret(match.access_key, match, self.ports, self.settings)
        if secret is None:
            raise signing.unknown_key(match.service, match.protocol, match.access_key)
        signing.check_token(request, *self.find_token(match.access_key, self.ports), match, now)
        signing.verify(request, secret, now)
        return True

    def _run(self, ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        found = self.find(service, operation)
        if found is None:
            raise not_implemented(service, operation)
        validate(service, operation, params)
        self.authorize(ctx, service, operation, params)
        return found.function(ctx, params) or {}

    def _elsewhere(self, request: Request, match: Match) -> Response:
        """What Dewfall has not built: forwarded where the settings name another server, else refused."""
        if self.settings.upstream:
            return upstream.forward(request, self.settings.upstream)
        if match.model is None and match.service and models.knows(match.service):
            raise unknown_operation(request, match)
        raise not_implemented(match.service or "unknown", match.operation or f"{request.method} {request.raw_path}")


def new_request_id(service: str) -> str:
    """A request's id as the service writes it."""
    return secrets.token_hex(8).upper() if service == "s3" else new_uuid()


def internal_failure(match: Match, more: str = "") -> AwsError:
    """What an unexpected exception becomes; `more` is what the user can do about it."""
    if match.service == "s3":
        return AwsError("InternalError", f"We encountered an internal error. Please try again. {more}".rstrip(), status=500)
    said = "The request processing has failed because of an unknown error, exception or failure."
    return AwsError("InternalFailure", f"{said} {more}".rstrip(), status=500)


def unknown_operation(request: Request, match: Match) -> AwsError:
    """What AWS says of an operation that the service does not have."""
    if match.service == "s3":
        message = "The specified method is not allowed against this resource."
        if request.method == "POST" and not request.query and request.raw_path.strip("/") and "/" not in request.raw_path.strip("/"):
            condition = "Bucket POST must be of the enclosure-type multipart/form-data"
            return AwsError("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412, Condition=condition)
        kind = "OBJECT" if request.raw_path.strip("/").count("/") else "BUCKET" if request.raw_path.strip("/") else "SERVICE"
        return AwsError("MethodNotAllowed", message, status=405, Method=request.method, ResourceType=kind)
    if match.protocol == "ec2":
        return AwsError("InvalidAction", f"The action {match.operation} is not valid for this web service.", status=400)
    if match.protocol == "query":
        if not match.operation:
            return AwsError("MissingAction", "The request must contain the parameter Action.", status=400)
        version = models.service_model(match.service).metadata["apiVersion"]
        return AwsError("InvalidAction", f"Could not find operation {match.operation} for version {version}", status=400)
    status = 400 if match.protocol.startswith("json") else 404
    return AwsError("UnknownOperationException", "The requested operation is not recognized by the service.", status=status)


def _drop(body: bytes | StagedBody) -> None:
    if isinstance(body, StagedBody):
        body.drop()
