"""Which operations run in the event loop's thread: reads of one record, but no read that takes long."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import cast

import pytest

from dewfall.house import House
from dewfall.server import Application
from dewfall.wire.messages import Request, Response
from dewfall.wire.route import Match


class Threads:
    """A dispatcher that answers nothing and remembers the threads it was called in."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def handle(self, request: Request, match: Match) -> Response:
        self.seen.append(threading.get_ident())
        return Response(200)


@pytest.mark.parametrize(("operation", "quick"), [("DescribeModel", True), ("DescribeLineageGroup", False), ("ListModels", False)])
def test_only_short_reads_run_in_the_event_loop(operation: str, quick: bool) -> None:
    dispatcher = Threads()
    application = Application(cast(House, SimpleNamespace(dispatcher=dispatcher, settings=SimpleNamespace(hooks=""))))

    async def ask_twice() -> None:
        for _ in range(2):
            await application._operate(Request("POST", "/", "", {}), Match("sagemaker", operation))

    asyncio.run(ask_twice())
    application.threads.shutdown()
    first, second = (thread == threading.get_ident() for thread in dispatcher.seen)
    assert (first, second) == (False, quick)
