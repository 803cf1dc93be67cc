"""Where multi-model replicas get their models from: S3 objects, laid out in a replica's folder by a helper process.

fetch ─ find the object (thread) ─ the helper unpacks it to <folder>/<name>/model, unless that very object lies there already
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

from dewfall.engine.objects import StoredObject
from dewfall.errors import AwsError

Find = Callable[[str], StoredObject | None]


class Missing(Exception):
    """There is no such artifact."""


class Unreadable(Exception):
    """The artifact is no archive that can be unpacked."""


class Stock:
    """All models in S3, and the helper. Belongs to the event loop."""

    def __init__(self, find: Find | None = None) -> None:
        self._find = find
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def fetch(self, uri: str, folder: str) -> int:
        """Lay an artifact out in `folder`/model; its bytes. Raises Missing or Unreadable."""
        stored = await asyncio.to_thread(self._found, uri)
        if stored is None:
            raise Missing(uri)
        mark = f"{stored.etag} {stored.version_id} {stored.path.name}"
        reply = await self._ask(do="unpack", source=str(stored.path), target=folder, mark=mark)
        if reply["error"].startswith("missing: "):
            raise Missing(uri)
        if reply["error"]:
            raise Unreadable(reply["error"])
        return int(reply["value"])

    async def remove(self, folder: str) -> None:
        """Remove what was laid out."""
        await self._ask(do="remove", target=folder)

    async def memory(self, agent_folder: str) -> int:
        """Bytes of memory that an agent's processes hold."""
        return int((await self._ask(do="measure", target=agent_folder))["value"])

    def close(self) -> None:
        """End the helper."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _found(self, uri: str) -> StoredObject | None:
        try:
            return self._find(uri) if self._find else None
        except AwsError:
            return None

    async def _ask(self, **request: Any) -> dict[str, Any]:
        process = await self._helper()
        number = next(self._ids)
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        assert process.stdin is not None
        process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
        return await reply

    async def _helper(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                pipe = asyncio.subprocess.PIPE
                self._process = await asyncio.create_subprocess_exec(sys.executable, "-m", "dewfall.engine.unpacker", stdin=pipe, stdout=pipe)
                self._reader = asyncio.create_task(self._read(self._process))
            return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            reply = json.loads(line)
            waiting = self._waiting.pop(reply["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
        await process.wait()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result({"error": "the helper that unpacks models has ended", "value": 0})
        self._waiting.clear()
