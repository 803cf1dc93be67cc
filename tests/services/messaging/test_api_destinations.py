"""Events that leave by HTTP: connections, API destinations, and what arrives."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "secret"}}
BASIC = {"BasicAuthParameters": {"Username": "user", "Password": "pass"}}


@dataclass
class Site:
    """An HTTP endpoint and what it was sent: method, path, headers, body."""

    url: str = ""
    status: int = 200
    seen: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)

    def wait(self, count: int) -> tuple[str, str, dict[str, str], str]:
        end = time.monotonic() + 20
        while len(self.seen) < count and time.monotonic() < end:
            time.sleep(0.02)
        return self.seen[count - 1]


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            answer = json.dumps({"access_token": "token"}).encode()
            self.send_response(found.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PUT = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{listening.server_port}/in"
        yield found
        listening.shutdown()


@pytest.fixture
def events(dewfall: Server) -> Any:
    return dewfall.client("events")


def connect(events: Any, kind: str, auth: dict[str, Any], name: str = "c") -> str:
    return str(events.create_connection(Name=name, AuthorizationType=kind, AuthParameters=auth)["ConnectionArn"])


def aim(events: Any, connection: str, url: str, **target: Any) -> None:
    """A rule that sends every event of `shop` to the url."""
    asked = {"ConnectionArn": connection, "InvocationEndpoint": url, "HttpMethod": "POST"}
    arn = events.create_api_destination(Name="d", **asked)["ApiDestinationArn"]
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["shop"]}))
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn, **target}])


def tell(events: Any) -> None:
    events.put_events(Entries=[{"Source": "shop", "DetailType": "sold", "Detail": json.dumps({"item": 1})}])


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_connections_settings_stand_above_the_targets(events: Any, site: Site) -> None:
    adds = {
        "HeaderParameters": [{"Key": "both", "Value": "connection"}],
        "QueryStringParameters": [{"Key": "q", "Value": "connection"}],
        "BodyParameters": [{"Key": "more", "Value": "1"}],
    }
    asked = {"HeaderParameters": {"both": "target", "own": "yes"}, "QueryStringParameters": {"q": "target", "t": "1"}, "PathParameterValues": ["a b"]}
    aim(events, connect(events, "API_KEY", KEY | {"InvocationHttpParameters": adds}), f"{site.url}/*/end?k=v", HttpParameters=asked)
    tell(events)
    method, path, headers, body = site.wait(1)
    assert (method, path) == ("POST", "/in/a%20b/end?k=v&q=connection&t=1")
    assert (headers["both"], headers["own"], headers["x-key"]) == ("connection", "yes", "secret")
    assert headers["user-agent"] == "Amazon/EventBridge/ApiDestinations"
    event = json.loads(body)
    assert (event["detail"], event["more"]) == ({"item": 1}, "1")


def test_a_login_goes_with_the_request(events: Any, site: Site) -> None:
    aim(events, connect(events, "BASIC", BASIC), site.url, Input='"text"')
    events.update_connection(Name="c", AuthParameters={"BasicAuthParameters": {"Username": "user", "Password": "new"}})
    events.update_api_destination(Name="d", HttpMethod="PUT")
    tell(events)
    method, path, headers, body = site.wait(1)
    assert (method, path, body) == ("PUT", "/in", '"text"')
    assert headers["authorization"] == "Basic dXNlcjpuZXc="


@pytest.mark.parametrize("form", [False, True])
def test_a_token_is_asked_for_first(events: Any, site: Site, form: bool) -> None:
    client = {"ClientID": "id", "ClientSecret": "s"}
    adds: dict[str, Any] = {"BodyParameters": [{"Key": "grant_type", "Value": "client_credentials", "IsValueSecret": True}]}
    adds |= {"HeaderParameters": [{"Key": "content-type", "Value": "application/x-www-form-urlencoded"}]} if form else {}
    oauth = {"AuthorizationEndpoint": f"{site.url}/token", "ClientParameters": client, "HttpMethod": "POST", "OAuthHttpParameters": adds}
    aim(events, connect(events, "OAUTH_CLIENT_CREDENTIALS", {"OAuthParameters": oauth}), site.url)
    described = events.describe_connection(Name="c")
    assert described["ConnectionState"] == "AUTHORIZING"
    assert described["AuthParameters"]["OAuthParameters"]["ClientParameters"] == {"ClientID": "id"}
    assert described["AuthParameters"]["OAuthParameters"]["OAuthHttpParameters"]["BodyParameters"] == [{"Key": "grant_type", "IsValueSecret": True}]
    assert events.describe_api_destination(Name="d")["ApiDestinationState"] == "INACTIVE"
    tell(events)
    assert site.wait(2)[2]["authorization"] == "Bearer token"
    asked = site.seen[0][3]
    wanted = {"client_id": "id", "client_secret": "s", "grant_type": "client_credentials"}
    assert asked == "client_id=id&client_secret=s&grant_type=client_credentials" if form else json.loads(asked) == wanted
    assert events.describe_api_destination(Name="d")["ApiDestinationState"] == "ACTIVE"


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (404, 1)])
def test_what_is_refused_goes_to_the_dead_letters(events: Any, dewfall: Server, site: Site, status: int, tries: int) -> None:
    site.status = status
    sqs = dewfall.client("sqs")
    queue = sqs.create_queue(QueueName="dead")["QueueUrl"]
    aim(events, connect(events, "BASIC", BASIC), site.url, DeadLetterConfig={"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"})
    tell(events)
    letter = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"][0]
    assert json.loads(letter["Body"])["source"] == "shop"
    assert str(status) in letter["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
    assert len(site.seen) == tries


def test_connections_come_and_go(events: Any) -> None:
    arn = connect(events, "API_KEY", KEY)
    assert refusal(connect, events=events, kind="API_KEY", auth=KEY)[0] == "ResourceAlreadyExistsException"
    assert refusal(connect, events=events, kind="BASIC", auth=KEY, name="other")[0] == "ValidationException"
    described = events.describe_connection(Name="c")
    assert described["AuthParameters"] == {"ApiKeyAuthParameters": {"ApiKeyName": "x-key"}}
    assert ":secret:events!connection/c/" in described["SecretArn"]
    events.create_api_destination(Name="d", ConnectionArn=arn, InvocationEndpoint="https://x.test", HttpMethod="GET", Description="one")
    assert events.list_api_destinations(ConnectionArn=arn)["ApiDestinations"][0]["InvocationRateLimitPerSecond"] == 300
    assert events.deauthorize_connection(Name="c")["ConnectionState"] == "DEAUTHORIZED"
    assert "AuthParameters" not in events.describe_connection(Name="c")
    assert events.list_connections(ConnectionState="AUTHORIZED")["Connections"] == []
    assert events.delete_connection(Name="c")["ConnectionState"] == "DELETING"
    gone = refusal(events.describe_connection, Name="c")
    assert gone == ("ResourceNotFoundException", "Failed to describe the connection(s). Connection 'c' does not exist.")
    assert events.describe_api_destination(Name="d")["ApiDestinationState"] == "INACTIVE"
    assert refusal(events.update_api_destination, Name="d", ConnectionArn=arn)[0] == "ResourceNotFoundException"
    events.delete_api_destination(Name="d")
    gone = refusal(events.describe_api_destination, Name="d")
    assert gone == ("ResourceNotFoundException", "Failed to describe the api-destination(s). An api-destination 'd' does not exist.")


def test_only_http_is_spoken(events: Any, dewfall: Server) -> None:
    sqs = dewfall.client("sqs")
    queue = sqs.create_queue(QueueName="dead")["QueueUrl"]
    aim(events, connect(events, "BASIC", BASIC), "file:///etc/hostname", DeadLetterConfig={"Arn": "arn:aws:sqs:us-east-1:000000000000:dead"})
    tell(events)
    letter = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"][0]
    assert "is no HTTP endpoint" in letter["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
