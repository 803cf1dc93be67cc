"""`make bench`, or `python -m benchmarks [NAME …]`: measure, compare with named peers in the same run, print ratios."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table

from benchmarks.measures import MEASURES
from benchmarks.peers import LOAD_CORE


def main() -> None:
    """Run the named measures, or all, and print one table."""
    names = sys.argv[1:] or list(MEASURES)
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        sys.exit(f"no measure is called {unknown[0]}; there are {', '.join(MEASURES)}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {LOAD_CORE})
    console = Console(width=140)
    table = Table("what", "measured", "goal", "met", title="Dewfall, measured")
    for name in names:
        with console.status(f"measuring {name}"):
            for what, value, goal, met in MEASURES[name]():
                table.add_row(what, value, goal, "yes" if met else "[red]no[/]")
    console.print(table)


if __name__ == "__main__":
    main()
