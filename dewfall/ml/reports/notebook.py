"""A report as a notebook that needs no kernel: text and tables as Markdown, charts as outputs (Vega-Lite with a PNG beside it)."""

from __future__ import annotations

import base64
import json
from typing import Any

from dewfall.ml.plots import render
from dewfall.ml.reports.document import Block, Heading, Picture, Report, Table, Text, printed

VEGA_LITE = "application/vnd.vegalite.v6+json"


def write(report: Report) -> str:
    """The notebook's JSON (nbformat 4.5).

    >>> json.loads(write(Report("R", [Text("A sentence.")])))["cells"][1]["source"]
    ['A sentence.']
    """
    cells = [_markdown(f"# {report.title}\n\n{report.subtitle}".strip(), 0)]
    cells += [_cell(block, number + 1) for number, block in enumerate(report.blocks)]
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def _cell(block: Block, number: int) -> dict[str, Any]:
    if isinstance(block, Heading):
        return _markdown(f"{'#' * (block.level + 1)} {block.text}", number)
    if isinstance(block, Text):
        return _markdown(f"**{block.text}**" if block.tone == "bad" else block.text, number)
    if isinstance(block, Table):
        return _markdown(_table(block), number)
    if isinstance(block, Picture):
        return _output({block.kind: base64.b64encode(block.body).decode(), "text/plain": [block.caption or "picture"]}, number)
    data = {VEGA_LITE: block.spec, "image/png": base64.b64encode(render.png(block.spec)).decode(), "text/plain": [block.caption or "chart"]}
    return _output(data, number)


def _output(data: dict[str, Any], number: int) -> dict[str, Any]:
    output = {"output_type": "display_data", "data": data, "metadata": {}}
    return {"cell_type": "code", "id": f"c{number}", "execution_count": None, "metadata": {}, "outputs": [output], "source": []}


def _table(table: Table) -> str:
    rows = [[printed(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    lines = [list(table.columns), ["---"] * len(table.columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markdown(text: str, number: int) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": f"c{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
