"""Events sent to API destinations: one HTTP request, with what the target, and above it the connection, add to it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.events.connections import authorized, connection_by_arn, destination_by_arn

SECONDS = 5.0
TRIES = 3  # AWS goes on for a day; here what fails three times goes to the dead letters
HEADERS = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "Amazon/EventBridge/ApiDestinations"}


def invoke(ctx: Ctx, target: dict[str, Any], text: str) -> None:
    """Send a text to a target's API destination. AwsError where it cannot be, or is refused."""
    with ctx.ports.store.reading() as tx:
        destination = destination_by_arn(tx, ctx, target["Arn"])
        connection = connection_by_arn(tx, ctx, destination.document["ConnectionArn"]) if destination else None
    if destination is None or connection is None:
        raise AwsError("ResourceNotFoundException", f"API destination {target['Arn']} or its connection does not exist.", status=400)
    settings, auth = destination.document, connection.document["_auth"]
    if not auth:
        raise AwsError("AccessDeniedException", f"Connection {connection.document['Name']} is not authorized.", status=400)
    asked = target.get("HttpParameters") or {}
    adds = auth.get("InvocationHttpParameters") or {}
    url = _url(settings["InvocationEndpoint"], asked.get("PathParameterValues") or [])
    query = (asked.get("QueryStringParameters") or {}) | _pairs(adds, "QueryStringParameters")
    headers = HEADERS | (asked.get("HeaderParameters") or {}) | _pairs(adds, "HeaderParameters") | _proof(ctx, connection.document)
    _request(settings["HttpMethod"], _with_query(url, query), headers, _with_members(text, _pairs(adds, "BodyParameters")))


def _pairs(parameters: dict[str, Any], kind: str) -> dict[str, str]:
    return {parameter["Key"]: parameter.get("Value", "") for parameter in parameters.get(kind) or []}


def _url(endpoint: str, values: list[str]) -> str:
    """The endpoint with its stars replaced; values that find no star follow its path."""
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    for value in values:
        place = quote(value, safe="")
        url = url.replace("*", place, 1) if "*" in url else f"{url.rstrip('/')}/{place}"
    return url


def _with_query(url: str, query: dict[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | query)))


def _with_members(text: str, members: dict[str, str]) -> str:
    """A JSON object with more members; any other text stays as it is."""
    if not members:
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return json.dumps(found | members) if isinstance(found, dict) else text


def _proof(ctx: Ctx, connection: dict[str, Any]) -> dict[str, str]:
    """The header by which the connection authorizes a request."""
    auth = connection["_auth"]
    if "BasicAuthParameters" in auth:
        login = f"{auth['BasicAuthParameters']['Username']}:{auth['BasicAuthParameters']['Password']}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    if "ApiKeyAuthParameters" in auth:
        return {auth["ApiKeyAuthParameters"]["ApiKeyName"]: auth["ApiKeyAuthParameters"]["ApiKeyValue"]}
    token = _token(auth["OAuthParameters"])
    authorized(ctx, connection["Name"])
    return {"Authorization": f"Bearer {token}"}


def _token(oauth: dict[str, Any]) -> str:
    """Ask the authorization endpoint for a token: JSON, or a form where the connection's own header says so."""
    adds, client = oauth.get("OAuthHttpParameters") or {}, oauth["ClientParameters"]
    body = {"client_id": client["ClientID"], "client_secret": client["ClientSecret"]} | _pairs(adds, "BodyParameters")
    headers = {"Content-Type": "application/json"} | _pairs(adds, "HeaderParameters")
    form = any(name.lower() == "content-type" and "urlencoded" in value for name, value in headers.items())
    url = _with_query(oauth["AuthorizationEndpoint"], _pairs(adds, "QueryStringParameters"))
    answer = _request(oauth["HttpMethod"], url, headers, urlencode(body) if form else json.dumps(body))
    try:
        return str(json.loads(answer)["access_token"])
    except (ValueError, KeyError, TypeError):
        raise AwsError("AccessDeniedException", f"{oauth['AuthorizationEndpoint']} answered without an access token.", status=400) from None


def _request(method: str, url: str, headers: dict[str, str], text: str) -> bytes:
    if urlsplit(url).scheme not in ("http", "https"):
        raise AwsError("InvocationFailed", f"{url} is no HTTP endpoint.", status=400)
    data = None if method in ("GET", "HEAD") else text.encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                found: bytes = answer.read()
                return found
        except (OSError, ValueError) as problem:
            refused = isinstance(problem, ValueError) or (isinstance(problem, urllib.error.HTTPError) and problem.code < 500 and problem.code != 429)
            if refused or attempt == TRIES:
                raise AwsError("InvocationFailed", f"{method} {url.partition('?')[0]}: {problem}", status=400) from None
    raise AssertionError("unreachable")
