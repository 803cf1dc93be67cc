"""A network of its own for a replica that insists on its port, with two ways through the wall.

    router ── unix socket ──▶ relay inside ──▶ 127.0.0.1:8080 of the replica
    user code inside ── 127.0.0.1:4566 ──▶ relay outside ──▶ the server

A socket belongs to the network in which it was made, whoever holds it: the inner listener is made inside and handed out. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from dewfall.engine.namespaces import enter_network
from dewfall.engine.processes import die_with_parent

CHUNK = 1 << 18
BACKLOG = 256


def open_network(path: str, port: int, endpoint: str) -> int:
    """Start both relays; returns the pid of the inner one, whose network the command joins."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    outer = socket.socket(socket.AF_UNIX)
    outer.bind(path)
    outer.listen(BACKLOG)
    ours, theirs = socket.socketpair()
    inner = os.fork()
    if inner == 0:
        ours.close()
        _in_child(lambda: _run_inside(outer, theirs, port, endpoint))
    theirs.close()
    outer.close()
    with ours:
        answer, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if answer != b"+":
        os.waitpid(inner, 0)
        raise OSError("no network of its own for the replica")
    if descriptors:
        listener = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            _in_child(lambda: serve(listener, lambda: socket.create_connection(_host_and_port(endpoint))))
        listener.close()
    return inner


def serve(listener: socket.socket, connect: Callable[[], socket.socket]) -> None:
    """Join every connection that comes to a new one made by `connect`."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_join, args=(client, connect), daemon=True).start()


def _run_inside(outer: socket.socket, report: socket.socket, port: int, endpoint: str) -> None:
    enter_network()
    if endpoint:
        inner = socket.socket()
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        inner.bind(("127.0.0.1", _host_and_port(endpoint)[1]))
        inner.listen(BACKLOG)
        socket.send_fds(report, [b"+"], [inner.fileno()])
        inner.close()
    else:
        report.send(b"+")
    report.close()
    serve(outer, lambda: socket.create_connection(("127.0.0.1", port)))


def _in_child(run: Callable[[], None]) -> None:
    try:
        die_with_parent()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run()
    finally:
        os._exit(1)


def _join(client: socket.socket, connect: Callable[[], socket.socket]) -> None:
    with client:
        try:
            server = connect()
        except OSError:
            return
        with server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """One direction, until its end; then the other side learns of it."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _host_and_port(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    return parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
