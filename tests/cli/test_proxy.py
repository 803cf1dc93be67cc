"""The proxy of `exec`: AWS hosts end at the server with a certificate for their name, every other host passes through."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dewfall.authority import Authority
from dewfall.proxy import Proxy, is_aws_host
from dewfall.testing_server import Server


class Elsewhere(BaseHTTPRequestHandler):
    """A site that is not AWS's; it tells what it was asked."""

    def do_GET(self) -> None:
        body = f"elsewhere {self.path} {self.headers.get('Proxy-Authorization', '')}".strip().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def elsewhere() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield site.server_port
        site.shutdown()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def proxy(dewfall: Server, authority: Authority) -> Iterator[Proxy]:
    with Proxy(dewfall.url, authority, {}) as made:
        yield made


def port(proxy: Proxy) -> int:
    return int(proxy.url.rsplit(":", 1)[1])


def through(proxy: Proxy, host: str, path: str, trusted: Path) -> tuple[int, str]:
    """GET https://host/path by the proxy, trusting one authority."""
    asking = http.client.HTTPSConnection("127.0.0.1", port(proxy), context=ssl.create_default_context(cafile=str(trusted)), timeout=90)
    asking.set_tunnel(host, 443)
    try:
        asking.request("GET", path)
        answer = asking.getresponse()
        return answer.status, answer.read().decode()
    finally:
        asking.close()


def plainly(proxy: Proxy, url: str) -> tuple[int, str]:
    """GET an http URL by the proxy."""
    asking = http.client.HTTPConnection("127.0.0.1", port(proxy), timeout=90)
    try:
        asking.request("GET", url)
        answer = asking.getresponse()
        return answer.status, answer.read().decode()
    finally:
        asking.close()


@pytest.mark.parametrize(
    ("host", "is_aws"),
    [
        ("sts.us-east-1.amazonaws.com", True),
        ("bucket.s3.eu-west-1.amazonaws.com", True),
        ("STS.amazonaws.com", True),
        ("s3.cn-north-1.amazonaws.com.cn", True),
        ("lambda.us-east-1.api.aws", True),
        ("notamazonaws.com", False),
        ("amazonaws.com.evil.example", False),
        ("www.example.org", False),
    ],
)
def test_which_hosts_are_aws(host: str, is_aws: bool) -> None:
    assert is_aws_host(host) is is_aws


@pytest.mark.parametrize("host", ["sts.us-east-1.amazonaws.com", "api.sagemaker.eu-west-1.amazonaws.com"])
def test_an_aws_host_ends_at_the_server(proxy: Proxy, authority: Authority, host: str) -> None:
    status, body = through(proxy, host, "/_dewfall/ready", authority.certificate_file)
    assert (status, body) == (200, '{"ready": true}')


def test_a_bucket_by_host_name(proxy: Proxy, authority: Authority, dewfall: Server) -> None:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket="by-host")
    s3.put_object(Bucket="by-host", Key="a.txt", Body=b"text")
    assert through(proxy, "by-host.s3.us-east-1.amazonaws.com", "/a.txt", authority.certificate_file) == (200, "text")


def test_who_does_not_trust_the_authority_is_not_served(proxy: Proxy, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        through(proxy, "sts.amazonaws.com", "/", other.certificate_file)


def test_an_aws_host_without_tls_ends_at_the_server_too(proxy: Proxy) -> None:
    assert plainly(proxy, "http://sts.amazonaws.com/_dewfall/ready") == (200, '{"ready": true}')


def test_another_host_passes_through(proxy: Proxy, elsewhere: int) -> None:
    asking = http.client.HTTPConnection("127.0.0.1", port(proxy), timeout=90)
    asking.set_tunnel("127.0.0.1", elsewhere)
    asking.request("GET", "/page")
    assert asking.getresponse().read() == b"elsewhere /page"
    asking.close()
    assert plainly(proxy, f"http://127.0.0.1:{elsewhere}/page?x=1") == (200, "elsewhere /page?x=1")


def test_a_host_that_does_not_answer(proxy: Proxy, free_port: int) -> None:
    status, body = plainly(proxy, f"http://127.0.0.1:{free_port}/")
    assert status == 502
    assert body.startswith("dewfall exec: ")
    with pytest.raises(OSError, match="502 Bad Gateway"):
        through(proxy, f"127.0.0.1:{free_port}", "/", proxy_certificate(proxy))


def proxy_certificate(proxy: Proxy) -> Path:
    return proxy._authority.certificate_file


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.2"])
def test_there_is_no_metadata_service(proxy: Proxy, host: str) -> None:
    assert plainly(proxy, f"http://{host}/latest/meta-data/") == (404, "")


def test_the_users_own_proxy_is_used(dewfall: Server, authority: Authority, proxy: Proxy, elsewhere: int) -> None:
    with Proxy(dewfall.url, authority, {"https_proxy": proxy.url, "HTTP_PROXY": proxy.url}) as inner:
        asking = http.client.HTTPConnection("127.0.0.1", port(inner), timeout=90)
        asking.set_tunnel("127.0.0.1", elsewhere)
        asking.request("GET", "/page")
        assert asking.getresponse().read() == b"elsewhere /page"
        asking.close()
        assert proxy.connections == ["127.0.0.1"]
        assert plainly(inner, f"http://127.0.0.1:{elsewhere}/plain") == (200, "elsewhere /plain")
        assert proxy.connections == ["127.0.0.1", "127.0.0.1"]
        assert through(inner, "sts.amazonaws.com", "/_dewfall/ready", authority.certificate_file)[0] == 200
        assert len(proxy.connections) == 2


def test_the_users_own_proxy_gets_its_password(dewfall: Server, authority: Authority, elsewhere: int) -> None:
    with Proxy(dewfall.url, authority, {"HTTP_PROXY": f"http://me:p%40ss@127.0.0.1:{elsewhere}"}) as inner:
        status, body = plainly(inner, "http://site.example/page")
        assert (status, body) == (200, "elsewhere http://site.example/page Basic bWU6cEBzcw==")


def test_the_authority_is_kept(tmp_path: Path) -> None:
    first = Authority(tmp_path / "authority").certificate_file.read_text()
    again = Authority(tmp_path / "authority")
    assert again.certificate_file.read_text() == first
    assert (again.folder / "ca.key").stat().st_mode & 0o777 == 0o600


def test_the_bundle_holds_the_users_own(authority: Authority, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("# my company\n")
    text = authority.bundle(str(own)).read_text()
    assert text.startswith("# my company\n")
    assert authority.certificate_file.read_text() in text
    assert "BEGIN CERTIFICATE" in authority.bundle().read_text()
