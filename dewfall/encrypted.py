"""uvicorn with a second listening socket: the same application behind TLS, by Dewfall's own authority.

Why: some clients and test suites insist on https. A certificate is minted for whatever host name a client asks for.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from pathlib import Path
from typing import Any

import uvicorn

HOSTS = 500  # names with a certificate of their own; whoever asks for more of them gets the local one


class EncryptedServer(uvicorn.Server):
    """A server that listens on `encrypted` too. The authority is there before the server says that it is ready: its certificate can be read then."""

    def __init__(self, config: uvicorn.Config, encrypted: socket.socket, folder: Path) -> None:
        super().__init__(config)
        self._encrypted = encrypted
        self._folder = folder

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, tls_context, self._folder)
        await super().startup(sockets)
        made: Any = self.config.http_protocol_class
        protocol = functools.partial(made, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        self.servers.append(await loop.create_server(protocol, sock=self._encrypted, ssl=context, backlog=self.config.backlog))


def tls_context(folder: Path) -> ssl.SSLContext:
    """A context that answers every host name with a certificate for it, and an address with the local machine's."""
    from dewfall.authority import Authority

    authority = Authority(folder)
    local = authority.context("localhost")

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name and authority.minted < HOSTS:
            connection.context = authority.context(name)

    local.sni_callback = choose
    return local
