"""The proxy behind `dewfall exec`: AWS host names end at this server, every other host passes through.

    program ── CONNECT sts.us-east-1.amazonaws.com:443 ──► proxy ── TLS by our own authority ──► server
            └─ CONNECT pypi.example:443 ────────────────► proxy ── the user's own proxy, or straight ──► there

It lives in the `exec` process, on a free port of the loopback, for as long as the program runs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from dewfall.authority import Authority
from dewfall.environment import exports
from dewfall.settings import Settings

log = logging.getLogger(__name__)

AWS_HOST = re.compile(r"(^|\.)(amazonaws\.com(\.cn)?|api\.aws|sagemaker\.aws|aws\.dev)$")
METADATA_HOSTS = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")
STEP = 64 * 1024
HOOK = Path(__file__).parent / "hook"


def is_aws_host(host: str) -> bool:
    """Whether a host name is one of AWS's API hosts.

    >>> is_aws_host("sts.eu-west-1.amazonaws.com"), is_aws_host("www.example.org")
    (True, False)
    """
    return AWS_HOST.search(host.lower()) is not None


def run_behind_proxy(settings: Settings, program: Sequence[str]) -> int:
    """Run a program to its end with the proxy in its environment; returns its exit code."""
    authority = Authority(settings.data / "authority")
    with Proxy(settings.endpoint, authority, dict(os.environ)) as proxy:
        environment = os.environ | exports(settings) | proxied(proxy.url, authority, os.environ)
        try:
            child = subprocess.Popen(list(program), env=environment)
        except OSError as problem:
            print(f"dewfall: cannot run {program[0]}: {problem.strerror}", file=sys.stderr)
            return 127 if isinstance(problem, FileNotFoundError) else 126
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        while True:
            try:
                code = child.wait()
                return code if code >= 0 else 128 - code
            except KeyboardInterrupt:
                continue  # the terminal has told the child too; its end is ours


def proxied(url: str, authority: Authority, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that send a program's HTTPS through the proxy, trusting our authority beside the usual ones."""
    bundle = str(authority.bundle(environ.get("AWS_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("SSL_CERT_FILE") or ""))
    variables = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), url)
    variables |= dict.fromkeys(("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"), bundle)
    variables["NODE_EXTRA_CA_CERTS"] = str(authority.certificate_file)
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HOOK), environ.get("PYTHONPATH", ""))))
    return variables


class Proxy:
    """A CONNECT proxy in a thread with an event loop of its own; use as a context manager."""

    def __init__(self, server: str, authority: Authority, environ: Mapping[str, str]) -> None:
        address = urlsplit(server)
        self._server = (address.hostname or "127.0.0.1", address.port or 80)
        self._authority = authority
        self._upstream = urlsplit(environ.get("HTTPS_PROXY") or environ.get("https_proxy") or "")
        self._plain_upstream = urlsplit(environ.get("HTTP_PROXY") or environ.get("http_proxy") or "")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.url = ""
        self.connections: list[str] = []

    def __enter__(self) -> Proxy:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop).result()
        self._listening = listening
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._listening.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            if method == "CONNECT":
                await self._connect(target, reader, writer)
            else:
                await self._plain(target, head, reader, writer)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as problem:
            log.debug("proxied connection ended problem=%s", problem)
        finally:
            await _close(writer)

    async def _connect(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        host = host.strip("[]")
        self.connections.append(host)
        if is_aws_host(host):
            context = await asyncio.to_thread(self._authority.context, host)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await writer.start_tls(context)
            await self._join(reader, writer, *await asyncio.open_connection(*self._server))
            return
        try:
            away = await self._outside(host, int(port))
        except OSError as problem:
            writer.write(_bad_gateway(problem))
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._join(reader, writer, *away)

    async def _outside(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a host that is not AWS's, by the user's own proxy where there was one."""
        if not self._upstream.hostname:
            return await asyncio.open_connection(host, port)
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port or 3128)
        login = "".join(f"{line}\r\n" for line in _login(self._upstream))
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in answer.split(b"\r\n", 1)[0] + b" ":
            writer.close()
            raise ConnectionRefusedError(111, "the outer proxy refused")
        return reader, writer

    async def _plain(self, target: str, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """`GET http://host/path`: one request per connection."""
        address = urlsplit(target)
        host = address.hostname or ""
        self.connections.append(host)
        if host in METADATA_HOSTS:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        line, _, rest = head.partition(b"\r\n")
        method, _, version = line.split(b" ", 2)
        path = (address.path or "/") + (f"?{address.query}" if address.query else "")
        kept = [h for h in rest.split(b"\r\n") if h and not h.lower().startswith((b"proxy-connection:", b"proxy-authorization:", b"connection:"))]
        there = (host, address.port or 80)
        if is_aws_host(host):
            there = self._server
        elif self._plain_upstream.hostname:
            there, path = (self._plain_upstream.hostname, self._plain_upstream.port or 3128), target
            kept += [line.encode() for line in _login(self._plain_upstream)]
        try:
            away_reader, away_writer = await asyncio.open_connection(*there)
        except OSError as problem:
            writer.write(_bad_gateway(problem))
            return
        away_writer.write(b"\r\n".join([method + b" " + path.encode("latin-1") + b" " + version, *kept, b"Connection: close", b"", b""]))
        await self._join(reader, writer, away_reader, away_writer)

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, away_reader: asyncio.StreamReader, away_writer: asyncio.StreamWriter
    ) -> None:
        """Copy both ways until the far side ends; a program that has said everything still gets its answer."""
        asking = asyncio.ensure_future(_copy(reader, away_writer))
        try:
            await _copy(away_reader, writer)
        finally:
            asking.cancel()
            await _close(away_writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(STEP):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _login(proxy: SplitResult) -> list[str]:
    """The header for a proxy whose address holds a user and a password."""
    if not proxy.username:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}"]


def _bad_gateway(problem: OSError) -> bytes:
    reason = f"dewfall exec: {problem.strerror or problem}\n".encode()
    return b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(reason), reason)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)
