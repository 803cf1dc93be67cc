"""One page that holds everything: no script, no font, no picture from elsewhere; follows the reader's light or dark theme, prints."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from dewfall.ml.plots import render
from dewfall.ml.reports.document import Chart, Heading, Picture, Report, Table, Text, printed

LONG = 32  # letters of a cell
MOST_JSON = 64_000  # a chart whose document is longer is not offered for download: the page stays light


def write(report: Report) -> str:
    """The page's text; charts that follow one another stand side by side where there is room.

    >>> "<h2 id=" in write(Report("R", [Heading("Labels")]))
    True
    """
    from jinja2 import Environment

    blocks = _blocks(report)
    contents = [(block["text"], block["place"]) for kind, block in blocks if kind == "heading" and block["level"] == 2]
    page = Environment(autoescape=True).from_string(_beside("page.html"))
    return page.render(report=report, blocks=blocks, contents=contents, style=_beside("page.css"))


def _beside(name: str) -> str:
    return (Path(__file__).parent / name).read_text()


def _blocks(report: Report) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for number, block in enumerate(report.blocks):
        if isinstance(block, Heading):
            found.append(("heading", {"text": block.text, "level": min(block.level + 1, 4), "place": f"s{number}"}))
        elif isinstance(block, Text):
            found.append(("text", block))
        elif isinstance(block, Table):
            found.append(("table", _table(block)))
        else:
            if not found or found[-1][0] != "charts":
                found.append(("charts", []))
            found[-1][1].append(_chart(block))
    return found


def _table(table: Table) -> dict[str, Any]:
    numeric = [all(isinstance(row[i], (int, float, type(None))) for row in table.rows) for i in range(len(table.columns))]
    rows = [(number in table.marks, [(_breakable(printed(cell)), numeric[i]) for i, cell in enumerate(row)]) for number, row in enumerate(table.rows)]
    return {"head": list(zip(table.columns, numeric, strict=True)), "rows": rows}


def _breakable(text: str) -> str:
    """A long name may break behind its underscores and dots."""
    from markupsafe import Markup, escape

    if len(text) <= LONG or " " in text[:LONG]:
        return text
    return Markup(re.sub(r"([_./])", r"\1<wbr>", str(escape(text))))


def _chart(chart: Chart | Picture) -> dict[str, str]:
    if isinstance(chart, Picture):
        return {"picture": f"data:{chart.kind};base64,{base64.b64encode(chart.body).decode()}", "caption": chart.caption}
    document = json.dumps(chart.spec, separators=(",", ":")).encode()
    data = base64.b64encode(document).decode() if len(document) <= MOST_JSON else ""
    return {"svg": render.themed_svg(chart.spec), "caption": chart.caption, "data": data}
