"""`dewfall operations`: the honest table of what executes, what only keeps records, and what is not built.

Read off the registry and botocore's models, so that it cannot promise what is not there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from dewfall.services import SERVICES
from dewfall.services.registry import Entry, entries
from dewfall.wire import models

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160
EXECUTES, RECORDS, NOT_BUILT = "executes", "records", "not built (501)"
KINDS = {EXECUTES: "execute", RECORDS: "keep records", NOT_BUILT: "not built"}

Row = tuple[str, str, str, str]


def print_operations(name: str) -> int:
    """The table of everything (a line per service), of one service, or the lines of one operation."""
    from rich.table import Table

    screen = console()
    if not name:
        table = Table("service", "executes", "records", "not built", title="What Dewfall has built")
        for service in sorted(SERVICES):
            built = entries(service)
            records = sum(entry.records for entry in built)
            total = len(models.service_model(service).operation_names)
            table.add_row(service, str(len(built) - records), str(records), str(max(0, total - len(built))))
        screen.print(table)
        screen.print("One service: `dewfall operations sagemaker`. One operation: `dewfall operations CreateTrainingJob`.")
        return 0
    rows = (
        list(service_rows(name))
        if name in models.heads()
        else [row for service in sorted(SERVICES) for row in service_rows(service) if row[1] == name]
    )
    if not rows:
        print(f"dewfall: no service or operation is called {name}.{_nearest(name)} `dewfall operations` lists the services.", file=sys.stderr)
        return 1
    table = Table("service", "operation", "what happens", "where", title=tally(rows))
    for row in rows:
        table.add_row(*row)
    screen.print(table)
    return 0


def console() -> Console:
    """The terminal; wide where the output goes to a file or a pipe, so that lines stay whole."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def tally(rows: Sequence[Row]) -> str:
    """How many of each kind."""
    kinds = [what for _, _, what, _ in rows]
    return ", ".join(f"{kinds.count(kind)} {text}" for kind, text in KINDS.items() if kind in kinds)


def service_rows(service: str) -> Iterable[Row]:
    """(service, operation, executes | records | not built, file:line) of every operation the service has."""
    built = {entry.name: entry for entry in entries(service)} if service in SERVICES else {}
    for operation in sorted({*models.service_model(service).operation_names, *built}):
        entry = built.get(operation)
        yield service, operation, _what(entry), _where(entry)


def _nearest(name: str) -> str:
    """Names that are close to one that does not exist."""
    import difflib

    known = {*models.heads(), *(entry.name for service in SERVICES for entry in entries(service))}
    lowered = {text.lower(): text for text in known}
    found = [lowered[text] for text in difflib.get_close_matches(name.lower(), lowered, 3)]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _what(entry: Entry | None) -> str:
    if entry is None:
        return NOT_BUILT
    return RECORDS if entry.records else EXECUTES


def _where(entry: Entry | None) -> str:
    if entry is None:
        return ""
    file, line = entry.place
    return f"{os.path.relpath(file, os.path.dirname(os.path.dirname(__file__)))}:{line}"
