"""Several hosts, one model: how the hosts of a job find each other, and how rows come to the leader.

The other hosts send their shard of the rows to the leader, which trains on all of them. AWS's own algorithms exchange gradients
instead; the model that a user gets stands for the same rows either way. Hosts of several jobs may share one machine, so a
meeting's port is drawn from the job's name, and whoever comes says the name.
"""

import io
import os
import socket
import struct
import sys
import time
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from dewfall.images import remote
from dewfall.images.builtin.report import say
from dewfall.images.contract import Channel, cluster
from dewfall.images.datasets import Table

FIRST_PORT, PORTS, TRIES = 21_000, 9_000, 16
PATIENCE = 300.0
WELCOME = b"welcome\n"
PARTS = ("features", "labels", "weights")


def gathered(table: Table, channel: Channel) -> Table:
    """All rows of the channel, on the leader; the other hosts are done once theirs are delivered, and exit."""
    us = cluster()
    if len(us.hosts) == 1:
        return table
    is_sharded = channel.distribution == "ShardedByS3Key"
    if not us.is_leader:
        if is_sharded:
            with join() as connection:
                connection.sendall(_packed(table))
        say(f"Host {us.current_host} has delivered its records to {us.hosts[0]}, which trains the model.")
        sys.exit(0)
    return _joined([table, *(_unpacked(connection) for connection in receive())]) if is_sharded else table


def everywhere(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each host's arrays on every host, in the order of the hosts."""
    us, mine = cluster(), _bytes(arrays)
    if len(us.hosts) == 1:
        return [_arrays(mine)]
    if not us.is_leader:
        with join() as connection, connection.makefile("rb") as stream:
            connection.sendall(struct.pack("<IQ", us.rank, len(mine)) + mine)
            return [_arrays(_read(stream)[1]) for _ in us.hosts]
    parts, others = {us.rank: mine}, receive()
    for connection in others:
        with connection.makefile("rb") as stream:
            rank, body = _read(stream)
            parts[rank] = body
    for connection in others:
        with connection:
            connection.sendall(b"".join(struct.pack("<IQ", rank, len(body)) + body for rank, body in sorted(parts.items())))
    return [_arrays(body) for _, body in sorted(parts.items())]


def _read(stream: IO[bytes]) -> tuple[int, bytes]:
    rank, size = struct.unpack("<IQ", stream.read(12))
    return rank, stream.read(size)


def address(host: str) -> str:
    """Where a host is; this machine when its name is not known here."""
    return remote.address(host)


def receive() -> list[socket.socket]:
    """On the leader: a connection from every other host, greeted."""
    found: list[socket.socket] = []
    with _listen() as server:
        server.settimeout(PATIENCE)
        while len(found) < len(cluster().hosts) - 1:
            connection, _ = server.accept()
            connection.settimeout(PATIENCE)
            if connection.recv(1024) == _name():
                connection.sendall(WELCOME)
                found.append(connection)
            else:
                connection.close()
    return found


def join() -> socket.socket:
    """On another host: the connection to the leader, waited for while it starts."""
    until = time.monotonic() + PATIENCE
    while True:
        for port in _ports():
            connection = _greet(port)
            if connection is not None:
                return connection
        if time.monotonic() > until:
            raise TimeoutError(f"{cluster().hosts[0]} did not answer within {PATIENCE:.0f} seconds")
        time.sleep(0.1)


def _greet(port: int) -> socket.socket | None:
    try:
        connection = socket.create_connection((address(cluster().hosts[0]), port), timeout=PATIENCE)
    except OSError:
        return None
    try:
        connection.settimeout(5)
        connection.sendall(_name())
        if connection.recv(len(WELCOME)) == WELCOME:
            connection.settimeout(PATIENCE)
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _listen() -> socket.socket:
    for port in _ports():
        try:
            return socket.create_server((address(cluster().current_host), port))
        except OSError:
            continue
    raise OSError("no port is free for the hosts of this job to meet")


def _name() -> bytes:
    return (os.environ.get("TRAINING_JOB_ARN") or os.environ.get("TRAINING_JOB_NAME") or "job").encode() + b"\n"


def _ports() -> list[int]:
    first = zlib.crc32(_name())
    return [FIRST_PORT + (first + step) % PORTS for step in range(TRIES)]


def _packed(table: Table) -> bytes:
    arrays: dict[str, Any] = {name: getattr(table, name) for name in PARTS if getattr(table, name) is not None}
    rows = table.features
    if hasattr(rows, "tocsr"):
        arrays |= {"features": rows.data, "columns": rows.indices, "starts": rows.indptr, "shape": np.array(rows.shape)}
    return _bytes(arrays)


def _bytes(arrays: Mapping[str, Any]) -> bytes:
    body = io.BytesIO()
    np.savez(body, **arrays)
    return body.getvalue()


def _arrays(body: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(body)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _unpacked(connection: socket.socket) -> Table:
    with connection, connection.makefile("rb") as stream, np.load(io.BytesIO(stream.read())) as stored:
        arrays = dict(stored)
    if "columns" in arrays:
        from scipy.sparse import csr_matrix

        arrays["features"] = csr_matrix((arrays["features"], arrays["columns"], arrays["starts"]), shape=tuple(arrays["shape"]))
    return Table(*(arrays.get(name) for name in PARTS))


def _joined(tables: list[Table]) -> Table:
    columns = [[getattr(table, name) for table in tables] for name in PARTS]
    return Table(*(None if any(part is None for part in parts) else _stacked(parts) for parts in columns))


def _stacked(parts: list[Any]) -> Any:
    if not any(hasattr(part, "tocsr") for part in parts):
        return np.concatenate(parts)
    from scipy.sparse import vstack

    return vstack(parts, format="csr")
