"""Turns: jobs that wait for a slot start one after the other, in the order of their creation.

Why not simply "is there room?": several steps would see the same free slot, and whoever happened to look would be the next.

    queue row {"Waiting": true} ─ first in line, and room? ─ start its agent ─ pass_on: mark off, the next one is woken
"""

from __future__ import annotations

import json

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Task

WAITING = {"Waiting": True}  # payload of a job's queue row until its agent has been started
AT_THE_HEAD = 1.0  # seconds between looks of the first in line; the end of a job wakes it at once
IN_LINE = 5.0  # of all others


def is_waiting(task: Task) -> bool:
    """Whether this job has not had its turn."""
    return bool(task.payload.get("Waiting"))


def is_first(ctx: Ctx, task: Task) -> bool:
    """Whether nobody has waited longer for a slot."""
    with ctx.ports.store.reading() as tx:
        first = tx.run("turns_first")
    return not first or first[0][0] >= task.id


def anyone_waits(ctx: Ctx) -> bool:
    """Whether somebody is in line."""
    with ctx.ports.store.reading() as tx:
        return bool(tx.run("turns_first"))


def pass_on(ctx: Ctx, task: Task) -> None:
    """This job has started, or will not, or has made room: the next one looks."""
    with ctx.ports.store.transaction() as tx:
        if is_waiting(task):
            tx.run("turns_over", id=task.id, payload=json.dumps(without_mark(task)))
        for _, kind, *key in tx.run("turns_first"):
            tx.queue.wake(kind, Key(*key))


def without_mark(task: Task) -> dict[str, object]:
    """The payload of a job that waits no longer."""
    return {name: value for name, value in task.payload.items() if name != "Waiting"}
